"""How far weights moved, by their size before."""

import numpy as np
import pytest

from spikelore.errors import InputError
from spikelore.metrics.weight_moves import by_size


def test_each_tenth_has_its_own_weights():
    before = np.linspace(0.2, 0.8, 100, dtype=np.float32)[::-1].reshape(4, 25)
    after = before.copy()
    after.flat[:10] -= 0.3  # the largest tenth
    after.flat[95:] += 0.005  # half of the smallest, by less than counts
    after.flat[90] += 0.02
    found = by_size(before, after)
    np.testing.assert_allclose(found["stayed"], [0.9, *8 * [1], 0])
    np.testing.assert_allclose(found["moved"], [(5 * 0.005 + 0.02) / 10, *8 * [0], 0.3], atol=1e-6)


def test_of_equal_weights_the_first_are_the_largest_as_in_the_way_that_freezes_them():
    before = np.full(20, 0.5, np.float32)
    after = before.copy()
    after[2:] += 0.1
    np.testing.assert_array_equal(by_size(before, after)["stayed"], [*9 * [0], 1])


@pytest.mark.parametrize("shape", [(9,), (20,)])
def test_weights_that_cannot_be_compared_are_refused(shape):
    with pytest.raises(InputError, match="expected the same ten or more"):
        by_size(np.zeros(9 if shape == (9,) else 10, np.float32), np.zeros(shape, np.float32))
