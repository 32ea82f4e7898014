"""Install the least version of every dependency that pyproject.toml allows, and run the tests of the core with them.

    python tests/minimum.py [--venv DIR] [--python PYTHON] [--torch VERSION]

The least torch comes with several gigabytes of CUDA; ``--torch 2.13.0`` takes another one instead.
"""

import argparse
import os
import re
import subprocess
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
CORE = [
    "tests/properties",
    "tests/unit/test_data_idx.py",
    "tests/unit/test_files.py",
    "tests/unit/test_first_spike_network.py",
    "tests/unit/test_kernel_memory.py",
    "tests/unit/test_lif_convolution.py",
    "tests/unit/test_lif_kernel.py",
    "tests/unit/test_lif_network.py",
    "tests/unit/test_lif_scan.py",
    "tests/unit/test_plain_yaml.py",
    "tests/unit/test_run_folder.py",
    "tests/unit/test_streams.py",
    "tests/unit/test_sweep.py",
    "tests/unit/test_report_tables.py",
    "tests/unit/test_template_stdp.py",
    "tests/unit/test_typed.py",
]
QUICK_RUN = ["reproduce", "fusion", "--scale", "quick"]


def least(torch: str | None) -> list[str]:
    """Return every dependency of the package at its least version, as pip is told it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pinned = [re.sub(r">=", "==", one) for one in project["dependencies"]]
    for one in pinned:
        if "==" not in one:
            raise SystemExit(f"pyproject.toml: {one!r} states no least version")
    return [f"torch=={torch}" if torch and one.startswith("torch==") else one for one in pinned]


def main() -> None:
    """Run the check; its exit status is that of what failed first."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--venv", type=Path, help="made if it is not there, and kept (default: a temporary one)")
    options.add_argument("--python", default="python3", help="which makes the environment (default: python3)")
    options.add_argument("--torch", metavar="VERSION", help="instead of the least version of torch")
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        venv = (given.venv or Path(temporary) / "venv").absolute()
        python = venv / "bin" / "python"
        if not python.exists():
            subprocess.run([given.python, "-m", "venv", venv], check=True)
        pip = [python, "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, *least(given.torch), "pytest>=8", "hypothesis>=6.100"], check=True)
        subprocess.run([*pip, "--no-deps", "--editable", ROOT], check=True)
        # Its own compiled kernels: one Numba does not read another's, but each would empty the other's files.
        environment = {**os.environ, "PYTHONPATH": "", "NUMBA_CACHE_DIR": str(venv / "kernels")}
        subprocess.run([python, "-m", "pip", "list"], check=True)
        subprocess.run([python, "-m", "pytest", "-q", *CORE], cwd=ROOT, env=environment, check=True)
        subprocess.run(
            [python, "-m", "spikelore", *QUICK_RUN, "--out", Path(temporary) / "run"],
            cwd=temporary, env=environment, check=True,
        )  # fmt: skip


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as error:
        raise SystemExit(error.returncode) from None
