"""The process in which one library works; started by file name in that library's environment, see `process`.

It loads a module of ``programs`` and the case's files, then answers orders, one JSON object a line. Each action is named
once as a result (``answer``, with the file for its arrays) before it is timed (``time``).
"""

import importlib.util
import json
import os
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np

_LEAST_SECONDS = 0.2


def _seconds(action) -> float:
    """Return the mean duration of as many calls as take a fifth of a second, one at least; by its own clock if it has one."""
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
    spec = importlib.util.spec_from_file_location("programs", place / "__init__.py", submodule_search_locations=[str(place)])
    package = importlib.util.module_from_spec(spec)
    sys.modules["programs"] = package
    spec.loader.exec_module(package)
    return importlib.import_module(f"programs.{name}")


def main() -> None:
    """Serve until standard input ends."""
    name, folder = sys.argv[1], Path(sys.argv[2])
    replies = os.fdopen(os.dup(1), "w")
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
