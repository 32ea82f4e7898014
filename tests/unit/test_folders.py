"""A folder's one writer, new folders that nobody else has, and what is left behind: nothing but what was there."""

import errno
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import pytest
from filelock import FileLock

from spikelore import folders
from spikelore.errors import InputError, SpikeloreError
from spikelore.folders import LOCK, Writer, make_first


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(folders, "_WAIT_SECONDS", 0.1)


def in_another_thread(function, *arguments):
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function, *arguments).result()


_HOLD = """
import sys, time
from pathlib import Path
from spikelore.folders import Writer
writer = Writer(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(600)
"""


def test_another_process_is_refused_until_the_writer_ends_even_by_a_kill(tmp_path):
    run = tmp_path / "run"
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(run)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(InputError) as caught:
            Writer(run)
        assert str(caught.value).startswith(f"{run} is being written to by another process ({holder.pid} on ")
        assert str(caught.value).endswith("; wait until it has ended, or choose another folder with --out")
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    with Writer(run):
        assert (run / LOCK).read_text().startswith(f"{os.getpid()}\n")
    assert os.listdir(run) == []  # it was there when the second writer came, so it stays


def test_another_thread_is_refused_and_the_same_one_takes_over(tmp_path):
    first = Writer(tmp_path)
    with pytest.raises(InputError, match="is being written to"):
        in_another_thread(Writer, tmp_path)
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(InputError, match="is being written to"):  # a link is the same folder
        in_another_thread(Writer, tmp_path / "link")
    second = Writer(tmp_path)
    first.close()
    with pytest.raises(InputError, match="is being written to"):
        in_another_thread(Writer, tmp_path)
    second.close()
    in_another_thread(Writer, tmp_path).close()


def test_a_writer_that_is_dropped_gives_the_folder_up(tmp_path):
    Writer(tmp_path)
    in_another_thread(Writer, tmp_path).close()


def test_who_waits_for_a_folder_that_is_removed_meanwhile_makes_it_again(tmp_path, monkeypatch):
    monkeypatch.setattr(folders, "_WAIT_SECONDS", 60)
    first = Writer(tmp_path / "run")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(Writer, tmp_path / "run")
        with pytest.raises(TimeoutError):
            waiting.result(0.3)
        first.close()
        second = waiting.result(60)
    assert (tmp_path / "run" / LOCK).exists()
    monkeypatch.setattr(folders, "_WAIT_SECONDS", 0)
    with pytest.raises(InputError, match="is being written to"):
        Writer(tmp_path / "run")
    second.close()
    assert [*tmp_path.rglob("*")] in ([], [tmp_path / "run"])  # who came in before it was removed found it there


def test_only_folders_that_were_made_and_are_empty_go_again(tmp_path):
    with Writer(tmp_path / "a" / "b" / "c"):
        (tmp_path / "a" / "mine").touch()
    assert os.listdir(tmp_path / "a") == ["mine"]
    with Writer(tmp_path / "a" / "b"):
        (tmp_path / "a" / "b" / "file").touch()
    assert os.listdir(tmp_path / "a" / "b") == ["file"]
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to("empty")
    for name in ("empty", "link", "."):
        with Writer(tmp_path / name):
            pass
        assert (tmp_path / name).is_dir()
    assert (tmp_path / "link").is_symlink()


def test_a_folder_that_cannot_be_had_gives_the_reason(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "in it"):
        with pytest.raises(SpikeloreError, match=r"file.*: Not a directory; a file stands where a folder is needed"):
            Writer(path)
    (tmp_path / "nowhere").symlink_to("gone")
    with pytest.raises(SpikeloreError, match="nowhere: Not a directory"):
        Writer(tmp_path / "nowhere")
    with pytest.raises(SpikeloreError, match=r"File name too long; choose a shorter --out"):
        Writer(tmp_path / "new" / ("x" * 300))
    assert not (tmp_path / "new").exists()

    def refuse(self, **_):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(FileLock, "acquire", refuse)
    with pytest.raises(SpikeloreError, match="run: Permission denied; choose a folder that you may write to"):
        Writer(tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_where_there_are_no_locks_work_goes_on(tmp_path, monkeypatch, number):
    def refuse(self, **_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(FileLock, "acquire", refuse)
    with Writer(tmp_path / "run"):
        (tmp_path / "run" / "file").touch()
    assert os.listdir(tmp_path / "run") == ["file"]


def test_new_folders_are_had_by_one_alone(tmp_path):
    def take(_) -> Path:
        return make_first(tmp_path / "runs" / str(n) for n in count())

    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(take, range(200)))
    assert {path.name for path in taken} == {str(n) for n in range(200)}
    (tmp_path / "runs" / "200").symlink_to("gone")
    assert take(None).name == "201"
    (tmp_path / "file").touch()
    with pytest.raises(SpikeloreError, match="a file stands where a folder is needed"):
        make_first([tmp_path / "file" / "new"])


def test_a_link_that_leads_nowhere_is_called_so(tmp_path):
    (tmp_path / "link").symlink_to("gone")
    with pytest.raises(SpikeloreError, match="it is a link to gone, which is not there; make that, or choose another"):
        Writer(tmp_path / "link")
    assert [path.name for path in tmp_path.iterdir()] == ["link"]
