"""How kernels are compiled, kept and run: the one place that asks Numba.

A parallel kernel has two forms of one function, with the same bits: over the cores and in one thread. The second runs
where threads cannot be used: in a process forked from one that has used them, whose threads are gone.
"""

import logging
import multiprocessing
import os
import stat
import tempfile
import threading
import warnings
from collections.abc import Callable
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from types import FunctionType
from typing import Any

import numba as typed_numba
from numba.core import event
from numba.core.caching import FunctionCache
from numba.core.errors import NumbaSystemWarning

from spikelore.errors import SpikeloreError

numba: Any = typed_numba  # it does not declare all of its names
config = numba.config

AVAILABLE = not config.DISABLE_JIT
"""Whether kernels can be compiled: not with NUMBA_DISABLE_JIT=1."""

_log = logging.getLogger("spikelore")


def compiled(*, parallel: bool = False, **options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Make a decorator that compiles a function without the interpreter's lock and keeps the code on disk.

    Args:
        parallel: spread its ``prange`` over the cores. Such a function is called from Python only.
        options: of `numba.njit`.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        return _Parallel(function, options) if parallel and AVAILABLE else _compile(function, options)

    return decorate


def _compile(function: Callable[..., Any], options: dict[str, Any]) -> Any:
    dispatcher = numba.njit(nogil=True, **options)(function)
    if AVAILABLE and (cache := _cache(function)):
        dispatcher._cache = cache  # what `enable_caching` does, which takes Numba's own class
    return dispatcher


class _Parallel:
    """A kernel over the cores, or in one thread where the process must not use more."""

    def __init__(self, function: Any, options: dict[str, Any]) -> None:
        self._function, self._options = function, options
        self._over_cores = _compile(function, {"parallel": True, **options})
        self._in_one_thread: Any = None

    def __call__(self, *arguments: Any) -> Any:
        if _threads.lost:
            return self._serial()(*arguments)
        with _threads.turn or _threads.begin():
            return self._over_cores(*arguments)

    def _serial(self) -> Callable[..., Any]:
        if self._in_one_thread is None:
            given = self._function
            same = FunctionType(given.__code__, given.__globals__, given.__name__, given.__defaults__)
            same.__qualname__ = f"{given.__qualname__}_in_one_thread"  # its own name in the cache
            self._in_one_thread = _compile(same, self._options)
        return self._in_one_thread


class _Threads:
    """What parallel kernels may do in this process.

    Attributes:
        lost: the process was forked from one whose threads had begun. GNU OpenMP would end it, and so may others.
        turn: held by a kernel while it runs, once threads have begun; lets one pass at a time where Numba's layer of
            threads bears no more.
    """

    def __init__(self) -> None:
        self.lost = False
        self.turn: Any = None

    def begin(self) -> Any:
        """Begin the threads and return what a kernel holds while it runs.

        Raises:
            SpikeloreError: Numba has no threads of the kind that was asked for.
        """
        with _beginning:
            if self.turn is None:
                try:
                    with warnings.catch_warnings():
                        # Numba warns at length without /dev/shm. The lock that it cannot have there is for others.
                        warnings.simplefilter("ignore", NumbaSystemWarning)
                        numba.get_num_threads()
                except ValueError as error:
                    asked = f"NUMBA_THREADING_LAYER is {config.THREADING_LAYER!r}"
                    raise SpikeloreError(f"{asked}: {' '.join(str(error).split())}; or unset it") from None
                self.turn = threading.Lock() if numba.threading_layer() == "workqueue" else nullcontext()
        return self.turn

    def forked(self) -> None:
        """Look, in a forked process, whether its parent's threads had begun."""
        global _beginning
        _beginning = threading.Lock()  # another thread of the parent may have held these
        self.turn = None
        with suppress(ValueError):  # not begun
            numba.threading_layer()
            self.lost = True


_threads = _Threads()
_beginning = threading.Lock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_threads.forked)


class _Cache(FunctionCache):
    """Numba's files of compiled code. No fault of theirs fails a run: code is then compiled again, or not kept."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return the code for a signature; None where there is none that can be read."""
        try:
            return super().load_overload(sig, target_context)
        except Exception:  # cut short, unreadable, of another kind: unpickling raises anything
            with suppress(Exception):
                self.flush()
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep code if its folder can still be written."""
        with suppress(OSError), self._alone():
            super().save_overload(sig, data)

    @contextmanager
    def _alone(self) -> Any:
        """Let one process at a time write: two would give different code the same file name."""
        try:
            import fcntl
        except ImportError:
            yield
            return
        with open(Path(self.cache_path) / ".spikelore-lock", "ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


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
        _log.warning("compiling kernels for this processor (%s): some 10 to 60 seconds", often)

    def on_end(self, event: Any) -> None:
        """Nothing."""


_notice = _Notice()
if AVAILABLE:
    event.register("numba:compile", _notice)
