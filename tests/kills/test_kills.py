"""A run that is killed, or whose disk fills up or turns read-only, goes on to the bytes of one that nobody stopped."""

import itertools
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kill import CONFIGS, points

from spikelore.errors import SpikeloreError
from spikelore.experiments import config_file
from watching import left, stop_in

MOUNTED = "size=64m"


@pytest.mark.parametrize(
    ("kind", "count"), [("fusion", 1), ("decay", 1), ("replay", 2), ("local", 1), ("sweep", 1), ("study", 1)]
)
def test_killed_at_any_moment_it_ends_in_the_same_bytes(kind, count, tmp_path):
    assert points(kind, count, 1, tmp_path) == [""] * count


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[tuple[Path, Callable[[str], None]]]:
    """A disk of its own, and what changes its options, such as its size."""
    place = tmp_path / "disk"
    place.mkdir()

    def mount(options: str) -> None:
        subprocess.run(["mount", "-o", options, "-t", "tmpfs", "tmpfs", place], check=True, capture_output=True)

    try:
        mount(MOUNTED)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no disk can be mounted here: {error}")
    try:
        yield place, lambda options: mount(f"remount,{options}")
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


def execute(out: Path, *, resume: bool = False) -> None:
    config_file.execute(config_file.build("replay", CONFIGS["replay"]), out, None, resume=resume)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What a run leaves that nobody stopped."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    execute(folder)
    return left(folder)


@pytest.mark.parametrize("kilobytes", [4, 24, 60])
def test_a_disk_that_fills_up_gets_a_sentence_and_loses_nothing(disk, whole, kilobytes):
    place, change = disk
    out = place / "runs" / "run"
    change(f"size={kilobytes}k")
    with pytest.raises(SpikeloreError, match=r"could not write .*No space left on device; (.*; )?free some space"):
        execute(out)
    change(MOUNTED)
    execute(out, resume=True)
    assert left(out) == whole


def test_a_disk_that_fills_up_in_mid_stream_keeps_the_last_state(disk, whole):
    place, change = disk
    stop_in(1, 5, lambda: execute(place / "run"))
    used = sum(
        os.statvfs(place).f_frsize * (n - f) for n, f in [(os.statvfs(place).f_blocks, os.statvfs(place).f_bfree)]
    )
    before = {name: content for name, content in left(place / "run").items() if "state" in name}
    assert before
    change(f"size={used}")
    with pytest.raises(SpikeloreError, match="No space left on device"):
        execute(place / "run", resume=True)
    assert {name: content for name, content in left(place / "run").items() if name in before} == before
    change(MOUNTED)
    execute(place / "run", resume=True)
    assert left(place / "run") == whole


def test_a_folder_that_turns_read_only_gets_a_sentence_and_loses_nothing(disk, whole):
    place, change = disk
    stop_in(1, 5, lambda: execute(place / "run"))
    before = left(place / "run")
    change("ro")
    with pytest.raises(SpikeloreError, match=r"Read-only file system; .*choose a folder that you may write to"):
        execute(place / "run", resume=True)
    with pytest.raises(SpikeloreError, match="Read-only file system"):
        execute(place / "another")
    change("rw")
    assert left(place / "run") == before
    execute(place / "run", resume=True)
    assert left(place / "run") == whole


def test_a_clock_that_jumps_changes_nothing_but_the_measured_time(tmp_path, whole, monkeypatch):
    hours, monotonic = itertools.cycle((0, 1e6, -1e6, 3600)), time.monotonic
    monkeypatch.setattr(time, "time", lambda: 1e9 + next(hours))
    monkeypatch.setattr(time, "monotonic", lambda: monotonic() + next(hours))
    stop_in(1, 5, lambda: execute(tmp_path / "run"))
    execute(tmp_path / "run", resume=True)
    assert left(tmp_path / "run").keys() == whole.keys()
    found = left(tmp_path / "run")
    assert [name for name in whole if found[name] != whole[name]] == []
