"""Cells: independent pieces of work, run in this process, over the processor's cores, or over a cluster by Ray."""

import logging
import os
import signal
import socket
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, MutableSequence, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing import active_children, current_process, get_context, parent_process
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from types import ModuleType
from typing import Any, Self

from spikelore import collector
from spikelore.errors import InputError, SpikeloreError
from spikelore.experiments import optional
from spikelore.files import remove, write_bytes_atomic
from spikelore.progress import shown, told_to

_LOOK_SECONDS = 0.5
_CONNECT_SECONDS = 10.0

_THREADS = ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
_BEGUN = 1e-9
"""Share of a call that has begun and tells nothing yet."""
_ATTEMPTS = 2
"""How often a call is begun whose process is killed."""

_shares: MutableSequence[float] = []
"""In a worker: how much of each call is done, in memory that all processes share."""
_own_cores: int | None = None
"""In a worker: its part of the cores."""


@dataclass(frozen=True)
class Cell:
    """A piece of work that leaves what it finds in a folder of its own.

    Attributes:
        call: a function of a module; is given the arguments and the folder, and goes on with what is in it.
        arguments: can be sent to another process.
        folder: all that the call writes to; sent to a cluster's node and back.
        cores: that it takes; if not given its part of all there are, and on a cluster one.
    """

    call: Callable[..., Any]
    arguments: tuple
    folder: Path
    cores: int | None = None


def cores() -> int:
    """Return how many cores this process may use."""
    if _own_cores is not None:
        return _own_cores
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_cells(
    cells: Mapping[Any, Cell], *, jobs: int | None = None, ray: str | None = None, early: "Early | None" = None
) -> dict[Any, Any]:
    """Run cells and return what each gave, or the exception that it raised, which stops no other.

    One alone runs in this process and shows how far it is; of several is shown on stderr how far all are together.

    Args:
        cells: by name, which may be anything.
        jobs: at most so many at once; as many as there are cores if not given. The results are the same.
        ray: ``local`` or a cluster's address, to run them by Ray; None for this machine's cores.
        early: processes that may have been started for them.

    Raises:
        InputError: there is no Ray, or no cluster at the address.
    """
    names, calls = [*cells], [*cells.values()]
    if len(calls) == 1 and ray is None:
        return {names[0]: _outcome(calls[0])}
    outcomes: dict[Any, Any] = {}
    if not calls:
        return outcomes
    with shown(len(calls)) as meter:

        def watch(shares: Sequence[float]) -> None:
            meter.reach(f"{len(outcomes)} of {len(calls)} runs", sum(shares))

        for number, outcome in _by_ray(calls, watch, ray) if ray else _over_cores(calls, watch, jobs, early):
            outcomes[names[number]] = outcome
            if isinstance(outcome, Exception):
                print(f"failed: {_told(names[number], outcome)}", file=sys.stderr, flush=True)
    return {name: outcomes[name] for name in names}


def failure(outcomes: Mapping[Any, Any]) -> Exception | None:
    """Return the error of the only cell, or one that says which of several failed; None if none did."""
    failed = {name: one for name, one in outcomes.items() if isinstance(one, Exception)}
    if not failed or len(outcomes) == 1:
        return next(iter(failed.values()), None)
    name, first = next(iter(failed.items()))
    kind = InputError if all(isinstance(one, InputError) for one in failed.values()) else SpikeloreError
    error = kind(
        f"{len(failed)} of {len(outcomes)} runs failed, the first one: {_told(name, first)}; the others are kept, go "
        "on with the same command and --resume"
    )
    error.__cause__ = first
    return error


def _told(name: Any, error: Exception) -> str:
    return f"{name}: {in_a_line(error).rstrip('.')}"


def in_a_line(error: Exception) -> str:
    """Return what went wrong, with the kind of error if it is none of ours."""
    kind = "" if isinstance(error, SpikeloreError) else f"{type(error).__name__}: "
    return kind + " ".join(str(error).split())


def _outcome(cell: Cell) -> Any:
    try:
        return cell.call(*cell.arguments, cell.folder)
    except Exception as error:
        return error


Watch = Callable[[Sequence[float]], None]
"""Is told now and then what share of each call is done, from 0 to 1."""


def _over_cores(
    calls: Sequence[Cell], watch: Watch, jobs: int | None, early: "Early | None" = None
) -> Iterator[tuple[int, Any]]:
    """Run calls on all cores and yield (number, outcome) as each is done.

    With one core, or in a process that may start no others, everything runs in this process. Where it is called from
    does not matter: a script, a notebook, standard input. Each process has its part of the cores. When a process is
    killed, the calls that were being run are run once more, one at a time.
    """
    count = _at_once(len(calls), max(call.cores or 1 for call in calls), jobs)
    if count <= 1:
        yield from _one_by_one(calls, watch)
        return
    attempts: Counter[int] = Counter()
    waiting = {*range(len(calls))}
    workers = (early and early.take(count, len(calls))) or _Workers(count, len(calls))
    while waiting:
        try:
            with workers:
                for number, outcome in workers.run(calls, sorted(waiting), watch):
                    waiting.remove(number)
                    yield number, outcome
        except BrokenProcessPool:
            begun = [number for number in sorted(waiting) if workers.shares[number]]
            attempts.update(begun)
            for number in begun:
                workers.shares[number] = 0.0
                if attempts[number] == _ATTEMPTS:
                    waiting.remove(number)
                    yield (
                        number,
                        SpikeloreError(
                            f"its process was killed {_ATTEMPTS} times before its work was done, often because memory "
                            "ran out"
                        ),
                    )
            workers = _Workers(1, len(calls), workers.shares)  # memory that ran out may be enough for one


def _at_once(calls: int, largest: int, jobs: int | None) -> int:
    """Return how many processes run so many calls, of which one takes ``largest`` cores; 1 for this process alone."""
    return 1 if current_process().daemon else min(jobs or max(1, cores() // largest), calls)


class _Workers:
    """Fresh processes, each with its part of the cores: a fork would share torch's and Numba's thread pools.

    Attributes:
        shares: how much of each call is done, in memory that all processes share.

    Args:
        count: of processes.
        calls: of which they run some.
        shares: of these so far.
        prepare: a function of a module that each process runs at once; without one they start with the calls.
    """

    def __init__(
        self, count: int, calls: int, shares: MutableSequence[float] | None = None,
        prepare: Callable[[], object] | None = None,
    ) -> None:  # fmt: skip
        context = get_context("spawn")
        self.count, self.shares = count, context.RawArray("d", calls) if shares is None else shares
        self._others = set(active_children())
        self._pool = ProcessPoolExecutor(count, context, _prepare_worker, (self.shares, max(1, cores() // count)))
        self._processes: set[Any] = set()
        if prepare is not None:
            with _without_main(), suppress(BrokenProcessPool):  # it breaks again for the calls
                for _ in range(count):
                    self._pool.submit(prepare)
            self._processes = set(active_children()) - self._others

    def __enter__(self) -> None:
        """Nothing."""

    def __exit__(self, *_: object) -> None:
        """End the processes, also in the middle of a call, after an interrupt."""
        for worker in self._processes or set(active_children()) - self._others:
            worker.terminate()
        self._pool.shutdown(cancel_futures=True)

    def run(self, calls: Sequence[Cell], numbers: Sequence[int], watch: Watch) -> Iterator[tuple[int, Any]]:
        """Run those of the calls and yield (number, outcome) as each is done."""
        with _without_main():
            waiting: dict[Future[Any], int] = {self._pool.submit(_call, n, calls[n]): n for n in numbers}
        while waiting:
            for done in wait(waiting, _LOOK_SECONDS, FIRST_COMPLETED).done:
                number, error = waiting.pop(done), done.exception()
                if isinstance(error, BrokenProcessPool) or (error and not isinstance(error, Exception)):
                    raise error
                self.shares[number] = 1.0
                yield number, error or done.result()
            watch(list(self.shares))


class Early:
    """Processes for calls that come when this one has done something first, started meanwhile; end as a block does."""

    def __init__(self) -> None:
        self._workers: _Workers | None = None

    def begin(
        self, calls: int, prepare: Callable[[], object], *, largest: int | None = None, jobs: int | None = None
    ) -> None:
        """Start processes for so many calls, if several are to run at once.

        Args:
            calls: how many come.
            prepare: a function of a module: loads, and compiles if need be, what they will use. Whether it fails or
                is killed does not matter.
            largest: most cores that one takes; see `Cell`.
            jobs: see `run_cells`.
        """
        count = _at_once(calls, largest or 1, jobs)
        if count > 1 and self._workers is None:
            self._workers = _Workers(count, calls, prepare=prepare)

    def take(self, count: int, calls: int) -> _Workers | None:
        """Return the processes if there are so many, for so many calls."""
        workers = self._workers
        if workers is None or (workers.count, len(workers.shares)) != (count, calls):
            return None
        self._workers = None
        return workers

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._workers is not None:
            with self._workers:
                self._workers = None


def _prepare_worker(shares: MutableSequence[float], own_cores: int) -> None:
    """Take a part of the cores, leave an interrupt to the parent, and leave with it."""
    global _shares, _own_cores
    _shares, _own_cores = shares, own_cores
    collector.looks_seldom()
    for name in _THREADS:  # read when torch and Numba are loaded, which is later
        os.environ[name] = str(own_cores)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_leave_with_parent, daemon=True).start()


def _leave_with_parent() -> None:
    """End this process when its parent has ended, even by a kill; what the call saved last is kept."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _call(number: int, cell: Cell) -> Any:
    tell = partial(_shares.__setitem__, number)
    tell(_BEGUN)
    with collector.looks_at_the_end(), told_to(lambda share: tell(max(share, _BEGUN))):
        return cell.call(*cell.arguments, cell.folder)


@contextmanager
def _without_main() -> Iterator[None]:
    """Keep a fresh process from running the user's script once more, which need not be made for that, or be a file."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _one_by_one(calls: Sequence[Cell], watch: Watch) -> Iterator[tuple[int, Any]]:
    shares = [0.0] * len(calls)

    def tell(number: int, share: float) -> None:
        shares[number] = share
        watch(shares)

    for number, each in enumerate(calls):
        with collector.looks_at_the_end(), told_to(partial(tell, number)):
            outcome = _outcome(each)
        yield number, outcome
        tell(number, 1.0)


def _by_ray(calls: Sequence[Cell], watch: Watch, address: str) -> Iterator[tuple[int, Any]]:
    """Do as `_over_cores` does on a cluster, whose nodes share no disk: folders travel.

    A call whose node dies is run again on another one, from where its folder was when it was sent.
    """
    found = optional.find("ray", "ray.exceptions")
    if isinstance(found, str):
        raise InputError(f"--ray needs Ray, but {found}; install it with: pip install 'spikelore[ray]'")
    ray, errors = found
    where = {} if address == "local" else {"address": address}
    host, _, port = address.rpartition(":")
    try:
        if host and port.isdecimal() and "//" not in address:  # Ray itself tries for minutes
            socket.create_connection((host, int(port)), _CONNECT_SECONDS).close()
        ray.init(**where, log_to_driver=False, logging_level=logging.CRITICAL)
    except (OSError, OverflowError, RuntimeError, ValueError, errors.RayError) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"--ray is {address!r}, expected local or the address of a cluster that runs ({reason}); start one with: "
            "ray start --head"
        ) from error
    shares = [0.0] * len(calls)
    try:
        numbers = {}
        for number, call in enumerate(calls):
            threads = {"env_vars": dict.fromkeys(_THREADS, str(call.cores or 1))}
            remote = ray.remote(_on_node).options(num_cpus=call.cores or 1, max_retries=-1, runtime_env=threads)
            numbers[remote.remote(call, _packed(call.folder))] = number
        while numbers:
            (done, *_), _ = ray.wait([*numbers])
            number = numbers.pop(done)
            try:
                outcome, files = ray.get(done)
                _unpack(files, calls[number].folder)
            except errors.RayError as error:
                outcome = SpikeloreError(f"the cluster lost it ({' '.join(str(error).split())[:300]})")
            yield number, outcome
            shares[number] = 1.0
            watch(shares)
    finally:
        ray.shutdown()


def _on_node(cell: Cell, files: Mapping[str, bytes]) -> tuple[Any, dict[str, bytes]]:
    """Run a cell in a folder of the node's; return what came of it, and all files of the folder."""
    global _own_cores
    _own_cores = cell.cores or 1
    with TemporaryDirectory() as home, told_to(lambda share: None):
        folder = Path(home) / (cell.folder.name or "run")
        _unpack(files, folder)
        outcome = _outcome(Cell(cell.call, cell.arguments, folder))
        if isinstance(outcome, SpikeloreError):  # without what cannot travel
            outcome = type(outcome)(str(outcome).replace(str(folder), str(cell.folder)))
        return outcome, _packed(folder)


def _packed(folder: Path) -> dict[str, bytes]:
    """Return the files of a folder, which need not be there, by their paths in it."""
    files = sorted(file for file in folder.rglob("*") if file.is_file() and not file.name.startswith("."))
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}


def _unpack(files: Mapping[str, bytes], folder: Path) -> None:
    """Make the files of a folder those that `_packed` found; ``results.json``, which says that it is whole, last."""
    for name in _packed(folder).keys() - files.keys():
        remove(folder / name)
    for name in sorted(files, key=lambda one: one == "results.json"):
        write_bytes_atomic(folder / name, files[name])
