import signal
import threading

import numpy as np
import pytest
import torch

from spikelore.kernels import memory


def address(array):
    return array.__array_interface__["data"][0]


@pytest.fixture(autouse=True)
def nothing_kept():
    memory._kept.clear()
    yield
    memory._kept.clear()


def held():
    return sum(one.size for one in memory._kept)


def test_arrays_begin_a_cache_line_and_are_contiguous():
    for shape in ((), (0,), (1,), (3, 5, 7), (1000, 170)):
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
    memory._kept.clear()
    del view
    again = memory.zeros((1230, 567))  # about the same size
    assert address(again) == place
    assert not again.any()


def test_the_oldest_memory_goes_when_more_is_left_than_the_limit():
    for megabytes in range(1, 40):
        del_me = memory.empty((megabytes, 2**20), np.uint8)
        del del_me
        assert held() <= 2**26
    assert memory._kept[-1].size >= 39 * 2**20
    huge = memory.empty((65, 2**20), np.uint8)
    del huge
    assert held() == 0


def test_small_memory_is_not_kept():
    small = memory.empty((100,))
    del small
    assert held() == 0


def test_memory_that_is_not_there_is_said_once(recwarn):
    with pytest.raises(MemoryError):
        memory.empty((10**13,))
    assert not recwarn.list


def test_threads_and_signals_never_share_memory():
    calls = []

    def interrupt(*_):
        calls.append(memory.empty((300 + len(calls) % 7, 1000)).size)

    def work(number, wrong):
        for _ in range(300):
            array = memory.empty((300, 1000))
            array.fill(number)
            wrong.append(bool((array != number).any()))

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    wrong: list[bool] = []
    try:
        threads = [threading.Thread(target=work, args=(number, wrong)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert len(wrong) == 1200
    assert not any(wrong)
    assert calls
