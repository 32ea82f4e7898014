"""The garbage collector in processes that are our own: the command, and what computes for it."""

import atexit
import gc

_OBJECTS = 100_000
"""Objects that are made between two looks."""


def looks_seldom() -> None:
    """Let it look seldom, and not at all when the process ends: nearly all that libraries make stays until then."""
    gc.set_threshold(_OBJECTS, 50, 50)
    atexit.register(gc.freeze)
