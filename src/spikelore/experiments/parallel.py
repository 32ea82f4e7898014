"""Independent jobs over the processor's cores."""

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import active_children, get_context, parent_process
from threading import Thread
from typing import Any

from spikelore.errors import SpikeloreError


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _prepare_worker() -> None:
    """Leave an interrupt to the parent, and leave with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_leave_with_parent, daemon=True).start()


def _leave_with_parent() -> None:
    """End this process when its parent has ended, even by a kill; what the job saved last is kept."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _call(job: tuple[int, Callable[..., Any], tuple]) -> tuple[int, Any]:
    number, function, arguments = job
    return number, function(*arguments)


def spread(function: Callable[..., Any], arguments: Sequence[tuple]) -> Iterator[tuple[int, Any]]:
    """Call ``function`` once for each tuple of arguments, on all cores, and yield (number, result) as each is done.

    With one core or one call everything runs in this process. The first error stops all and is raised.

    Args:
        function: of a module, so that a fresh process can import it.
        arguments: of each call.

    Raises:
        SpikeloreError: a worker process ended before its call was done.
    """
    workers = min(cores(), len(arguments))
    jobs = [(number, function, each) for number, each in enumerate(arguments)]
    if workers <= 1:
        yield from map(_call, jobs)
        return
    others = set(active_children())
    # Fresh processes: a fork would share torch's and Numba's thread pools.
    pool = ProcessPoolExecutor(workers, get_context("spawn"), _prepare_worker)
    try:
        for done in as_completed([pool.submit(_call, job) for job in jobs]):
            yield done.result()
    except BrokenProcessPool as error:
        raise SpikeloreError(
            "a worker process was killed before its work was done, often because memory ran out; go on with the same "
            "command and --resume"
        ) from error
    finally:
        for worker in set(active_children()) - others:  # also in the middle of a call, after an error or an interrupt
            worker.terminate()
        pool.shutdown(cancel_futures=True)
