"""How long something takes: the best of some rounds."""

import time
from collections.abc import Callable
from typing import Any

_ROUNDS = 3


def best_of_rounds(action: Callable[[], Any]) -> float:
    """Return the best time in seconds, after a round that does not count."""
    times = []
    for _ in range(_ROUNDS + 1):
        begun = time.perf_counter()
        action()
        times.append(time.perf_counter() - begun)
    return min(times[1:])
