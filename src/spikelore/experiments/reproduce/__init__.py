"""The published experiments, one module each."""

from collections.abc import Sequence
from typing import Literal

Preset = Literal["published", "best"]
"""``published`` follows the authors' code to the letter, ``best`` is our own."""

PRESETS: tuple[Preset, ...] = ("published", "best")


def label(data: str, classes: Sequence[int] | None) -> str:
    """Return a short name of data for tables: a dataset, and its classes unless all are meant."""
    return data if classes is None else f"{data} {','.join(map(str, classes))}"
