"""How long something takes: the best of some rounds."""

import time
from collections.abc import Callable, Sequence
from typing import Any

_ROUNDS = 3


def best_of_rounds(actions: Sequence[Callable[[], Any]]) -> list[float]:
    """Return each action's best time in seconds, taken turn about, after a round that does not count."""
    times: list[list[float]] = [[] for _ in actions]
    for _ in range(_ROUNDS + 1):
        for spent, action in zip(times, actions, strict=True):
            begun = time.perf_counter()
            action()
            spent.append(time.perf_counter() - begun)
    return [min(each[1:]) for each in times]
