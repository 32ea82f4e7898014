"""How long something takes: the best of some rounds."""

from collections.abc import Callable
from typing import Any

from spikelore.bench.works import best_seconds

_ROUNDS = 3


def best_of_rounds(action: Callable[[], Any]) -> float:
    """Return the best time in seconds, after a round that does not count."""
    action()
    return best_seconds(action, _ROUNDS)
