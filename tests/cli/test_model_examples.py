"""Models of other libraries learn digits as they are."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize("library", ["snntorch", "spikingjelly", "norse"])
def test_a_model_of_another_library_learns(library, tmp_path, learned):
    pytest.importorskip(library, reason=f"{library} is not installed; its example needs it")
    command = [sys.executable, EXAMPLES / f"{library}_network.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (share,) = re.findall(r"([\d.]+) %", done.stdout)
    learned("accuracy", float(share), at_least=75)
