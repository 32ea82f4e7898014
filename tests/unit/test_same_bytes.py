"""The same configuration on the same machine leaves the same bytes, measured time aside."""

import re
from pathlib import Path

from spikelore import report
from spikelore.experiments import parallel
from spikelore.experiments.config_file import build, execute

REPLAY = {
    "data": "digits-sample",
    "stream": {"groups": [[0, 1], [2, 3]]},
    "network": {"channels": [2], "pool": 4, "steps": 2},
    "learner": {"batch": 50},
    "memory": {"images": 8},
}


def left(folder: Path) -> dict[str, bytes]:
    """Return what a run left, without what it measured of time."""
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for name in files:
        if name.endswith("results.json"):
            files[name] = re.sub(rb'"seconds": [\d.]+', b"", files[name])
    files["report.html"] = re.sub(rb"(\d+ (s|min|h)\b ?)+", b"", files["report.html"])
    return files


def test_two_runs_leave_the_same_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(parallel, "cores", lambda: 1)
    for name in "ab":
        execute(build("replay", REPLAY), tmp_path / name / "run", None)
        report.write(tmp_path / name / "run")
    one, other = left(tmp_path / "a" / "run"), left(tmp_path / "b" / "run")
    assert [*sorted(one)] == [*sorted(other)]
    assert [name for name in one if one[name] != other[name]] == []
    assert any(name.endswith(".safetensors") for name in one)
