"""Brian2 in runtime mode with Cython; the seconds are its own, of the steps without the code's generation."""

from collections.abc import Mapping
from typing import Any

import brian2 as b2  # pyright: ignore[reportMissingImports]
import numpy as np

from .brian2_parts import Simulation
from .types import Action, Arrays

PACKAGES = ("brian2", "cython", "numpy")


def prepare(case: str, arrays: Arrays, settings: Mapping[str, Any]) -> dict[str, Action]:
    """Return the training or the testing of the rate-coded network."""
    b2.prefs.codegen.target = "cython"
    simulation = Simulation(arrays, settings)
    simulation.network.store()

    def run() -> dict[str, np.ndarray]:
        taken = []
        simulation.network.restore()
        simulation.network.run(simulation.duration, report=lambda elapsed, *_: taken.append(float(elapsed)))
        return simulation.results(taken[-1])

    return {settings["work"]: run}
