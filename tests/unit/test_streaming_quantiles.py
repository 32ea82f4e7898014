"""Quantiles of a stream against those of all of it."""

import numpy as np
import pytest

from spikelore.errors import InputError
from spikelore.learning.langevin import shown_weights
from spikelore.metrics.streaming_quantiles import StreamingQuantiles

SHARES = (0.1, 0.5, 0.9)
RNG = np.random.default_rng(0)
WALK = np.clip(0.5 + np.cumsum(RNG.normal(0, 0.02, (600, 4, 25)), axis=0), 0.2, 0.8).astype(np.float32)


@pytest.mark.parametrize("backend", ["numba_cpu", "reference"])
@pytest.mark.parametrize("count", [1, 7, 10, 600])
def test_quantiles_are_those_of_all_values_to_half_a_level(backend, count):
    """Values that wander slowly and stand at their bounds, as weights do."""
    found = StreamingQuantiles((4, 25), 0.2, 0.8, backend=backend)
    for values in WALK[:count]:
        found.add(values)
    exact = np.quantile(WALK[:count], SHARES, axis=0, method="inverted_cdf")
    assert found.values(SHARES).shape == (3, 4, 25)
    assert found.values(SHARES).dtype == np.float32
    np.testing.assert_allclose(found.values(SHARES), exact, atol=0.0050001, rtol=0)
    at_a_bound = (exact == np.float32(0.2)) | (exact == np.float32(0.8))
    assert at_a_bound.any() == (count == 600)
    np.testing.assert_array_equal(found.values(SHARES)[at_a_bound], exact[at_a_bound])


def test_a_stream_goes_on_from_its_state():
    whole, first, then = (StreamingQuantiles((4, 25), 0.2, 0.8) for _ in range(3))
    for values in WALK[:20]:
        whole.add(values)
    for values in WALK[:8]:
        first.add(values)
    then.load_state_dict(first.state_dict())
    for values in WALK[8:20]:
        then.add(values)
    assert then.count == 20
    np.testing.assert_array_equal(then.values(SHARES), whole.values(SHARES))


def test_what_cannot_be_is_refused():
    with pytest.raises(InputError, match="quantiles of no records are asked for, expected at least one record"):
        StreamingQuantiles((2,), 0, 1).values(SHARES)
    with pytest.raises(InputError, match="upper is 0, expected above lower, which is 1"):
        StreamingQuantiles((2,), 1, 0)
    with pytest.raises(InputError, match="count is 1, expected a whole number of 2 or more"):
        StreamingQuantiles((2,), 0, 1, count=1)
    found = StreamingQuantiles((2,), 0, 1)
    with pytest.raises(InputError, match=r"the array has shape \(3,\), expected \(2,\)"):
        found.add(np.zeros(3))
    found.add(np.zeros(2))
    with pytest.raises(InputError, match=r"shares are \[1.5\], expected numbers from 0 to 1"):
        found.values((1.5,))


def test_counts_say_how_often_an_element_was_at_each_level():
    found = StreamingQuantiles((2, 2), 0.0, 1.0, count=3)
    for value in (0.0, 0.4, 0.6, 0.9):
        found.add(np.array([[value, 0], [1, 0.5]]))
    np.testing.assert_array_equal(found.counts([0, 2]), [[1, 2, 1], [0, 0, 4]])


def test_a_narrow_a_typical_and_a_wide_weight_are_shown():
    """Of 101 weights the n-th wanders over n / 2 levels."""
    found = StreamingQuantiles((101,), 0.0, 1.0, count=101)
    for share in np.linspace(0, 1, 41):
        found.add(share * np.arange(101) / 200)
    kept = shown_weights(found)
    lowest, middle, highest = found.values((0.1, 0.5, 0.9))
    np.testing.assert_allclose(kept["deciles"], np.stack([lowest, middle, highest], axis=1)[[1, 50, 99]])
    np.testing.assert_array_equal(kept["counts"].sum(axis=1), 3 * [41])
    assert (kept["counts"] > 0).sum(axis=1).tolist() == [1, 26, 41]
    assert kept["widths"].sum() == 101
    assert np.flatnonzero(kept["widths"])[[0, -1]].tolist() == [0, 40]
