"""Independent work in this process, over the processor's cores, or over a cluster by Ray."""

import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, MutableSequence, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from multiprocessing import active_children, current_process, get_context, parent_process
from threading import Thread
from types import ModuleType
from typing import Any

from spikelore.errors import InputError, SpikeloreError
from spikelore.experiments import optional
from spikelore.progress import shown

_LOOK_SECONDS = 0.5

_THREADS = ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
_RAY_CORES = 2
"""What a call asks of a cluster."""

_shares: MutableSequence[float] = []
"""In a worker: how much of each call is done, in memory that all processes share."""
_own_cores: int | None = None
"""In a worker: its part of the cores."""


def cores() -> int:
    """Return how many cores this process may use."""
    if _own_cores is not None:
        return _own_cores
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _prepare_worker(shares: MutableSequence[float], own_cores: int) -> None:
    """Take a part of the cores, leave an interrupt to the parent, and leave with it."""
    global _shares, _own_cores
    _shares, _own_cores = shares, own_cores
    for name in _THREADS:  # read when torch and Numba are loaded, which is later
        os.environ[name] = str(own_cores)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_leave_with_parent, daemon=True).start()


def _leave_with_parent() -> None:
    """End this process when its parent has ended, even by a kill; what the job saved last is kept."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _call(number: int, function: Callable[..., Any], arguments: tuple, told: bool) -> tuple[int, Any]:
    tell = (partial(_shares.__setitem__, number),) if told else ()
    return number, function(*arguments, *tell)


@contextmanager
def _without_main() -> Iterator[None]:
    """Keep a fresh process from running the user's script once more, which need not be made for that, or be a file."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def spread(
    function: Callable[..., Any],
    arguments: Sequence[tuple],
    watch: Callable[[Sequence[float]], None] | None = None,
    *,
    jobs: int | None = None,
) -> Iterator[tuple[int, Any]]:
    """Call ``function`` once for each tuple of arguments, on all cores, and yield (number, result) as each is done.

    With one core or one call, or in a process that may start no others, everything runs in this process. The first
    error stops all and is raised. Where it is called from does not matter: a script, a notebook, standard input.
    Each process has its part of the cores: what spreads calls in it uses no more of them.

    Args:
        function: of a module, so that a fresh process can import it.
        arguments: of each call.
        watch: called now and then with the share of each call that is done, from 0 to 1; each call then is given,
            after its arguments, a function to tell its share.
        jobs: at most so many calls at once; as many as there are cores if not given.

    Raises:
        SpikeloreError: a worker process ended before its call was done.
    """
    workers = min(jobs or cores(), len(arguments))
    if workers <= 1 or current_process().daemon:
        yield from _one_by_one(function, arguments, watch)
        return
    others = set(active_children())
    # Fresh processes: a fork would share torch's and Numba's thread pools.
    context = get_context("spawn")
    shares = context.RawArray("d", len(arguments))
    pool = ProcessPoolExecutor(workers, context, _prepare_worker, (shares, max(1, cores() // workers)))
    try:
        with _without_main():
            waiting = [pool.submit(_call, n, function, each, watch is not None) for n, each in enumerate(arguments)]
        while waiting:
            wait(waiting, _LOOK_SECONDS, FIRST_COMPLETED)
            done = [each for each in waiting if each.done()]
            waiting = [each for each in waiting if each not in done]
            for each in done:
                number, result = each.result()
                shares[number] = 1.0
                yield number, result
            if watch:
                watch(list(shares))
    except BrokenProcessPool as error:
        raise SpikeloreError(
            "a worker process was killed before its work was done, often because memory ran out; go on with the same "
            "command and --resume"
        ) from error
    finally:
        for worker in set(active_children()) - others:  # also in the middle of a call, after an error or an interrupt
            worker.terminate()
        pool.shutdown(cancel_futures=True)


def _one_by_one(
    function: Callable[..., Any], arguments: Sequence[tuple], watch: Callable[[Sequence[float]], None] | None
) -> Iterator[tuple[int, Any]]:
    shares = [0.0] * len(arguments)

    def tell(number: int, share: float) -> None:
        shares[number] = share
        if watch:
            watch(shares)

    for number, each in enumerate(arguments):
        yield number, function(*each, *([partial(tell, number)] if watch else []))
        tell(number, 1.0)


def _by_ray(
    function: Callable[..., Any], arguments: Sequence[tuple], watch: Callable[[Sequence[float]], None], address: str
) -> Iterator[tuple[int, Any]]:
    """Do as `spread` does on a cluster, where calls tell nothing while they go on."""
    found = optional.find("ray")
    if isinstance(found, str):
        raise InputError(f"--ray needs Ray, but {found}; install it with: pip install 'spikelore[ray]'")
    (ray,) = found
    ray.init(address=None if address == "local" else address, include_dashboard=False)
    shares = [0.0] * len(arguments)
    try:
        remote = ray.remote(num_cpus=_RAY_CORES)(function)
        numbers = {remote.remote(*each, _unheard): number for number, each in enumerate(arguments)}
        while numbers:
            (done, *_), _ = ray.wait([*numbers])
            number = numbers.pop(done)
            yield number, ray.get(done)
            shares[number] = 1.0
            watch(shares)
    finally:
        ray.shutdown()


def _unheard(share: float) -> None:
    """Tell nobody."""


def run_parts(
    function: Callable[..., Any],
    parts: Mapping[str, tuple],
    what: str,
    *,
    jobs: int | None = None,
    ray: str | None = None,
) -> dict[str, Any]:
    """Call ``function`` for each part and return the results by name; on stderr shows how far all are together.

    Args:
        function: of a module; is given a part's arguments and a function to tell what share of the part is done.
        parts: the arguments of each part by its name.
        what: the parts are, in the plural.
        jobs: see `spread`.
        ray: ``local`` or a cluster's address, to spread the parts with Ray; None for this machine's cores.

    Raises:
        InputError: there is no Ray; or what a part raised, which stops the others, too.
        SpikeloreError: a worker process ended before its part was done.
    """
    names, results = [*parts], {}
    with shown(len(parts)) as meter:

        def watch(shares: Sequence[float]) -> None:
            meter.reach("learning" if len(parts) == 1 else f"{len(results)} of {len(parts)} {what}", sum(shares))

        calls = [*parts.values()]
        found = spread(function, calls, watch, jobs=jobs) if ray is None else _by_ray(function, calls, watch, ray)
        for number, result in found:
            results[names[number]] = result
    return results
