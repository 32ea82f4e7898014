"""The process in which one library works; started by file name in that library's environment, see `process`.

It loads a module of ``programs`` and the case's files, then answers orders, one JSON object a line, that name a work:
its results are written to the order's ``file``; without one, its seconds are told.
"""

import json
import os
import sys
import time
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import numpy as np

_LEAST_SECONDS = 0.2


def _seconds(action) -> float:
    """Return the mean duration of as many calls as take a fifth of a second, one at least.

    A library that tells the seconds of the work alone, without what it prepares, is believed.
    """
    spent, calls = 0.0, 0
    while spent < _LEAST_SECONDS:
        begun = time.perf_counter()
        results = action()
        spent += float(results.get("seconds", time.perf_counter() - begun))
        calls += 1
    return spent / calls


def _program(name: str):
    """Import a module of ``programs`` without a search path that holds anything else of Spikelore's."""
    place = Path(__file__).parent / "programs"
    package = ModuleType(place.name)
    package.__path__ = [str(place)]
    sys.modules[place.name] = package
    return import_module(f"{place.name}.{name}")


def main() -> None:
    """Serve until standard input ends."""
    name, folder = sys.argv[1], Path(sys.argv[2])
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints is no reply

    def reply(**message) -> None:
        print(json.dumps(message), file=replies, flush=True)

    try:
        program = _program(name)
        case = json.loads((folder / "case.json").read_text(encoding="utf-8"))
        with np.load(folder / "arrays.npz") as file:
            arrays = dict(file)
        actions = program.prepare(case["name"], arrays, case["settings"])
        reply(actions=list(actions), versions={package: version(package) for package in program.PACKAGES})
        for line in sys.stdin:
            order = json.loads(line)
            action = actions[order["action"]]
            if "file" in order:
                np.savez(order["file"], **action())
                reply(saved=True)
            else:
                reply(seconds=_seconds(action))
    except Exception as error:
        reply(error=f"{type(error).__name__}: {' '.join(str(error).split())}")
        raise


if __name__ == "__main__":
    main()
