"""What all tests share: the data and golden folders, which CI must have, and bounds on what is learned."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("spikelore", deadline=None)  # a first example compiles, and a busy machine is no fault
settings.load_profile("spikelore")

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # tests run side by side: a thread that waits leaves its core
if "PYTEST_XDIST_WORKER" in os.environ:
    _share = max(1, (os.cpu_count() or 1) // int(os.environ["PYTEST_XDIST_WORKER_COUNT"]))
    for _variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(_variable, str(_share))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that bound something learned, `pytest -m learned`, and those that the root seed changes."""
    for item in items:
        for name in {"learned", "seed"}.intersection(getattr(item, "fixturenames", ())):
            item.add_marker(name)


@pytest.fixture(scope="session")
def seed() -> int:
    """Root seed of what is learned: 0, or what SPIKELORE_TEST_SEED says; margins are measured over several."""
    return int(os.environ.get("SPIKELORE_TEST_SEED", "0"))


@pytest.fixture
def learned(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Bound a value that was learned, and so depends on the processor: `learned("accuracy", value, at_least=0.8)`.

    Bounds come from measurements, `margins.md` beside this file has them: the value over seeds, instruction sets and
    numbers of threads. A bound lies at least as far outside the measured values as these lie apart. With
    SPIKELORE_MARGINS the value goes to that file instead, for `margins.py`, and nothing is bounded.
    """

    def bound(name: str, value: float, *, at_least: float | None = None, at_most: float | None = None) -> None:
        value = float(value)
        record = os.environ.get("SPIKELORE_MARGINS")
        if record:
            line = {"test": request.node.nodeid, "name": name, "value": value, "at_least": at_least, "at_most": at_most}
            with open(record, "a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
            return
        assert at_least is None or value >= at_least, f"{name} is {value}, expected at least {at_least}"
        assert at_most is None or value <= at_most, f"{name} is {value}, expected at most {at_most}"

    return bound


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
