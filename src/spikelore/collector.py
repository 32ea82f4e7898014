"""The garbage collector in processes that are our own: the command, and what computes for it."""

import atexit
import gc
from collections.abc import Iterator
from contextlib import contextmanager

_OBJECTS = 100_000
"""Objects that are made between two looks."""


def looks_seldom() -> None:
    """Let it look seldom, and not at all when the process ends: nearly all that libraries make stays until then."""
    gc.set_threshold(_OBJECTS, 50, 50)
    atexit.register(gc.freeze)


@contextmanager
def looks_at_the_end() -> Iterator[None]:
    """Let it look when a piece of work has ended, however: networks and their methods know each other."""
    try:
        yield
    finally:
        gc.collect()
