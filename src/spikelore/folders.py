"""Folders that one process at a time writes to, and new ones that nobody else has."""

import errno
import os
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import chain, count
from pathlib import Path
from threading import get_ident
from types import TracebackType
from typing import Self
from weakref import WeakValueDictionary

from filelock import FileLock, SoftFileLock, Timeout

from spikelore.errors import InputError
from spikelore.files import cannot_write, refuse_link

LOCK = ".lock"
"""Name of the file that is locked while its folder is written to."""

_WAIT_SECONDS = 3.0
_LOOK_SECONDS = 0.05
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL)
"""What file systems say that know no locks: there nothing can be told, and work goes on without."""

_open: WeakValueDictionary[tuple[Path, int, int], "Writer"] = WeakValueDictionary()


class Writer:
    """The one writer of a folder, from here to `close` or the end of the process, even by a kill.

    The folder is made if it is not there. On `close` those that this made go again if they are empty, their parents
    included; nothing else is deleted. The same thread may open a folder again: its earlier writer is closed.
    """

    def __init__(self, path: Path) -> None:
        """Take a folder.

        Raises:
            InputError: another process, or another thread, is writing to it.
            SpikeloreError: it cannot be made or written to.
        """
        self.path = path
        self._made: list[Path] = []
        self._held: FileLock | None = None
        try:
            self._take()
        except OSError as error:
            self.close()
            raise cannot_write(path, error) from error
        except InputError:
            self.close()
            raise

    def __enter__(self) -> Self:
        """Return the writer itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Close it."""
        self.close()

    def _take(self) -> None:
        file = self.path.resolve() / LOCK
        key = (file, os.getpid(), get_ident())
        if earlier := _open.get(key):
            earlier.close()
        until, owner = time.monotonic() + _WAIT_SECONDS, ""
        while True:
            try:
                _make(self.path, self._made)
                owner = _owner(file) or owner
                self._lock(file)
                break
            except Timeout:
                if time.monotonic() > until:
                    raise InputError(
                        f"{self.path} is being written to by another process{owner}; wait until it has ended, or "
                        "choose another folder with --out"
                    ) from None
            except FileNotFoundError:  # another process has just given the folder up and removed it
                if time.monotonic() > until:
                    raise
            time.sleep(_LOOK_SECONDS)
        _open[key] = self

    def _lock(self, file: Path) -> None:
        refuse_link(file)
        held = self._held = FileLock(file, thread_local=False)
        try:
            held.acquire(timeout=0)
        except OSError as error:  # of which Timeout is one
            if error.errno not in _NO_LOCKS:
                raise
        if held.is_locked and not isinstance(held, SoftFileLock):  # a soft one notes its owner itself
            with suppress(OSError):
                file.write_text(f"{os.getpid()}\n{socket.gethostname()}\n", encoding="utf-8")

    def removed(self, *names: str) -> bool:
        """Return whether the folder was removed meanwhile: neither the lock nor a file of ``names`` is in it."""
        held = self._held is not None and self._held.is_locked
        return held and not any((self.path / name).exists() for name in (LOCK, *names))

    def close(self) -> None:
        """Give the folder up; folders made for it and still empty are removed. May be called again."""
        held = self._held
        if held is not None and held.is_locked:
            # Before the lock is given up: afterwards the file may be another's. Who waits on it sees that it is gone.
            with suppress(OSError):
                Path(held.lock_file).unlink()
            held.release()
        for folder in reversed(self._made):
            with suppress(OSError):  # not empty: it is in use
                folder.rmdir()


def _owner(lock: Path) -> str:
    """Return who holds a lock, as far as its file tells."""
    try:
        owner, host = lock.read_text(encoding="utf-8", errors="replace").split()[:2]
    except (OSError, ValueError):
        return ""
    return f" ({owner} on {host})"


def _make(path: Path, made: list[Path]) -> None:
    """Make a folder and its parents where they are not there; append those made to ``made``, parents first."""
    missing: list[Path] = []
    for folder in (path, *path.parents):
        if folder.exists():
            break
        missing.insert(0, folder)
    for folder in missing:
        try:
            folder.mkdir()
            made.append(folder)
        except FileExistsError:
            pass
    if not path.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))


def make_first(paths: Iterable[Path]) -> Path:
    """Make the first of ``paths`` that is not there and return it; no other process gets the same.

    Raises:
        SpikeloreError: it cannot be made.
    """
    for path in paths:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.mkdir()
            return path
        except FileExistsError as error:
            if not path.parent.is_dir():
                raise cannot_write(path, error) from error
        except OSError as error:
            raise cannot_write(path, error) from error
    raise AssertionError("there is always a further name")


def new_folder(stem: str, resume: bool) -> Path:
    """Make runs/STEM, or STEM-2, -3 ... when it is taken, and return it; with ``resume`` return the newest one."""
    names = (Path("runs") / name for name in chain([stem], (f"{stem}-{n}" for n in count(2))))
    if not resume:
        return make_first(names)
    newest = next(names)
    for following in names:
        if not following.exists():
            return newest
        newest = following
    raise AssertionError("there is always a further name")


@contextmanager
def folder_for(out: Path | None, stem: str, resume: bool) -> Iterator[Path]:
    """Give the folder that was named, else a new one, which goes again if nothing came into it."""
    folder = out or new_folder(stem, resume)
    try:
        yield folder
    finally:
        if out is None and not resume:
            with suppress(OSError):  # not empty, as it should be
                folder.rmdir()
