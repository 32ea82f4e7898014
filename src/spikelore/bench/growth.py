"""How time and memory grow with the size of the work, beside what the work allows.

Each kind of network does its works of `spikelore.bench.works` at growing sizes, in a process of its own for each axis.
Time is that of the processor, on one core; against cores it is that of the clock. Memory is what the network, its
inputs and the work take together, by the peak of the process. Run as a module, ``... KIND AXIS CORES``, it prints the
points of one such process.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikelore.bench import memory, works
from spikelore.bench.digits import digits

_REPEATS = 2
_SIDE = 28


@dataclass(frozen=True, eq=False)
class Axis:
    """Something that grows.

    Attributes:
        name: what it is: a parameter of `inputs` or of makers of `spikelore.bench.works`, or ``cores``.
        sizes: values that are measured.
        allowed: exponents of the size that the work allows for time and for memory.
        kinds: networks that have it.
        fixed: other sizes.
    """

    name: str
    sizes: tuple[int, ...]
    allowed: tuple[float, float]
    kinds: tuple[str, ...]
    fixed: Mapping[str, int]


_IMAGES = ("first-spike", "rate-lif", "surrogate")
AXES = {
    axis.name: axis
    for axis in (
        Axis("images", (64, 256, 1024), (1, 1), _IMAGES, {}),
        Axis("side", (28, 56, 112), (2, 2), _IMAGES, {"images": 64, "taught": 200}),
        Axis("units", (200, 800, 3200), (1, 1), ("first-spike",), {"images": 64}),
        Axis("neurons", (200, 800, 3200), (2, 2), ("rate-lif",), {"images": 16}),
        Axis("classes", (2, 10, 50), (0, 0), _IMAGES, {"images": 128, "neurons": 200}),
        Axis("steps", (15, 60, 240), (1, 1), ("surrogate", "recurrent"), {"images": 64}),
        Axis("cores", (1, 2), (0, 0), (*_IMAGES, "recurrent"), {"images": 512}),
    )
}
"""What grows. Time and memory may grow in proportion to most of it, and to the pixels of an image. Each neuron of a
rate-coded network inhibits every other. Classes share the units that there are. More cores do no more work."""


@cache
def _digits() -> NDArray[np.uint8]:
    return digits(1024, seed=0).inputs


def inputs(images: int = 256, side: int = _SIDE, classes: int = 10) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return images (N,side,side) that are tiled with digits, and labels of so many classes in turn."""
    tiles = side // _SIDE
    shown = np.resize(_digits(), (images, _SIDE, _SIDE))
    return np.tile(shown, (1, tiles, tiles)), np.arange(images) % classes


def made(kind: str, axis: Axis, size: int, **others: int) -> Mapping[str, works.Work]:
    """Return the works of a kind of network at a size of an axis; ``others`` are sizes in place of those fixed."""
    sizes = {**axis.fixed, **others, axis.name: size}
    make = works.MAKERS[kind]
    own = {name: sizes[name] for name in make.__kwdefaults__ or {} if name in sizes}
    return make(*inputs(**{name: sizes[name] for name in ("images", "side", "classes") if name in sizes}), **own)


def exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
    """Return e of values ~ size^e, by least squares of the logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def measure(axis: Axis) -> Iterator[dict[str, Any]]:
    """Measure the works of an axis; yield ``axis``, ``work``, ``size``, ``seconds`` and ``bytes`` of each."""
    for kind in axis.kinds:
        for cores in axis.sizes if axis.name == "cores" else (1,):
            threads = dict.fromkeys(("OMP_NUM_THREADS", "NUMBA_NUM_THREADS"), str(cores))
            command = [sys.executable, "-m", __name__, kind, axis.name, str(cores)]
            done = subprocess.run(command, env={**os.environ, **threads}, check=True, stdout=subprocess.PIPE, text=True)
            yield from json.loads(done.stdout)


def points(kind: str, axis: Axis, sizes: Sequence[int]) -> list[dict[str, Any]]:
    """Return the points of a kind of network at sizes of an axis, measured in this process."""
    clock = time.perf_counter if axis.name == "cores" else time.process_time
    for work in made(kind, axis, axis.sizes[0], images=16).values():
        work()  # compiles
    found, before = [], memory.held() if memory.told() else 0
    for size in sizes:
        for name, work in made(kind, axis, size).items():
            taken = memory.peak(work) - before if memory.told() else work()
            spent = works.best_seconds(work, _REPEATS, clock)
            row = {"axis": axis.name, "work": f"{kind} {name}", "size": size}
            found.append({**row, "seconds": spent, "bytes": taken if memory.told() else None})
    return found


if __name__ == "__main__":
    network, along, cores = sys.argv[1:]
    chosen = AXES[along]
    print(json.dumps(points(network, chosen, [int(cores)] if along == "cores" else chosen.sizes)))
