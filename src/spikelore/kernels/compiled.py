"""How kernels are compiled, kept and run: the one place that asks Numba.

A parallel kernel is compiled for one thread and called with a part of its jobs. Threads take parts until none is left,
so one whose core is busy with something else takes fewer, and the bits depend neither on their number nor on what
comes to whom. Numba's own parallel loops share the jobs out beforehand, take twice the time to compile, and end a
process that is forked from one which has used them.
"""

import ctypes
import logging
import multiprocessing
import os
import stat
import sys
import tempfile
import time
import warnings
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from functools import cache, wraps
from pathlib import Path
from typing import Any

import numba as typed_numba
from numba.core import event
from numba.core.caching import FunctionCache
from numba.core.errors import NumbaSystemWarning

from spikelore.errors import SpikeloreError

numba: Any = typed_numba  # it does not declare all of its names
config = numba.config

_WAIT_SECONDS, _LOOK_SECONDS = 60.0, 0.02
"""Longest time that a process waits for another one to compile a function, and how often it looks."""

AVAILABLE = not config.DISABLE_JIT
"""Whether kernels can be compiled: not with NUMBA_DISABLE_JIT=1."""

_log = logging.getLogger("spikelore")


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Make a decorator that compiles a function without the interpreter's lock and keeps the code on disk.

    Args:
        options: of `numba.njit`.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        dispatcher: Any = numba.njit(nogil=True, **options)(function)
        if AVAILABLE and (cache := _cache(function)):
            dispatcher._cache = cache  # what `enable_caching` does, which takes Numba's own class
        return dispatcher

    return decorate


def over_cores(part: Callable[..., None]) -> Callable[..., None]:
    """Return ``run(jobs, ...)``, which spreads jobs over the cores by calls of the compiled ``part(begin, end, ...)``.

    No job may read what another one writes.
    """

    @wraps(part, updated=())
    def run(jobs: int, *arguments: Any) -> None:
        threads = _threads() if AVAILABLE and jobs > 1 else 1
        if threads < 2:
            part(0, jobs, *arguments)
            return
        parts = min(jobs, threads * _PARTS)
        to_do = deque((n * jobs // parts, (n + 1) * jobs // parts) for n in range(parts))
        raised: list[BaseException] = []

        def work(*_: Any) -> None:
            try:
                while to_do:
                    with suppress(IndexError):  # another thread's
                        part(*to_do.popleft(), *arguments)
            except BaseException as error:
                to_do.clear()
                raised.append(error)

        team = _torchs_team(threads)
        if team:
            _with_team(work, threads, *team)
        else:
            _with_helpers(work, min(jobs, threads) - 1)
        if raised:
            raise raised[0]

    return run


_PARTS = 4
"""Parts of the jobs for each thread."""


def _with_helpers(work: Callable[[], None], count: int) -> None:
    """Let ``count`` threads of our own, and this one, do the work."""
    helpers = []
    try:
        with suppress(RuntimeError):  # no more threads to be had
            helpers.extend(_helpers().submit(work) for _ in range(count))
        work()
    finally:
        for helper in helpers:
            if not helper.cancel():
                helper.result()


@cache
def _helpers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(config.NUMBA_NUM_THREADS, "spikelore")


_TEAM_WORK = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


def _with_team(work: Callable[..., None], threads: int, begin: Any, end: Any) -> None:
    """Let a team of OpenMP's threads, this one among them, do the work.

    What an interrupt raises here is raised when they are done: CPython looks for interrupts after a call, so none comes
    between ``try`` and ``begin``.
    """
    called = _TEAM_WORK(work)
    try:
        begin(called, None, threads)
        work()
    finally:
        end()


def _torchs_team(threads: int) -> tuple[Any, Any] | None:
    """Return what begins and ends a team of torch's threads; None if torch is not loaded or has more or fewer.

    After each operation they wait awake for the next, some milliseconds: threads beside them would find no core.
    """
    torch = _torch()
    return _openmp(torch._C.__file__) if torch and torch.get_num_threads() == threads else None


def _torch() -> Any:
    """Return torch if it is loaded."""
    torch = sys.modules.get("torch")
    return torch if hasattr(torch, "get_num_threads") else None


@cache
def _openmp(library: str) -> tuple[Any, Any] | None:
    """Return the entry points for teams of the OpenMP that a library is linked with, if it is GNU's or has them too."""
    try:
        linked = ctypes.CDLL(library)
        begin, end = linked.GOMP_parallel_start, linked.GOMP_parallel_end
    except (OSError, AttributeError):
        return None
    begin.argtypes, begin.restype = (_TEAM_WORK, ctypes.c_void_p, ctypes.c_uint), None
    end.argtypes, end.restype = (), None
    return begin, end


class _Process:
    forked = False
    """Forked processes are many as a rule, and begin without the threads of their parent: each takes one."""


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: setattr(_Process, "forked", True))


def _threads() -> int:
    """Return how many threads may work for this one: the number of `numba.set_num_threads`, one if forked.

    Raises:
        SpikeloreError: Numba has no threads of the kind that was asked for.
    """
    if _Process.forked:
        return 1
    _begin()
    return numba.get_num_threads()


@cache
def _begin() -> None:
    """Let Numba begin its threads, of which only the number is asked for; torch keeps its own number."""
    torch = _torch()
    of_torch = torch.get_num_threads() if torch else 0
    try:
        with warnings.catch_warnings():
            # Numba warns at length without /dev/shm. The lock that it cannot have there is for others.
            warnings.simplefilter("ignore", NumbaSystemWarning)
            numba.get_num_threads()
    except ValueError as error:
        asked = f"NUMBA_THREADING_LAYER is {config.THREADING_LAYER!r}"
        raise SpikeloreError(f"{asked}: {' '.join(str(error).split())}; or unset it") from None
    if torch:
        torch.set_num_threads(of_torch)  # Numba tells the OpenMP of both how many there are


class _Cache(FunctionCache):
    """Numba's files of compiled code. No fault of theirs fails a run: code is then compiled again, or not kept.

    Of processes that need the same function at the same time one compiles it; the others wait, and read what it kept.
    """

    _compiles: Any = None
    """The lock of this process while it compiles the function."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return the code for a signature; None where there is none that can be read, and so it is compiled."""
        found = self._kept(sig, target_context)
        if found is None and self._compiles is None:
            self._compiles = self._lock(f".{self._impl.filename_base}.lock")
            found = self._kept(sig, target_context)
            if found is not None:
                self.let_others()
        return found

    def _kept(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)
        except Exception:  # cut short, unreadable, of another kind: unpickling raises anything
            with suppress(Exception):
                self.flush()
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep code if its folder can still be written."""
        lock = self._lock(".spikelore-lock")  # two at a time would give different code the same file name
        try:
            with suppress(OSError):
                super().save_overload(sig, data)
        finally:
            if lock is not None:
                lock.close()
            self.let_others()

    def let_others(self) -> None:
        """End the waiting of processes that need the function."""
        if self._compiles is not None:
            self._compiles.close()
            self._compiles = None

    def _lock(self, name: str) -> Any:
        """Return a file that no other process has until it is closed; None where it cannot be had."""
        with suppress(ImportError, OSError), ExitStack() as stack:
            import fcntl

            lock = stack.enter_context(open(Path(self.cache_path) / name, "ab"))
            until = time.monotonic() + _WAIT_SECONDS
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > until:
                        return None
                    time.sleep(_LOOK_SECONDS)
            stack.pop_all()
            return lock
        return None


def _cache(function: Callable[..., Any]) -> _Cache | None:
    """Return where the code of ``function`` is kept.

    NUMBA_CACHE_DIR, beside the module, the user's cache, else a folder of the user's own among temporary files. None
    where none of them can be written.
    """
    with suppress(RuntimeError):
        return _Cache(function)
    given = config.CACHE_DIR
    try:
        config.CACHE_DIR = str(_temporary_folder())
        return _Cache(function)
    except (OSError, RuntimeError):
        return None
    finally:
        config.CACHE_DIR = given


def _temporary_folder() -> Path:
    """Return a folder that only this user can write: what lies in it is executed.

    Raises:
        OSError: there is none.
    """
    folder = Path(tempfile.gettempdir()) / f"spikelore-{os.getuid() if hasattr(os, 'getuid') else 'kernels'}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if hasattr(os, "getuid") and (
        not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    ):
        raise PermissionError(f"{folder} can be written by others")
    return folder


class _Notice(event.Listener):
    """Says once that kernels are being compiled, because nothing else happens for so long."""

    def __init__(self) -> None:
        # Of several workers that compile at once, one speaks: the first of its parent.
        worker = multiprocessing.parent_process() is not None
        self.said = worker and not multiprocessing.current_process().name.endswith("-1")

    def on_start(self, event: Any) -> None:
        """Say it if the function is ours."""
        dispatcher = event.data["dispatcher"]
        if self.said or not dispatcher.py_func.__module__.startswith("spikelore.kernels."):
            return
        self.said = True
        kept = isinstance(dispatcher._cache, _Cache)
        often = "once" if kept else "each time, as no folder for them can be written; set NUMBA_CACHE_DIR to one"
        # A warning, so that it is seen where nobody has set up logging.
        _log.warning("compiling kernels for this processor (%s): some 5 to 30 seconds", often)

    def on_end(self, event: Any) -> None:
        """Let other processes try where this one failed."""
        kept = event.data["dispatcher"]._cache
        if sys.exc_info()[0] and isinstance(kept, _Cache):  # `event.is_failed` is never true
            kept.let_others()


_notice = _Notice()
if AVAILABLE:
    event.register("numba:compile", _notice)
