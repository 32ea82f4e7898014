"""What an experiment is expected to give: a table beside its configuration, and which of it a run has met.

Beside ``configs/NAME.yaml`` lies ``configs/NAME.expected.yaml``, a list under ``expectations``. Each entry names one
number of ``results.json`` and the range it must lie in::

    expectations:
    - what: the digit network on digits
      row: {name: network a}     # the one row of ``rows`` with these values; without it, of the results themselves
      value: a                   # the field
      about: 0.952               # expected: about ± within, or at_least, at_most, or both of these
      within: 0.01
      published: 0.94            # what the paper gives for it, if it does
      reproduced: true           # whether the expected value counts as a reproduction of it

``table`` names another list than ``rows``. The expected values are those of a run that was made, with a tolerance
for other machines; where they fall short of the published ones, ``reproduced`` says so.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spikelore import plain_yaml
from spikelore.errors import InputError
from spikelore.experiments import typed


@dataclass(frozen=True)
class Expectation:
    """One number and the range it must lie in; see the module for the fields."""

    what: str
    value: str
    row: Mapping[str, Any] | None = None
    table: str = "rows"
    about: float | None = None
    within: float | None = None
    at_least: float | None = None
    at_most: float | None = None
    published: float | None = None
    reproduced: bool | None = None

    def __post_init__(self) -> None:
        if (self.about is None) != (self.within is None):
            raise InputError(f"expectation {self.what!r} needs both about and within, or neither")
        if all(bound is None for bound in (self.about, self.at_least, self.at_most)):
            raise InputError(f"expectation {self.what!r} has no range; give about and within, at_least or at_most")
        if (self.published is None) != (self.reproduced is None):
            raise InputError(f"expectation {self.what!r} needs both published and reproduced, or neither")

    def range(self) -> str:
        """Return the expected range in words."""
        parts = [f"{self.about:g} ± {self.within:g}"] if self.about is not None else []
        parts += [f"at least {self.at_least:g}"] if self.at_least is not None else []
        parts += [f"at most {self.at_most:g}"] if self.at_most is not None else []
        return ", ".join(parts)

    def find(self, results: Mapping[str, Any]) -> float | None:
        """Return the number in ``results``, or None where there is no such row, several, or no number in it."""
        found = [results]
        if self.row is not None:
            matches = [one for one in results.get(self.table, []) if self.row.items() <= one.items()]
            found = matches if len(matches) == 1 else []
        value = found[0].get(self.value) if found else None
        return value if isinstance(value, int | float) and not isinstance(value, bool) else None

    def holds(self, value: float) -> bool:
        """Say whether a value lies in the range; its ends, give or take rounding, belong to it."""
        slack = 1e-9 * max(1.0, abs(value))
        about = self.about is None or self.within is None or abs(value - self.about) <= self.within + slack
        least = self.at_least is None or value >= self.at_least - slack
        return about and least and (self.at_most is None or value <= self.at_most + slack)


def beside(config: Path) -> Path:
    """Return where the expectations of a configuration file are, if it has any: ``NAME.expected.yaml``."""
    return config.with_suffix(".expected.yaml")


def read(path: Path) -> list[Expectation]:
    """Read a file of expectations.

    Raises:
        InputError: not readable, not of this form, or an unknown field.
    """
    raw = plain_yaml.read(path)
    if not isinstance(raw, dict) or list(raw) != ["expectations"] or not isinstance(raw["expectations"], list):
        raise InputError(f"{path} must hold one list called expectations")
    out = []
    for n, entry in enumerate(raw["expectations"], start=1):
        if not isinstance(entry, dict):
            raise InputError(f"{path}: entry {n} is {entry!r}, expected names with values; write what and value")
        try:
            typed.check_values(Expectation, entry)
            out.append(typed.made(Expectation, entry))
        except InputError as error:
            raise InputError(f"{path}: entry {n}: {error}") from error
    return out


def compare(expectations: list[Expectation], results: Mapping[str, Any]) -> list[tuple[bool, str]]:
    """Return, for each expectation, whether the results meet it, and a line that says so."""
    lines = []
    for one in expectations:
        value = one.find(results)
        holds = value is not None and one.holds(value)
        measured = "not in the results" if value is None else f"{value:g}"
        paper = "" if one.published is None else f"; published {one.published:g}"
        told = "" if one.reproduced is None else f", {'reproduced' if one.reproduced else 'not reproduced'}"
        mark = "holds  " if holds else "FAILS  "
        lines.append((holds, f"{mark}{one.what}: {measured} (expected {one.range()}{paper}{told})"))
    return lines
