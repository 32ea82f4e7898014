"""Experiments on data of other forms: images that are not square, large labels, few images, names, bright paper."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spikelore import report
from spikelore.data import Examples, load, write_idx
from spikelore.errors import InputError
from spikelore.experiments import config_file

DIGITS = load("digits-sample")
pytestmark = pytest.mark.filterwarnings("error::UserWarning")


def write(folder: Path, part: Examples, stem: str) -> None:
    write_idx(folder / f"{stem}-images-idx3-ubyte", part.inputs)
    write_idx(folder / f"{stem}-labels-idx1-ubyte", part.labels.astype(np.int32))


def four_classes(each: int, part: Examples = DIGITS.train, **fewer: int) -> Examples:
    """Return images of classes 0 to 3; ``c3=2`` is two of class 3."""
    return part.take(np.concatenate([np.flatnonzero(part.labels == c)[: fewer.get(f"c{c}", each)] for c in range(4)]))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with ``flat`` (20 x 28, named, labels from 2147483600), ``tail`` and ``paper``."""
    root = tmp_path_factory.mktemp("data")
    train, test = four_classes(40), four_classes(10, DIGITS.test)
    for stem, part in (("train", train), ("t10k", test)):
        write(root / "flat", Examples(part.inputs[:, 4:24], part.labels + 2147483600), stem)
        write(root / "paper", Examples(255 - part.inputs, part.labels), stem)
    names = {str(2147483600 + n): name for n, name in enumerate(("zero", "one", "two", "three"))}
    (root / "flat/classes.json").write_text(json.dumps(names))
    write(root / "tail", four_classes(40, c3=5), "train")
    write(root / "tail", four_classes(10, DIGITS.test, c1=4), "t10k")
    return root


def fusion(data: str, first: int = 0) -> dict[str, Any]:
    return {
        "sources": [{"data": data, "classes": [first, first + 1]}, {"data": data, "classes": [first + 2, first + 3]}],
        "train_per_class": 20, "validation_per_class": 2, "test_per_class": 8, "epochs_layer_1": 1, "epochs_layer_2": 1,
        "epochs_decision": 1, "curve": [1.0], "network": {"layer_2": {"features": 20}, "decision": {"features": 20}},
    }  # fmt: skip


def decay(data: str, classes: list[int], **network: Any) -> dict[str, Any]:
    lif = {"classes": classes, "neurons_per_class": 3, "dt_ms": 1.0, "active_ms": 50.0, "silent_ms": 10.0,
           "exc_start_mv": -60.0, **network}  # fmt: skip
    return {
        "data": data, "unknown": [], "train_per_class": 8, "validation_per_class": 2, "test_images": 6,
        "presets": ["published"], "published": {"network": lif}, "l2_tau_ms": [],
    }  # fmt: skip


def replay(data: str, groups: list[list[int]], **values: Any) -> dict[str, Any]:
    return {
        "data": data, "stream": {"groups": groups}, "network": {"channels": [4], "pool": 2, "steps": 2},
        "learner": {"batch": 16}, "memory": {"images": 8}, **values,
    }  # fmt: skip


def run(kind: str, values: dict[str, Any], folder: Path, data: Path) -> tuple[dict[str, Any], str]:
    """Return the results and the report's text."""
    results = config_file.execute(config_file.build(kind, values), folder, data)
    return results, report.write(folder).read_text()


LARGE = [2147483600 + n for n in range(4)]


def test_fusion_on_images_that_are_not_square_with_large_labels_and_names(
    data: Path, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("SPIKELORE_QUIET", "1")  # no line of progress where kernels are compiled first
    results, page = run("fusion", fusion("flat", LARGE[0]), tmp_path / "run", data)
    assert results["images_per_class"] == [
        {"data": f"flat {one},{two}", "train": 20, "validation": 2, "test": 8,
         "class_names": dict(zip(map(str, LARGE), ("zero", "one", "two", "three"), strict=True))}
        for one, two in (LARGE[:2], LARGE[2:])
    ]  # fmt: skip
    assert "20 train, 2 validation, 8 test" in page
    assert "notes" not in results
    assert capsys.readouterr().err == ""


def test_decay_on_images_that_are_not_square(data: Path, tmp_path: Path):
    results, page = run("decay", decay("flat", LARGE[:2], height=20), tmp_path / "run", data)
    assert results["images_per_class"][0]["train"] == 8
    assert "8 train, 2 validation" in page
    with pytest.raises(InputError, match=r"images are uint8 of shape \(.*, 20, 28\), expected .*configure the network"):
        run("decay", decay("flat", LARGE[:2]), tmp_path / "wrong", data)
    assert not (tmp_path / "wrong").exists()


@pytest.mark.parametrize("kind", ["split", "rotated", "permuted"])
def test_streams_of_images_that_are_not_square(data: Path, tmp_path: Path, kind: str):
    values = replay("flat", [LARGE[:2], LARGE[2:]])
    if kind != "split":
        values["stream"] = {"kind": kind, "tasks": 2, "degrees": [0.0, 30.0], "scenario": "domain-incremental"}
    results, page = run("replay", values, tmp_path / "run", data)
    assert results["images_per_class"][0]["train"] == dict.fromkeys(map(str, LARGE), 40)
    assert "40 train, 10 test" in page


def test_what_a_small_class_leaves_is_told(data: Path, tmp_path: Path, capsys):
    results, page = run("fusion", fusion("tail"), tmp_path / "run", data)
    drawn = [(one["train"], one["validation"], one["test"]) for one in results["images_per_class"]]
    assert drawn == [(20, 2, 4), (3, 2, 8)]
    told = [
        "tail 0,1: class 1 has 4 test images, so 4 of each class are tested (test_per_class is 8)",
        "tail 2,3: class 3 has 5 training images, so its network trains on 3 of each class (train_per_class is 20), "
        "beside 2 for validation",
    ]
    assert results["notes"] == told
    error = capsys.readouterr().err
    assert [error.count(sentence) for sentence in told] == [1, 1]
    assert all(sentence in page for sentence in told)


def test_images_that_look_inverted_are_told_before_they_are_learned(data: Path, tmp_path: Path, capsys):
    results, _ = run("replay", replay("paper", [[0, 1], [2, 3]]), tmp_path / "run", data)
    assert "paper looks inverted" in results["notes"][0]
    assert "paper looks inverted" in capsys.readouterr().err
    with pytest.raises(
        InputError, match=r"mean grey level 2[0-9.]+, expected above 0 and at most 127.5.*looks inverted"
    ):
        run("decay", decay("paper", [0, 1]), tmp_path / "decay", data)
    results, _ = run("decay", decay("tail", [0, 1], rate_hz_per_level=0.01), tmp_path / "decay", data)
    assert "raise it to about" in results["notes"][0]


@pytest.mark.parametrize("share", [0.01, 0.1])
def test_a_task_without_images_to_measure_on_is_refused(data: Path, tmp_path: Path, share: float):
    stream = {"groups": [[0, 1], [3]], "validation_share": share}  # class 3 has 5 images
    task = "0,1" if share == 0.01 else "3"
    with pytest.raises(InputError, match=f"task '{task}' has no validation image beside its [0-9]+ training images"):
        run("replay", replay("tail", [], measured_on="validation", stream=stream), tmp_path / "run", data)
    assert not (tmp_path / "run").exists()
