"""The same configuration on the same machine leaves the same bytes, measured time aside."""

from spikelore import report
from spikelore.experiments import parallel
from spikelore.experiments.config_file import build, execute
from watching import left

REPLAY = {
    "data": "digits-sample",
    "stream": {"groups": [[0, 1], [2, 3]]},
    "network": {"channels": [2], "pool": 4, "steps": 2},
    "learner": {"batch": 50},
    "memory": {"images": 8},
}


def test_two_runs_leave_the_same_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(parallel, "cores", lambda: 1)
    for name in "ab":
        execute(build("replay", REPLAY), tmp_path / name / "run", None)
        report.write(tmp_path / name / "run")
    one, other = left(tmp_path / "a" / "run"), left(tmp_path / "b" / "run")
    assert [*sorted(one)] == [*sorted(other)]
    assert [name for name in one if one[name] != other[name]] == []
    assert any(name.endswith(".safetensors") for name in one)
