"""The published experiments, one module each."""

from typing import Literal

Preset = Literal["published", "best"]
"""``published`` follows the authors' code to the letter, ``best`` is our own."""

PRESETS: tuple[Preset, ...] = ("published", "best")
