"""Kernels on any processor, in threads and processes of any kind, without a compiler or a place for its files."""

import fcntl
import hashlib
import json
import logging
import multiprocessing
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numba
import numpy as np
import pytest
import torch
from numba.core import event
from numba.core.errors import TypingError

import every_kernel
from every_kernel import KERNELS, NETWORKS, WITHOUT_VECTORS, answers, assert_same_bits
from spikelore.errors import InputError, SpikeloreError
from spikelore.kernels import compiled, select

DIGESTS = Path(__file__).parent / "kernel_digests.json"


@pytest.fixture(scope="module")
def here() -> every_kernel.Answers:
    return answers(KERNELS)


def in_a_process(tmp_path: Path, way: str, **environment: str) -> every_kernel.Answers:
    """Return the answers of a process of its own; a hang fails."""
    file = tmp_path / "answers.npz"
    done = subprocess.run(
        [sys.executable, every_kernel.__file__, way, file], env={**os.environ, **environment}, timeout=240,
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    with np.load(file) as found:
        return dict(found)


def test_kernels_give_the_same_bits_on_every_processor(here):
    """Under any NUMBA_CPU_NAME and NPY_DISABLE_CPU_FEATURES too."""
    digests = {
        name: hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()[:16] for name, value in here.items()
    }
    assert digests == json.loads(DIGESTS.read_text())


@pytest.mark.skipif(not compiled.AVAILABLE, reason="nothing is compiled")
@pytest.mark.parametrize("threads", [1, 2])
def test_the_number_of_threads_changes_no_bit(here, threads):
    if threads > numba.config.NUMBA_NUM_THREADS:
        pytest.skip("one core")
    before = numba.get_num_threads()
    try:
        numba.set_num_threads(threads)
        assert_same_bits(answers(KERNELS), here)
    finally:
        numba.set_num_threads(before)


@pytest.fixture(params=["torch", "own"])
def crew(request, monkeypatch) -> Iterator[Callable[[int], None]]:
    """Give what sets how many threads there are: those of torch, or this one and helpers."""
    monkeypatch.setattr(compiled, "AVAILABLE", True)
    before = torch.get_num_threads()

    def size(threads: int) -> None:
        monkeypatch.setattr(compiled, "_threads", lambda: threads)
        torch.set_num_threads(threads if request.param == "torch" else threads + 1)
        team = compiled._torchs_team(threads)
        if request.param == "torch" and team is None and sys.platform != "linux":
            pytest.skip("torch's OpenMP has no entry points as GNU's here, as it has on Linux")
        assert (team is None) == (request.param == "own")

    yield size
    torch.set_num_threads(before)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_every_job_is_done_once_whoever_comes_to_it(threads, crew):
    crew(threads)
    done = np.zeros((40, 2), int)

    @compiled.over_cores
    def work(begin, end, factor):
        done[begin:end] += [1, factor * threading.get_ident()]

    work(len(done), 1)
    assert (done[:, 0] == 1).all()
    assert len(set(done[:, 1])) <= threads
    work(2, 0)
    work(0, 1)
    assert done[:, 0].sum() == 42


def test_a_thread_that_is_kept_from_its_work_leaves_the_rest_to_the_others(crew):
    """As one is whose core is busy with something else."""
    crew(2)
    here, begun, done = threading.get_ident(), threading.Event(), []

    @compiled.over_cores
    def work(begin, end):
        if threading.get_ident() != here:
            begun.set()
            while sum(many for who, many in done if who == here) < 16 - (end - begin):
                time.sleep(0.001)
        elif not done:
            assert begun.wait(60)
        done.append((threading.get_ident(), end - begin))

    work(16)
    assert [many for who, many in done if who != here] == [2]
    assert sum(many for _, many in done) == 16


def test_a_fault_in_a_job_is_raised_and_no_more_are_begun(crew):
    crew(2)
    begun = []

    @compiled.over_cores
    def work(begin, end):
        begun.append(begin)
        raise ValueError(f"in job {begin}")

    with pytest.raises(ValueError, match="in job"):
        work(100)
    assert len(begun) <= 2


def test_a_fault_in_another_thread_is_raised_here(crew):
    crew(2)
    here, there = threading.get_ident(), threading.Event()

    @compiled.over_cores
    def work(begin, end):
        if threading.get_ident() != here:
            there.set()
            raise ValueError("there")
        assert there.wait(60)

    with pytest.raises(ValueError, match="there"):
        work(2)


INTERRUPTED = """
import os, signal, sys, threading, torch
import numpy as np
from spikelore.kernels import lif_scan

torch.set_num_threads(2 if sys.argv[1] == "torch" else 1)
torch.ones(10**6).sum()
inputs = np.ones((20, 20000), np.float32)
for n in range(20):
    try:
        threading.Timer(0.01 + 0.0003 * n, os.kill, (os.getpid(), signal.SIGINT)).start()
        while True:
            lif_scan.forward(inputs, lif_scan.Leaky(), steps=20)
    except KeyboardInterrupt:
        pass
print(float(np.sum(lif_scan.forward(inputs, lif_scan.Leaky(), steps=20)[0])) > 0)
"""


@pytest.mark.parametrize("whose", ["torch", "own"])
def test_every_interrupt_is_raised_whatever_threads_are_at_work(whose):
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, whose], env={**os.environ, "NUMBA_NUM_THREADS": "2"}, capture_output=True,
        text=True, timeout=120,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "True\n", "")


def test_torch_keeps_the_number_of_threads_that_it_was_told():
    """Numba's threads, which begin with the first kernel, may be of the same OpenMP."""
    command = (
        "import torch; torch.set_num_threads(1); import every_kernel; every_kernel.leaky(); "
        "print(torch.get_num_threads())"
    )
    done = subprocess.run(
        [sys.executable, "-c", command], env={**os.environ, "NUMBA_NUM_THREADS": "2"}, capture_output=True, text=True,
        cwd=Path(every_kernel.__file__).parent,
    )  # fmt: skip
    assert (done.returncode, done.stdout.strip()) == (0, "1"), done.stderr


def test_where_no_more_threads_are_to_be_had_one_does_it_all(here, monkeypatch):
    def none_left(*_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(compiled, "_threads", lambda: 2)
    monkeypatch.setattr(compiled, "_torchs_team", lambda threads: None)
    monkeypatch.setattr(compiled.ThreadPoolExecutor, "submit", none_left)
    assert_same_bits(answers(KERNELS), here)


def test_three_threads_at_once(here):
    assert_same_bits(every_kernel.in_threads(), here)


def test_the_kind_of_numbas_threads_is_all_the_same(here, tmp_path):
    assert_same_bits(in_a_process(tmp_path, "threads", NUMBA_THREADING_LAYER="workqueue"), here)


def test_forked_and_spawned_processes_and_workers_of_a_data_loader(here, tmp_path):
    found = in_a_process(tmp_path, "processes")
    assert_same_bits({name: found[name] for name in here}, here)


def test_without_compilation_the_definitions_answer(here, tmp_path):
    found = in_a_process(tmp_path, "all", NUMBA_DISABLE_JIT="1", NUMBA_CACHE_DIR=str(tmp_path / "unused"))
    expected = here | answers(NETWORKS)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        if value.dtype.kind == "f":
            np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-5, err_msg=name)
        else:
            np.testing.assert_array_equal(found[name], value, name)
    assert not (tmp_path / "unused").exists()


IN_PYTHON = """
import sys

import numpy as np

from spikelore import kernels

kernels.AVAILABLE, kernels.DEFAULT_BACKEND = True, "numba_cpu"  # before the operations take it
import every_kernel
from spikelore.kernels.convolution import events
from spikelore.kernels.lif_network import numba_cpu as lif_network


def add_run(target, at, table, start, length):
    target, table = target.reshape(-1), table.reshape(-1)
    assert 0 <= at <= target.size - length and 0 <= start <= table.size - length
    target[at : at + length] += table[start : start + length]


def move_neurons(v, g, h, firing, u, d, moving):
    exc_rate, g_rate, h_rate, exc_reversal, inh_reversal, exc_rest, inh_rate, inh_rest, threshold = moving
    drive = g * (exc_reversal - v) + h * (inh_reversal - v) + (exc_rest - v)
    v += exc_rate * drive
    u += inh_rate * (d * (exc_reversal - u) + (inh_rest - u))
    g -= g_rate * g
    h -= h_rate * h
    d -= g_rate * d
    return int((v > firing).any()) + 2 * int((u > threshold).any())


events.add_run = lif_network.add_run = add_run
lif_network.move_neurons = move_neurons

with np.errstate(over="ignore"):  # hashes of generators wrap
    every_kernel._main("python", sys.argv[1])
"""


def test_the_code_that_is_compiled_gives_the_same_bits_as_plain_python(tmp_path):
    """What it would read beyond an array's end is an error there.

    Loops of hand-made vectors have no such form; those of events and of a rate-coded network are given one.
    """
    file = tmp_path / "answers.npz"
    done = subprocess.run(
        [sys.executable, "-c", IN_PYTHON, file], env={**os.environ, "NUMBA_DISABLE_JIT": "1"}, timeout=240,
        capture_output=True, text=True, cwd=Path(every_kernel.__file__).parent,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    with np.load(file) as found:
        assert_same_bits(dict(found), answers(WITHOUT_VECTORS))


def test_a_compiled_kernel_asked_for_without_compilation_is_refused(monkeypatch):
    monkeypatch.setattr("spikelore.kernels.AVAILABLE", False)
    with pytest.raises(InputError, match=r"^backend 'numba_cpu' has to be compiled, but NUMBA_DISABLE_JIT is set; "):
        select({"numba_cpu": json, "reference": json}, "numba_cpu")
    assert select({"reference": json}, "reference") is json


def test_a_layer_of_threads_that_is_not_there_is_told(monkeypatch):
    def fail():
        raise ValueError("No threading layer could be loaded.\nHINT:\nIntel TBB is required")

    monkeypatch.setattr(compiled.numba, "get_num_threads", fail)
    monkeypatch.setattr(compiled.config, "THREADING_LAYER", "tbb")
    with pytest.raises(SpikeloreError, match=r"NUMBA_THREADING_LAYER is 'tbb': No threading .* required; or unset it$"):
        compiled._begin.__wrapped__()


# Where compiled code is kept.


def twice(x):
    return 2 * x


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(compiled.config, "CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def hits(function) -> tuple[int, int]:
    return sum(function.stats.cache_hits.values()), sum(function.stats.cache_misses.values())


def files(folder: Path, ending: str) -> list[Path]:
    return sorted(folder.rglob(f"*{ending}"))


def made():
    function = compiled.compiled()(twice)
    assert function(21) == 42
    return function


def test_code_is_kept_where_numba_is_told(cache):
    assert hits(made()) == (0, 1)
    assert hits(made()) == (1, 0)
    assert files(cache, ".nbi")


@pytest.mark.parametrize("ending", [".nbi", ".nbc"])
@pytest.mark.parametrize("left", [0, 10, 200])
def test_a_file_cut_short_is_made_anew(cache, ending, left):
    made()
    (file,) = files(cache, ending)
    file.write_bytes(file.read_bytes()[:left])
    assert hits(made()) == (0, 1)
    assert hits(made()) == (1, 0)


def test_a_folder_that_can_no_longer_be_written_fails_nothing(cache):
    function = compiled.compiled()(twice)
    (folder,) = cache.iterdir()
    folder.rmdir()
    folder.write_text("a file in its place")
    assert function(21) == 42
    folder.unlink()


def test_a_full_disk_fails_nothing(cache, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    function = compiled.compiled()(twice)
    monkeypatch.setattr(function._cache._cache_file, "save", full)
    assert function(21) == 42
    assert not files(cache, ".nbc")


def compile_and_tell(folder: str, told, begins) -> None:
    compiled.config.CACHE_DIR = folder
    begins.wait()
    told.put(hits(made()))


def test_of_two_processes_one_compiles_and_the_other_reads_it(cache):
    context = multiprocessing.get_context("spawn")
    told, begins = context.Queue(), context.Barrier(3)
    both = [context.Process(target=compile_and_tell, args=(str(cache), told, begins)) for _ in range(2)]
    for each in both:
        each.start()
    begins.wait(120)
    assert sorted(told.get(timeout=60) for _ in both) == [(0, 1), (1, 0)]
    for each in both:
        each.join()


def taken(function) -> bool:
    """Return whether another process may not compile a function."""
    with open(Path(function._cache.cache_path) / f".{function._cache._impl.filename_base}.lock", "ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def test_what_cannot_be_compiled_keeps_no_other_process_waiting(cache):
    function = compiled.compiled()(twice)
    with pytest.raises(TypingError):
        function(object())
    assert not taken(function)
    assert function(21) == 42
    assert not taken(function)


def test_a_process_waits_only_so_long_for_another_to_compile(cache, monkeypatch):
    monkeypatch.setattr(compiled, "_WAIT_SECONDS", 0.1)
    function = compiled.compiled()(twice)
    Path(function._cache.cache_path).mkdir(parents=True, exist_ok=True)
    with open(Path(function._cache.cache_path) / f".{function._cache._impl.filename_base}.lock", "ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert function(21) == 42
        assert hits(made()) == (1, 0)


@pytest.fixture
def nowhere(monkeypatch, tmp_path):
    """Leave Numba no place but one that it is told."""
    class_ = compiled.FunctionCache._impl_class
    first = [each for each in class_._locator_classes if each.__name__ == "UserProvidedCacheLocator"]
    monkeypatch.setattr(class_, "_locator_classes", first)
    monkeypatch.setattr(compiled.config, "CACHE_DIR", "")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path / f"spikelore-{os.getuid()}"


def test_without_a_place_a_folder_of_the_users_own_among_temporary_files_is_taken(nowhere):
    assert hits(made()) == (0, 1)
    assert hits(made()) == (1, 0)
    assert nowhere.stat().st_mode & 0o777 == 0o700
    assert compiled.config.CACHE_DIR == ""


@pytest.mark.parametrize("fault", ["writable by others", "a link", "a file"])
def test_a_temporary_folder_that_others_can_write_is_not_used(nowhere, fault, tmp_path, caplog):
    other = tmp_path / "other"
    other.mkdir()
    if fault == "a link":
        nowhere.symlink_to(other)
    elif fault == "a file":
        nowhere.touch()
    else:
        nowhere.mkdir()
        nowhere.chmod(0o777)
    made()
    assert not files(tmp_path, ".nbi")


# What is said meanwhile.


@pytest.fixture
def notice(caplog, monkeypatch):
    monkeypatch.setattr(compiled._notice, "said", True)
    caplog.set_level(logging.INFO, "spikelore")
    one = compiled._Notice()
    with event.install_listener("numba:compile", one):
        yield lambda: [record.getMessage() for record in caplog.records]


def ours():
    def triple(x):
        return 3 * x

    triple.__module__ = "spikelore.kernels.test"
    return triple


def test_the_first_compilation_of_ours_is_told_once(notice, cache):
    made()  # not ours
    assert notice() == []
    first, second = (compiled.compiled()(ours()) for _ in range(2))
    first(1)
    assert notice() == ["compiling kernels for this processor (once): some 5 to 30 seconds"]
    second(1.5)
    assert len(notice()) == 1


def test_nothing_is_told_of_code_that_is_there(notice, cache):
    compiled.compiled()(twice)(1)
    assert notice() == []


def test_where_nothing_can_be_kept_the_way_out_is_told(notice, nowhere):
    nowhere.touch()
    compiled.compiled()(ours())(1)
    assert notice()[0].startswith("compiling kernels for this processor (each time, as no folder for them can be")
    assert "NUMBA_CACHE_DIR" in notice()[0]


def test_reports_without_a_folder_for_matplotlib_say_nothing(tmp_path):
    (tmp_path / "file").touch()
    nowhere = {"MPLCONFIGDIR": str(tmp_path / "file" / "in it"), "TMPDIR": str(tmp_path), "PYTHONOPTIMIZE": "2"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", "import spikelore.report, spikelore.cli"],
        env={**os.environ, **nowhere}, capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("given", "first", "found"),
    [
        ({}, "", "20000"),
        ({"GOMP_SPINCOUNT": "7"}, "", "7"),
        ({"OMP_WAIT_POLICY": "active"}, "", "None"),
        ({}, "import torch; ", "None"),
    ],
)
def test_threads_of_torch_wait_awake_for_a_short_time_unless_told_otherwise(given, first, found):
    own = {name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    command = f"{first}import os, spikelore; print(os.environ.get('GOMP_SPINCOUNT'))"
    done = subprocess.run(
        [sys.executable, "-c", command], env={**own, **given}, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == found
