import numpy as np
import torch

from spikelore.kernels import memory


def address(array):
    return array.__array_interface__["data"][0]


def test_arrays_begin_a_cache_line_and_are_contiguous():
    for shape in ((), (0,), (1,), (3, 5, 7), (1000, 17)):
        for dtype in (np.float32, np.uint8):
            array = memory.empty(shape, dtype)
            assert (array.shape, array.dtype) == (shape, np.dtype(dtype))
            assert array.flags.c_contiguous
            assert array.flags.writeable
            assert address(array) % 64 == 0


def test_memory_is_used_again_once_the_last_view_is_gone():
    first = memory.empty((1234, 567))
    place = address(first)
    view = torch.from_numpy(first)[10:]
    view.fill_(7)
    del first
    assert address(memory.empty((1234, 567))) != place
    assert (view == 7).all()
    del view
    again = memory.zeros((1230, 567))  # about the same size
    assert address(again) == place
    assert not again.any()


def test_no_more_is_kept_than_the_limit(monkeypatch):
    monkeypatch.setattr(memory._Block.__del__, "__defaults__", (memory._kept, memory._lock, 0))
    held = sum(size * len(blocks) for size, blocks in memory._kept.items())
    array = memory.empty((4321, 987))
    del array
    assert sum(size * len(blocks) for size, blocks in memory._kept.items()) <= held
