"""Changed files get a sentence or are taken: some drawn anew, and all that ever failed."""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from rooms import ROOMS
from run import Fuzz, kept

COUNTS = {
    "idx": 150,
    "images": 150,
    "hdf5": 150,
    "bin": 100,
    "aedat": 100,
    "checkpoints": 150,
    "raw-checkpoints": 150,
    "configurations": 100,
    "runs": 20,
}


@pytest.mark.parametrize("reader", ROOMS)
@pytest.mark.filterwarnings("ignore")
def test_no_changed_file_leads_to_more_than_a_sentence(reader, tmp_path, monkeypatch):
    monkeypatch.setenv("SPIKELORE_QUIET", "1")
    fuzz, draw = Fuzz(reader, tmp_path, by_time=False), random.Random(f"{reader} tests")
    failed = []
    for name, content in [*kept(reader), *(fuzz.drawn(draw) for _ in range(COUNTS[reader]))]:
        outcome, details = fuzz.ask(name, content)
        failed += [(name, content[:200], outcome, details)] * outcome.startswith("FAILED")
        fuzz.restore()
    assert failed == []


@pytest.mark.parametrize("reader", ["idx", "configurations"])
def test_the_command_in_the_documentation_runs(reader):
    command = [sys.executable, str(Path(__file__).parent / "run.py"), reader, "20", "--seed", "3"]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith(f"{reader}, seed 3: ")
