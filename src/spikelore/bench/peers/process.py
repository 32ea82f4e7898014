"""A library at work in a process of its own: `worker` on the other side of two pipes."""

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from threading import Timer
from typing import Any, Self

import numpy as np

from spikelore.errors import SpikeloreError

_WORKER = Path(__file__).with_name("worker.py")
_SECONDS = 900.0
"""After which an answer is no longer waited for."""


class Process:
    """One program with one case, ready for orders; ends with the ``with`` block.

    Args:
        python: interpreter of the program's environment.
        program: module of `spikelore.bench.peers.programs`.
        folder: with the case's ``case.json`` and ``arrays.npz``.
        threads: that it may use.
        variables: further ones of its environment.

    Attributes:
        actions: names of the works that it can do.
        versions: of the packages that decide its speed.

    Raises:
        SpikeloreError: it cannot be prepared; says why. So do the other methods.
    """

    def __init__(
        self, python: str, program: str, folder: Path, threads: int, variables: Mapping[str, str] | None = None
    ) -> None:
        count = str(threads)
        limits = {f"{name}_NUM_THREADS": count for name in ("OMP", "MKL", "OPENBLAS", "NUMBA")}
        self._child = subprocess.Popen(
            [python, "-P", str(_WORKER), program, str(folder)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=folder,
            env={**os.environ, **limits, **(variables or {})},
        )  # fmt: skip
        self._program, self._folder = program, folder
        ready = self._reply()
        self.actions: list[str] = ready["actions"]
        self.versions: dict[str, str] = ready["versions"]

    def answer(self, action: str) -> dict[str, np.ndarray]:
        """Return the arrays that a work results in."""
        file = self._folder / f"{self._program}.npz"
        self._order(action=action, file=str(file))
        with np.load(file) as arrays:
            return dict(arrays)

    def seconds(self, action: str) -> float:
        """Return how long a work takes."""
        return self._order(action=action)["seconds"]

    def _order(self, **order: str) -> dict[str, Any]:
        assert self._child.stdin
        try:
            print(json.dumps(order), file=self._child.stdin, flush=True)
        except BrokenPipeError:
            raise SpikeloreError(f"{self._program} has ended") from None
        return self._reply()

    def _reply(self) -> dict[str, Any]:
        assert self._child.stdout
        late = Timer(_SECONDS, self._child.kill)
        late.start()
        try:
            line = self._child.stdout.readline()
        finally:
            late.cancel()
        if not line:
            raise SpikeloreError(f"{self._program} ended with code {self._child.wait()} and gave no answer")
        reply = json.loads(line)
        if "error" in reply:
            raise SpikeloreError(reply["error"])
        return reply

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._child.kill()
        self._child.communicate()
