import sys

import numpy as np
import pytest

from spikelore.errors import SpikeloreError
from spikelore.experiments import bench, spyketorch_peer


class Echo:
    """Stands where SpykeTorch would: gives the answers it is told to."""

    answers: dict

    def __init__(self, modules, network):
        self.network = network

    def features(self, bins):
        return list(bins)

    def encode(self, images):
        return self.answers["coding"](self.network.encode(images))

    def learn(self, bins, config, weights, ltp, ltd):
        raise AssertionError("coding comes first and must stop the run")


def test_a_peer_with_other_answers_makes_the_speed_void(monkeypatch):
    monkeypatch.setattr(spyketorch_peer, "find", lambda: ("modules",))
    monkeypatch.setattr(spyketorch_peer, "SpykeTorchPeer", Echo)
    monkeypatch.setattr(Echo, "answers", {"coding": np.zeros_like}, raising=False)
    with pytest.raises(SpikeloreError, match=r"coding gives SpykeTorch's answer in only .*%; its speed is void"):
        bench.first_spike(16, 0)


def test_without_spyketorch_there_is_no_peer(monkeypatch):
    monkeypatch.setitem(sys.modules, "SpykeTorch", None)
    assert spyketorch_peer.find() is None


def test_rates_take_turns_and_the_best_round_counts(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(bench.time, "perf_counter", lambda: now[0])
    calls = []

    def action(name, seconds):
        spent = iter([9.0, *seconds])

        def run():
            calls.append(name)
            now[0] += next(spent)

        return run

    ours, theirs = bench._rates([(action("ours", [2, 1, 4]), 10), (action("theirs", [5, 8, 10]), 20)])
    assert (ours, theirs) == (10.0, 4.0)
    assert calls == ["ours", "theirs"] * 4


def test_spyketorch_gives_the_same_answers():
    if spyketorch_peer.find() is None:
        pytest.skip("SpykeTorch is not installed; its answers are also in the golden files")
    for row in bench.first_spike(48, 0)["rows"]:
        assert row["spyketorch"] == "measured in this run"
        assert row["equal_answers"] >= 0.95
