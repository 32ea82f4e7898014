"""Folders and files as other tools leave them are read, or a sentence says what was looked for and found."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from spikelore import cli
from spikelore.data import Examples, almost, available, check, findings, load, write_idx
from spikelore.data.examples import Dataset
from spikelore.errors import InputError
from spikelore.experiments.findings import looked_at, of_rates
from spikelore.networks.rate_lif import RateLIFConfig

RNG = np.random.default_rng(0)
LABELS = np.array([0, 1, 2] * 4, np.uint8)
TRAIN, TEST = (RNG.integers(0, 256, (12, 4, 5), np.uint8) * (np.arange(5) % 4 > 0) for _ in range(2))
TRAIN[:, [0, -1]] = TEST[:, [0, -1]] = 0


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda project: tmp_path / "cache")
    monkeypatch.delenv("SPIKELORE_DATA", raising=False)


def save(path: Path, image: np.ndarray) -> None:
    Image.fromarray(image).save(path)


def write(folder: Path, *names: str, suffix: str = "") -> Path:
    for name, array in zip(names, (TRAIN, LABELS, TEST, LABELS), strict=True):
        write_idx(folder / f"{name}{suffix}", array)
    return folder


FORMS = {
    "dots": ("train-images.idx3-ubyte", "train-labels.idx1-ubyte", "t10k-images.idx3-ubyte", "t10k-labels.idx1-ubyte"),
    "test": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "test-images-idx3-ubyte", "test-labels-idx1-ubyte"),
    "val": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "val-images-idx3-ubyte", "val-labels-idx1-ubyte"),
    "upper": ("TRAIN-IMAGES-IDX3-UBYTE", "TRAIN-LABELS-IDX1-UBYTE", "T10K-IMAGES-IDX3-UBYTE", "T10K-LABELS-IDX1-UBYTE"),
    "prefix": ("kmnist-train-images-idx3-ubyte", "kmnist-train-labels-idx1-ubyte", "kmnist-test-images-idx3-ubyte",
               "kmnist-test-labels-idx1-ubyte"),
    "short": ("train_images.idx", "train_labels.idx", "test_images.idx", "test_labels.idx"),
}  # fmt: skip


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("form", FORMS)
def test_usual_names_are_known(tmp_path: Path, form: str, suffix: str):
    write(tmp_path / "own", *FORMS[form], suffix=suffix)
    own = load("own", tmp_path)
    np.testing.assert_array_equal(own.train.inputs, TRAIN)
    np.testing.assert_array_equal(own.test.inputs, TEST)
    assert [info.name for info in available(tmp_path) if info.where == "folder"] == ["own"]
    assert [result.ok for result in check(tmp_path)] == [True]


@pytest.mark.parametrize("inside", ["raw", "own"])
def test_files_one_folder_down(tmp_path: Path, inside: str):
    write(tmp_path / "own" / inside, *FORMS["dots"])
    np.testing.assert_array_equal(load("own", tmp_path).train.inputs, TRAIN)


def test_names_that_differ_in_case(tmp_path: Path):
    write(tmp_path / "FashionThings" / "raw", *FORMS["dots"])
    assert len(load("fashionthings", tmp_path).train) == 12
    write(tmp_path / "fashionthings", *FORMS["dots"])
    assert load("fashionthings", tmp_path).source == f"folder {tmp_path / 'fashionthings'}"


def test_nists_files_are_turned_upright(tmp_path: Path):
    names = [f"emnist-letters-{part}-{kind}" for part in ("train", "test") for kind in ("images-idx3", "labels-idx1")]
    write(tmp_path / "own", *names, suffix="-ubyte.gz")
    np.testing.assert_array_equal(load("own", tmp_path).train.inputs, TRAIN.swapaxes(1, 2))
    for name in list(names):
        names.append(name.replace("letters", "digits"))
    write(tmp_path / "own", *names[4:], suffix="-ubyte.gz")
    with pytest.raises(InputError, match=r"IDX files of several datasets.*emnist-digits, emnist-letters"):
        load("own", tmp_path)
    assert len(load("digits-sample", tmp_path).train) == 4000  # the others are not hindered
    assert available(tmp_path)[0].name == "own"
    (result,) = check(tmp_path)
    assert not result.ok
    assert "several datasets" in result.message


def test_a_gz_that_is_none_is_read(tmp_path: Path):
    write(tmp_path / "own", *FORMS["dots"])
    for file in list((tmp_path / "own").iterdir()):
        file.rename(f"{file}.gz")
    np.testing.assert_array_equal(load("own", tmp_path).train.inputs, TRAIN)


def test_what_was_found_is_named(tmp_path: Path):
    write_idx(tmp_path / "own/train-images.idx3-ubyte", TRAIN)
    (tmp_path / "own/readme").write_text("x")
    with pytest.raises(
        InputError,
        match=r"no file train-labels.*expected the four files .*; it holds readme, train-images.idx3-ubyte; ",
    ):
        load("own", tmp_path)


@pytest.mark.parametrize(
    ("text", "name"), [('{"0": "cat", "2": "eel"}', "classes.json"), ('["cat", "1", "eel"]', "classes.json"),
                       ("cat\n1\neel\n", "classes.txt")]
)  # fmt: skip
def test_class_names_beside_ones_own_files(tmp_path: Path, text: str, name: str):
    (write(tmp_path / "own", *FORMS["dots"]) / name).write_text(text)
    assert load("own", tmp_path).class_names == ("cat", "1", "eel")


def test_broken_class_names_get_a_sentence(tmp_path: Path):
    (write(tmp_path / "own", *FORMS["dots"]) / "classes.json").write_text('{"cat": 0}')
    with pytest.raises(InputError, match=r"classes.json cannot be read .*expected label and name"):
        load("own", tmp_path)
    one = Examples(TRAIN[:2], LABELS[:2])
    with pytest.raises(InputError, match="1 class names for 2 classes"):
        Dataset("own", one, one, (0, 1), "here", ("cat",))


def test_folders_that_are_nearly_datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    for name in ("pets/cat", "pets/dog", "split/train/cat", "loose"):
        (tmp_path / name).mkdir(parents=True)
        save(tmp_path / name / "1.png", TRAIN[0])
    for name in ("keras/mnist.npz", "packed/pets.zip", "notes/readme.md", "own.npz"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / "nothing").mkdir()
    found = dict(almost(tmp_path))
    assert set(found) == {"pets", "split", "loose", "keras", "packed", "own.npz"}
    assert f"holds 2 sub-folders of images; make it one: spikelore data import {tmp_path / 'pets'}" in found["pets"]
    assert f"spikelore data import {tmp_path / 'keras/mnist.npz'} --name mnist-grey" in found["keras"]
    assert "unpack it first" in found["packed"]
    with pytest.raises(InputError, match=r"dataset 'pets' is none yet: .*spikelore data import"):
        load("pets", tmp_path)
    with pytest.raises(InputError, match=r"is a path, expected a name; give 'pets' with --data-dir"):
        load(str(tmp_path / "pets"), tmp_path)
    (tmp_path / "keras").rename(tmp_path / "mnist")
    with pytest.raises(InputError, match=r"dataset 'mnist' is none yet: .*spikelore data import .*mnist.npz"):
        load("mnist", tmp_path)
    save(tmp_path / "pets/cat/2.png", TRAIN[1])
    save(tmp_path / "pets/dog/2.png", TRAIN[2])
    words = found["pets"].partition("spikelore ")[2].split()  # the command that it names does it
    monkeypatch.setattr(sys, "argv", ["spikelore", *words, "--data-dir", str(tmp_path)])
    with pytest.raises(SystemExit) as done:
        cli.main()
    assert not done.value.code, capsys.readouterr()
    assert load("pets-grey", tmp_path).class_names == ("cat", "dog")
    for action in ("list", "check"):
        monkeypatch.setattr(sys, "argv", ["spikelore", "data", action, "--data-dir", str(tmp_path)])
        with pytest.raises(SystemExit) as done:
            cli.main()
        assert not done.value.code
        assert "almost  pets: " in capsys.readouterr().out


def test_a_data_folder_that_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    (tmp_path / "file").write_text("x")
    for name, code, says in (("file", 2, "is a file, expected a folder"), ("gone", 0, "does not exist yet")):
        monkeypatch.setattr(sys, "argv", ["spikelore", "data", "list", "--data-dir", str(tmp_path / name)])
        with pytest.raises(SystemExit) as done:
            cli.main()
        assert (done.value.code or 0) == code
        assert says in "".join(capsys.readouterr())
        with pytest.raises(InputError, match=rf"{name} (is a file|does not exist)"):
            load("own", tmp_path / name)
    write(tmp_path / "data", *FORMS["val"])
    assert "name the folder above it" in dict(almost(tmp_path / "data"))["data"]


# Findings ---------------------------------------------------------------------------------------------------------

DIGITS = load("digits-sample")


def of(train: np.ndarray, test: np.ndarray | None = None, labels=DIGITS.train.labels) -> Dataset:
    train_set = Examples(train, labels[: len(train)])
    test_set = DIGITS.test if test is None else Examples(test, np.zeros(len(test), int))
    return Dataset("own", train_set, test_set, DIGITS.classes, "here")


def test_sound_images_give_no_finding():
    assert looked_at(DIGITS) == []
    for network in (RateLIFConfig.published(), RateLIFConfig.best(), RateLIFConfig.best(range(10))):
        assert of_rates("digits", DIGITS.train.inputs, network) == []


@pytest.mark.parametrize(
    ("dataset", "says"),
    [
        (of(255 - DIGITS.train.inputs), "own looks inverted: the median of its border pixels is 255"),
        (of(DIGITS.train.inputs // 128), "of 100 images looked at make no spike in first-spike coding"),
        (of(np.concatenate([DIGITS.train.inputs[:-3], np.full((3, 28, 28), 9, np.uint8)])), "own: 3 of 4000 training"),
        (of(np.repeat(DIGITS.train.inputs[:4], 5, axis=0)), "own: 20 training images are only 4 different ones"),
        (of(DIGITS.train.inputs, DIGITS.train.inputs[5:12]), "own: 7 of 7 test images are training images too"),
        (of(DIGITS.train.inputs, labels=np.array([3] * 9 + [4] * 3991)), "class 3 has 9 training images, class 4 3991"),
    ],
)
def test_what_is_most_likely_not_meant_is_told(dataset: Dataset, says: str):
    assert any(says in sentence for sentence in looked_at(dataset)), looked_at(dataset)


@pytest.mark.parametrize(("factor", "says"), [(0.02, "may stay silent; raise it to about"), (40, "all fire; lower it")])
def test_a_rate_that_the_network_was_not_made_for_is_told(factor: float, says: str):
    config = RateLIFConfig(rate_hz_per_level=0.25 * factor, dt_ms=0.1)
    (sentence,) = of_rates("own", DIGITS.train.inputs, config)
    assert says in sentence


def test_findings_never_change_the_images():
    before = DIGITS.train.inputs.copy()
    findings(DIGITS)
    np.testing.assert_array_equal(DIGITS.train.inputs, before)
