"""An environment for each library: a virtual environment with pinned versions, made once and kept."""

import subprocess
import sys
from pathlib import Path

from spikelore.errors import SpikeloreError

REQUIREMENTS: dict[str, tuple[str, ...]] = {
    "torch": (
        "torch==2.13.0",
        "torchvision==0.28.0",
        "torchaudio==2.11.0",
        "numpy==2.4.6",
        "snntorch==1.0.0",
        "spikingjelly==2.0.0",
        "norse==1.1.0",
    ),
    "brian2": ("brian2==2.9.0", "cython==3.3.1", "setuptools==65.5.0", "numpy==1.26.4"),
    "spyker": ("spyker==0.1.0", "numpy==2.4.6"),
}
"""What is installed in each environment; libraries that agree share one."""


def python_of(name: str, folder: Path) -> Path:
    """Return the interpreter of an environment, which is made if its folder does not hold it with these versions.

    Args:
        name: a key of `REQUIREMENTS`.
        folder: of all environments.

    Raises:
        SpikeloreError: it cannot be made, for want of a package, a network or room; says what pip said.
    """
    place, wanted = folder / name, "\n".join(REQUIREMENTS[name])
    python, mark = place / "bin" / "python", place / "requirements.txt"
    if mark.exists() and mark.read_text(encoding="utf-8") == wanted:
        return python
    for command in (
        [sys.executable, "-m", "venv", "--clear", str(place)],
        [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *REQUIREMENTS[name]],
    ):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            told = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or ["no reason given"]
            raise SpikeloreError(f"its environment cannot be made: {told[-1]}")
    mark.write_text(wanted, encoding="utf-8")
    return python
