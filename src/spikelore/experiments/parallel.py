"""Independent jobs over the processor's cores."""

import os
import signal
import sys
from collections.abc import Callable, Iterator, MutableSequence, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from multiprocessing import active_children, current_process, get_context, parent_process
from threading import Thread
from types import ModuleType
from typing import Any

from spikelore.errors import SpikeloreError

_LOOK_SECONDS = 0.5

_shares: MutableSequence[float] = []
"""In a worker: how much of each call is done, in memory that all processes share."""


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _prepare_worker(shares: MutableSequence[float]) -> None:
    """Leave an interrupt to the parent, and leave with it."""
    global _shares
    _shares = shares
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
) -> Iterator[tuple[int, Any]]:
    """Call ``function`` once for each tuple of arguments, on all cores, and yield (number, result) as each is done.

    With one core or one call, or in a process that may start no others, everything runs in this process. The first
    error stops all and is raised. Where it is called from does not matter: a script, a notebook, standard input.

    Args:
        function: of a module, so that a fresh process can import it.
        arguments: of each call.
        watch: called now and then with the share of each call that is done, from 0 to 1; each call then is given,
            after its arguments, a function to tell its share.

    Raises:
        SpikeloreError: a worker process ended before its call was done.
    """
    workers = min(cores(), len(arguments))
    if workers <= 1 or current_process().daemon:
        yield from _one_by_one(function, arguments, watch)
        return
    others = set(active_children())
    # Fresh processes: a fork would share torch's and Numba's thread pools.
    context = get_context("spawn")
    shares = context.RawArray("d", len(arguments))
    pool = ProcessPoolExecutor(workers, context, _prepare_worker, (shares,))
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
