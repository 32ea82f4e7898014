"""What all tests share: the data and golden folders, which CI must have."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest


def _named(variable: str, inside: str = ".") -> Path:
    """Return what lies in the folder an environment variable names; skip without it, but never in CI."""
    value = os.environ.get(variable)
    if value and (Path(value) / inside).exists():
        return Path(value) / inside
    reason = f"{variable} does not name a folder with {inside}; see CONTRIBUTING.md"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def golden_file() -> Callable[[str], Path]:
    """Find one of the reference simulators' answers by its file name."""
    return lambda name: _named("SPIKELORE_GOLDEN", name)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder with mnist and letters."""
    return _named("SPIKELORE_DATA")
