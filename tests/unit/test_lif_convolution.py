import numpy as np
import pytest

from spikelore.errors import InputError
from spikelore.kernels import lif_convolution
from spikelore.kernels.lif_scan import Leaky


def both_ways(currents, weights, pool, *, bias=None, steps=2):
    """Return pooled currents and gradients of both backends; sums are exact, so they must be equal."""
    bias = np.zeros(len(weights), np.float32) if bias is None else bias
    answers = []
    for backend in ("numba_cpu", "reference"):
        pooled, winners = lif_convolution.forward(
            currents, weights, bias, None, steps=steps, pool=pool, backend=backend
        )
        gradients = (np.arange(pooled.size, dtype=np.float32) % 7 - 3).reshape(pooled.shape)
        answers.append(
            (pooled, winners, *lif_convolution.backward(
                gradients, winners, currents, weights, None, pool=pool, backend=backend
            ))
        )  # fmt: skip
    for found, expected in zip(*answers, strict=True):
        assert np.array_equal(found, expected)
    return answers[0]


def spikes(*shape):
    return (np.random.default_rng(0).random(shape) < 0.3).astype(np.float32)


def whole(*shape):
    return np.random.default_rng(1).integers(-8, 9, shape).astype(np.float32)


@pytest.mark.parametrize(
    ("currents", "weights", "pool"),
    [
        ((1, 2, 18, 17, 2), (3, 2, 2, 2), 16),
        ((2, 1, 4, 4, 3), (257, 3, 2, 2), 3),
        ((2, 17, 3, 3, 2), (5, 2, 3, 3), 1),
        ((2, 1, 1, 1, 65536), (2, 65536, 1, 1), 1),
        ((1, 1, 1, 1, 2), (65536, 2, 1, 1), 1),
    ],
)
def test_sizes_at_the_limits(currents, weights, pool):
    both_ways(spikes(*currents), whole(*weights), pool)


def test_the_last_place_of_the_largest_pool_wins():
    currents = np.zeros((1, 1, 16, 16, 1), np.float32)
    currents[0, 0, 15, 15] = 1
    pooled, winners, sent, _, _ = both_ways(currents, np.ones((1, 1, 1, 1), np.float32), 16, steps=1)
    assert pooled.item() == 1
    assert winners.item() == 255
    assert np.argwhere(sent).tolist() == [[0, 0, 15, 15, 0]]


def test_a_bias_of_another_type_is_added_as_a_number():
    for side in (1, 3):
        bias = np.array([0.5, -2.0])
        pooled, *_ = both_ways(spikes(2, 1, side, side, 4), np.zeros((2, 4, 1, 1), np.float32), 1, bias=bias)
        assert np.array_equal(pooled, np.broadcast_to(bias, pooled.shape))


@pytest.mark.parametrize(
    ("currents", "weights", "pool", "message"),
    [
        ((1, 1, 70000, 1, 1), (1, 1, 1, 1), 1, "70000 x 1 x 1 inputs; at most 65536"),
        ((1, 1, 1, 1, 1), (65537, 1, 1, 1), 1, "65537 features"),
        ((1, 1, 17, 17, 1), (1, 1, 1, 1), 17, "side 17; at most 16"),
        ((1, 1, 4, 3, 1), (1, 1, 4, 4), 1, "4 x 3 is too small for a kernel of side 4"),
        ((1, 1, 4, 4, 1), (1, 1, 3, 3), 3, "pooling 3"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(currents, weights, pool, message):
    arrays = np.zeros(currents, np.float32), np.zeros(weights, np.float32)
    nothing = np.zeros((1, 1, 1, 1, weights[0]), np.float32)
    with pytest.raises(InputError, match=message):
        lif_convolution.forward(*arrays, nothing[0, 0, 0, 0], Leaky(), steps=1, pool=pool)
    with pytest.raises(InputError, match=message):
        lif_convolution.backward(nothing, nothing.astype(np.uint8), *arrays, Leaky(), pool=pool)
