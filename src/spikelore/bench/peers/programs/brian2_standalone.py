"""Brian2 in C++ standalone mode, one thread; the seconds are its own, of the steps without compilation and files."""

import tempfile
from collections.abc import Mapping
from typing import Any

import brian2 as b2  # pyright: ignore[reportMissingImports]
import numpy as np

from .brian2_parts import Simulation
from .types import Action, Arrays

PACKAGES = ("brian2", "numpy")


def prepare(case: str, arrays: Arrays, settings: Mapping[str, Any]) -> dict[str, Action]:
    """Return the training or the testing of the rate-coded network."""
    folder = tempfile.mkdtemp(dir=".")
    b2.set_device("cpp_standalone", build_on_run=False)
    simulation = Simulation(arrays, settings)
    simulation.network.run(simulation.duration)
    b2.device.build(directory=folder, compile=True, run=False)

    def run() -> dict[str, np.ndarray]:
        b2.device.run(with_output=False)
        return simulation.results(b2.device._last_run_time)

    return {settings["work"]: run}
