"""What all tests share: the data and golden folders, which CI must have."""

import os
from pathlib import Path

import pytest


def _folder(variable: str) -> Path:
    """Return the folder an environment variable names; skip without it, but never in CI."""
    value = os.environ.get(variable)
    if value and Path(value).is_dir():
        return Path(value)
    reason = f"{variable} does not name a folder; see CONTRIBUTING.md"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def golden() -> Path:
    """Folder with the reference simulators' answers."""
    return _folder("SPIKELORE_GOLDEN")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder with mnist and letters."""
    return _folder("SPIKELORE_DATA")
