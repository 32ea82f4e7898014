"""Kill an experiment at random moments and go on with it: it must end in the bytes of a run that nobody stopped.

    python tests/kills/kill.py fusion 20 --seed 1

Experiments: fusion, decay, replay, local, sweep, study. Each is killed (SIGKILL) so many times, each time in a folder
of its own, at a moment drawn evenly over the time that a whole one takes; then it goes on to the end. Measured time
aside, all files are compared.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

sys.path.insert(0, str(Path(__file__).parents[1]))

from spikelore.experiments import config_file
from spikelore.experiments.sweep import sweep
from watching import left

REPLAY = {
    "data": "digits-sample", "stream": {"groups": [[0, 1], [2, 3]]}, "network": {"channels": [4], "steps": 4},
    "learner": {"batch": 20}, "memory": {"images": 40},
}  # fmt: skip
CONFIGS: dict[str, dict[str, Any]] = {
    "fusion": {
        "sources": [{"data": "digits-sample", "classes": [0, 1]}, {"data": "digits-sample", "classes": [2, 3]}],
        "train_per_class": 40, "validation_per_class": 10, "test_per_class": 20, "epochs_layer_1": 4,
        "epochs_layer_2": 4, "epochs_decision": 6, "consolidation": {"epochs": 3},
    },
    "decay": {
        "data": "digits-sample", "unknown": [9], "train_per_class": 300, "validation_per_class": 20, "test_images": 40,
        "l2_tau_ms": [], "published": {"network": {"classes": [0, 1], "dt_ms": 1.0}},
        "best": {"network": {"classes": [0, 1], "neurons_per_class": 10}, "decay": {"period_images": 20}},
    },
    "replay": REPLAY,
    "local": {
        "tasks": [{"data": "digits-sample", "classes": [n, n + 1]} for n in (0, 2)],
        "ways": ["noise", "langevin", "templates"],
        "train_per_class": 40, "validation_per_class": 10, "test_per_class": 20, "epochs_layer_1": 2,
        "epochs_layer_2": 2, "epochs_decision": 4, "epochs_second": 4, "consolidation": {"epochs": 3},
        "settings": {"noise": {"epochs": 4}, "langevin": {"epochs": 2, "record_every": 20}, "templates": {"epochs": 3}},
    },
    "sweep": REPLAY,
    "study": {
        "seeds": 1, "budgets": [0, 31400],
        "networks": [
            {"name": "surrogate", "network": {"channels": [4], "steps": 4}},
            {"name": "rates", "network": {"kind": "rate-lif", "neurons_per_class": 5}},
        ],
        "methods": [{"name": "naive", "learner.method": "naive"}, {"name": "der++", "learner.method": "der++"}],
        "streams": [{"name": "pairs", "data": "digits-sample", "stream": {"groups": [[0, 1], [2, 3]]}}],
    },
}  # fmt: skip


def execute(kind: str, out: Path, *, resume: bool) -> None:
    """Run an experiment, or a sweep of two seeds side by side."""
    if kind != "sweep":
        config_file.execute(config_file.build(kind, CONFIGS[kind]), out, None, resume=resume)
        return
    file = out.parent / "sweep.yaml"
    if not file.exists():
        file.write_text(yaml.safe_dump({"experiment": "replay", **CONFIGS[kind]}), encoding="utf-8")
    sweep(file, [], 2, out, None, resume=resume, jobs=2)


class Killed:
    """A process that has everything in its memory, and begins an experiment when told to."""

    def __init__(self, kind: str, out: Path) -> None:
        command = [sys.executable, __file__, kind, "0", "--child", str(out)]
        self.process = subprocess.Popen(
            command,
            env={**os.environ, "SPIKELORE_QUIET": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def after(self, seconds: float) -> bool:
        """Let it begin, kill it after so many seconds, and return whether it had not ended by itself."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "begun\n"
        time.sleep(seconds)
        alive = self.process.poll() is None
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate()
        return alive

    def whole(self) -> float:
        """Let it run to the end and return the seconds that took."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"
        began = time.monotonic()
        self.process.communicate("go\n")
        assert self.process.returncode == 0
        return time.monotonic() - began


def _serve(kind: str, out: Path) -> None:
    config_file.check(config_file.build("replay" if kind == "sweep" else kind, CONFIGS[kind]), None)  # imports most
    print("ready", flush=True)
    sys.stdin.readline()
    print("begun", flush=True)
    execute(kind, out, resume=False)
    sys.stdout.close()


def points(kind: str, count: int, seed: int, folder: Path) -> list[str]:
    """Kill an experiment ``count`` times; return what differed, for each point a text that is empty if nothing did."""
    (folder / "first").mkdir()
    execute(kind, folder / "first" / "run", resume=False)  # what is compiled once is compiled now
    (folder / "whole").mkdir()
    seconds = Killed(kind, folder / "whole" / "run").whole()
    whole, draw = left(folder / "whole" / "run"), random.Random(f"{kind} {seed}")
    told = []
    for number in range(count):
        home = folder / str(number)
        home.mkdir()
        moment = draw.uniform(0, seconds)
        stopped = Killed(kind, home / "run").after(moment)
        kept = sorted(left(home / "run")) if (home / "run").exists() else []
        execute(kind, home / "run", resume=True)
        found = left(home / "run")
        wrong = sorted(name for name in {*found, *whole} if found.get(name) != whole.get(name))
        print(
            f"{kind} {number}: killed at {moment:.2f} of {seconds:.2f} s{'' if stopped else ' (it had ended)'}, with "
            f"{len(kept)} files; {'other: ' + ', '.join(wrong) if wrong else 'the same bytes'}",
            flush=True,
        )
        told.append(", ".join(wrong))
        shutil.rmtree(home)
    return told


def main() -> int:
    """Run it; 1 if anything differed."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("experiment", choices=[*CONFIGS])
    options.add_argument("count", type=int)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    given = options.parse_args()
    os.environ["SPIKELORE_QUIET"] = "1"
    if given.child:
        _serve(given.experiment, given.child)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        told = points(given.experiment, given.count, given.seed, Path(folder))
    print(f"{given.experiment}, seed {given.seed}: {len(told)} kills, {sum(map(bool, told))} ended in other bytes")
    return int(any(told))


if __name__ == "__main__":
    sys.exit(main())
