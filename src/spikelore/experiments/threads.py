"""Work on one thread, so that it gives the same bytes alone and beside other work."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numba
import torch

_lock = threading.Lock()
_inside = 0
_before = 1


@contextmanager
def one_thread() -> Iterator[None]:
    """While the block runs, torch and the kernels take one thread; afterwards as many as before it.

    torch's number is of the whole process, so of blocks that several threads run at once the first to begin notes it
    and the last to end puts it back, unless somebody set another meanwhile. Numba's is each thread's own.
    """
    global _inside, _before
    kernels = numba.get_num_threads()
    with _lock:
        if not _inside:
            _before = torch.get_num_threads()
        _inside += 1
        torch.set_num_threads(1)
    numba.set_num_threads(1)
    try:
        yield
    finally:
        numba.set_num_threads(kernels)
        with _lock:
            _inside -= 1
            if not _inside and torch.get_num_threads() == 1:
                torch.set_num_threads(_before)
