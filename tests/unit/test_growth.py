"""Nothing takes more time or memory than its size allows.

Time is that of the processor and the best of some, so that a busy machine changes it little. The larger size may take
three times what the smaller one and the allowed exponent tell; of work that grows with another power it takes more.
"""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from spikelore.bench import growth, works
from spikelore.bench.growth import AXES, exponent, made, points

SLACK = 3
BORDERS = 0.65
"""Convolutions without padding: at 112 pixels the surrogate network's second layer has 39 times the places of 28."""
LEAST_BYTES = 16 << 20
"""What the allocators of a process take besides."""

SMALL = {
    "images": ((8, 64), {"taught": 20}),
    "side": ((28, 112), {"images": 2, "taught": 20}),
    "units": ((50, 800), {"images": 10, "taught": 10}),
    "neurons": ((50, 800), {"images": 2}),
    "classes": ((2, 20), {"images": 20, "neurons": 100, "taught": 20}),
    "steps": ((15, 240), {"images": 8}),
}


def small(name):
    sizes, fixed = SMALL[name]
    return replace(AXES[name], sizes=sizes, fixed=fixed)


def test_every_axis_is_guarded_but_the_cores():
    assert {*SMALL, "cores"} == {*AXES}


@pytest.mark.parametrize(("name", "kind"), [(name, kind) for name in SMALL for kind in AXES[name].kinds])
def test_nothing_grows_faster_than_its_work(name, kind):
    axis = small(name)
    larger = axis.sizes[1] / axis.sizes[0]
    time, memory = (larger ** (each + BORDERS * ((name, kind) == ("side", "surrogate"))) for each in axis.allowed)
    found = points(kind, axis, axis.sizes)
    half = len(found) // 2
    for first, last in zip(found[:half], found[half:], strict=True):
        assert first["work"] == last["work"]
        assert last["seconds"] < SLACK * time * first["seconds"], (first, last)
        if first["bytes"] is not None:
            assert last["bytes"] < SLACK * memory * max(first["bytes"], LEAST_BYTES), (first, last)


@pytest.mark.parametrize(("name", "kind"), [("images", "first-spike"), ("neurons", "rate-lif")])
def test_arrays_grow_no_faster_than_the_work(name, kind):
    axis, peaks = small(name), {}
    for size in axis.sizes:
        for work, does in made(kind, axis, size).items():
            tracemalloc.start()
            does()
            peaks.setdefault(work, []).append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
    for work, found in peaks.items():
        assert exponent(axis.sizes, found) < axis.allowed[1] + 0.1, (work, found)


def test_points_have_the_time_and_memory_of_their_work(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(growth.time, "process_time", lambda: now[0])

    def make(images, labels):
        def work():
            now[0] += len(images) ** 2
            return [np.ones(len(images) << 16)]  # 512 KiB each, beside which the process' own is little

        return {"square": work}

    monkeypatch.setitem(works.MAKERS, "fake", make)
    found = points("fake", AXES["images"], (64, 128, 256))
    assert [each["seconds"] for each in found] == [64**2, 128**2, 256**2]
    assert exponent((64, 128, 256), [each["seconds"] for each in found]) == pytest.approx(2)
    if found[0]["bytes"] is not None:
        assert exponent((64, 128, 256), [each["bytes"] for each in found]) == pytest.approx(1, abs=0.3)


def test_images_are_tiled_and_have_so_many_classes():
    images, labels = growth.inputs(images=6, side=56, classes=4)
    assert images.shape == (6, 56, 56)
    assert (images[:, :28, :28] == images[:, 28:, 28:]).all()
    assert labels.tolist() == [0, 1, 2, 3, 0, 1]
