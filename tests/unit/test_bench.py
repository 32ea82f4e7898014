import sys

import numpy as np
import pytest

from spikelore.bench import first_spike, lif, rounds, spyketorch_peer
from spikelore.errors import InputError, SpikeloreError
from spikelore.experiments.parallel import Cell, run_cells


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
        first_spike.first_spike(16, 0)


def test_without_spyketorch_there_is_no_peer(monkeypatch):
    monkeypatch.setitem(sys.modules, "SpykeTorch", None)
    assert str(spyketorch_peer.find()).startswith("SpykeTorch.snn cannot be imported (ModuleNotFoundError: ")


BROKEN = {
    "RuntimeError: operator nms does not exist": "raise RuntimeError('operator nms\\n does not exist')",
    "OSError: libcudart.so.12": "raise OSError('libcudart.so.12')",
    "SystemExit: 3": "raise SystemExit(3)",
}


@pytest.mark.parametrize("reason", BROKEN)
def test_a_package_that_cannot_be_imported_is_not_there(monkeypatch, tmp_path, reason):
    (tmp_path / "SpykeTorch").mkdir()
    (tmp_path / "SpykeTorch" / "__init__.py").write_text(BROKEN[reason])
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "SpykeTorch", raising=False)
    assert spyketorch_peer.find() == f"SpykeTorch.snn cannot be imported ({reason})"


def test_why_rates_are_recorded_is_told(monkeypatch):
    monkeypatch.setattr(spyketorch_peer, "find", lambda: "SpykeTorch.snn cannot be imported (OSError: no)")
    monkeypatch.setattr(first_spike, "best_of_rounds", lambda actions: [1.0 for _ in actions])
    answer = first_spike.first_spike(16, 0)
    assert answer["recorded_because"] == "SpykeTorch.snn cannot be imported (OSError: no)"
    assert [row["spyketorch"] for row in answer["rows"]] == ["recorded"] * 5


@pytest.mark.parametrize("reason", BROKEN)
def test_a_ray_that_cannot_be_imported_is_told(monkeypatch, tmp_path, reason):
    (tmp_path / "ray.py").write_text(BROKEN[reason])
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "ray", raising=False)
    with pytest.raises(InputError) as error:
        run_cells({"one": Cell(print, (), tmp_path)}, ray="local")
    assert str(error.value).startswith(f"--ray needs Ray, but ray cannot be imported ({reason}); install it with")


def test_nothing_is_measured_without_compilation(monkeypatch):
    monkeypatch.setattr("spikelore.kernels.AVAILABLE", False)
    with pytest.raises(InputError, match="NUMBA_DISABLE_JIT is set"):
        first_spike.first_spike(16, 0)
    with pytest.raises(InputError, match="NUMBA_DISABLE_JIT is set"):
        lif.lif(16, 0)


def test_actions_take_turns_and_the_best_round_counts(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(rounds.time, "perf_counter", lambda: now[0])
    calls = []

    def action(name, seconds):
        spent = iter([9.0, *seconds])

        def run():
            calls.append(name)
            now[0] += next(spent)

        return run

    ours, theirs = rounds.best_of_rounds([action("ours", [2, 1, 4]), action("theirs", [5, 8, 10])])
    assert (ours, theirs) == (1.0, 5.0)
    assert calls == ["ours", "theirs"] * 4


def test_spyketorch_gives_the_same_answers():
    if isinstance(missing := spyketorch_peer.find(), str):
        pytest.skip(f"{missing}; SpykeTorch's answers are also in the golden files")
    for row in first_spike.first_spike(48, 0)["rows"]:
        assert row["spyketorch"] == "measured in this run"
        assert row["equal_answers"] >= 0.95
