"""Independent jobs over the processor's cores."""

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import get_context
from typing import Any


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _quiet_worker() -> None:
    """Leave an interrupt to the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _call(job: tuple[int, Callable[..., Any], tuple]) -> tuple[int, Any]:
    number, function, arguments = job
    return number, function(*arguments)


def spread(function: Callable[..., Any], arguments: Sequence[tuple]) -> Iterator[tuple[int, Any]]:
    """Call ``function`` once for each tuple of arguments, on all cores, and yield (number, result) as each is done.

    With one core or one call everything runs in this process. The first error stops all and is raised.

    Args:
        function: of a module, so that a fresh process can import it.
        arguments: of each call.
    """
    workers = min(cores(), len(arguments))
    jobs = [(number, function, each) for number, each in enumerate(arguments)]
    if workers <= 1:
        yield from map(_call, jobs)
        return
    # Fresh processes: a fork would share torch's and Numba's thread pools.
    with get_context("spawn").Pool(workers, _quiet_worker) as pool:
        yield from pool.imap_unordered(_call, jobs)
