"""Brian2 in C++ standalone mode, one thread; the seconds are of the steps, without compilation and files.

Brian2's own account of a run is the processor's time, which is not the time that passes while others work, too.
"""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import brian2 as b2  # pyright: ignore[reportMissingImports]
import numpy as np

from .brian2_parts import Simulation
from .types import Action, Arrays

PACKAGES = ("brian2", "numpy")

_BEGIN = "timespec begun, ended; clock_gettime(CLOCK_MONOTONIC, &begun);"
_END = """
clock_gettime(CLOCK_MONOTONIC, &ended);
std::ofstream("seconds") << (ended.tv_sec - begun.tv_sec) + 1e-9*(ended.tv_nsec - begun.tv_nsec);
"""


def prepare(case: str, arrays: Arrays, settings: Mapping[str, Any]) -> dict[str, Action]:
    """Return the training or the testing of the rate-coded network."""
    folder = Path(tempfile.mkdtemp(dir="."))
    b2.set_device("cpp_standalone", build_on_run=False)
    simulation = Simulation(arrays, settings)
    b2.device.insert_code("before_network_run", _BEGIN)
    b2.device.insert_code("after_network_run", _END)
    simulation.network.run(simulation.duration)
    b2.device.build(directory=str(folder), compile=True, run=False)

    def run() -> dict[str, np.ndarray]:
        b2.device.run(with_output=False)
        return simulation.results(float((folder / "seconds").read_text(encoding="utf-8")))

    return {settings["work"]: run}
