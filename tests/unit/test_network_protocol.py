"""What a network of one's own gets from `Network`: made of classes and a shape, its arrays are its state."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from spikelore.errors import InputError
from spikelore.experiments.config_file import build, execute
from spikelore.experiments.evaluation import evaluate

EXAMPLES = Path(__file__).parents[2] / "examples"
sys.path.insert(0, str(EXAMPLES))

from own_network import NearestMean  # noqa: E402


@pytest.fixture
def taught():
    network = NearestMean((4, 7), (2, 2))
    network.learn_(np.array([[[255, 0], [0, 0]], [[0, 0], [0, 255]]], np.uint8), np.array([7, 4]))
    return network


def test_it_decides_for_the_highest_score_among_those_asked(taught):
    images = np.array([[[250, 0], [0, 0]], [[0, 0], [0, 250]], [[250, 0], [0, 0]]], np.uint8)
    assert taught.predict(images).tolist() == [7, 4, 7]
    assert taught.predict(images, among=(4,)).tolist() == [4, 4, 4]
    assert taught.predict(images).dtype == np.int64


def test_copies_and_checkpoints_share_nothing_and_are_whole(taught, tmp_path):
    taught.save(tmp_path / "a.safetensors")
    other, again = taught.copy(), NearestMean.load(tmp_path / "a.safetensors")
    assert (again.classes, again.input_shape) == ((4, 7), (2, 2))
    before = taught.state_dict()
    taught.learn_(np.full((1, 2, 2), 255, np.uint8), np.array([4]))
    for one in (other, again):
        assert one.state_dict().keys() == before.keys() == {"sums", "images"}
        assert all((one.state_dict()[name] == before[name]).all() for name in before)
    assert (taught.state_dict()["sums"] != before["sums"]).any()


def test_a_checkpoint_of_another_network_is_refused(taught, tmp_path):
    class Other(NearestMean):
        name = "other"

    taught.save(tmp_path / "a.safetensors")
    with pytest.raises(InputError, match="is of 'nearest mean', expected 'other'"):
        Other.load(tmp_path / "a.safetensors")


def test_it_runs_by_configuration_and_is_asked_from_its_folder(tmp_path):
    kind = f"{EXAMPLES / 'own_network.py'}:NearestMean"
    values = {
        "data": "digits-sample", "stream": {"groups": [[0, 1], [2, 3]]}, "network": {"kind": kind},
        "learner": {"method": "naive"}, "memory": {"images": 0},
    }  # fmt: skip
    execute(build("replay", values), tmp_path / "run", None)
    (row,) = json.loads((tmp_path / "run/results.json").read_text())["rows"]
    assert row["network"] == "nearest mean"
    ((asked,),) = [evaluate(tmp_path / "run", None, None)[1]]
    assert asked["accuracy"] == pytest.approx(row["average_accuracy"], abs=1e-5)
    assert row["average_accuracy"] > 0.85  # it counts: the same on every processor
