import numpy as np
import pytest
from scipy import stats

from spikelore.coding.poisson import level_probabilities, poisson_spikes, stream_key
from spikelore.errors import InputError
from spikelore.kernels.lif_network.spike_trains import mix


def test_mix_is_splitmix64():
    # The generator's published outputs for the seed 1234567: mix of the seed plus 1, 2, 3 golden gammas.
    gamma = 0x9E3779B97F4A7C15
    outputs = [mix(1234567 + k * gamma) for k in (1, 2, 3)]
    assert outputs == [6457827717110365317, 3203168211198807973, 9817491932198370423]


def test_rates_and_gaps_are_those_of_a_bernoulli_process():
    p, steps = 0.02, 200_000
    trains = poisson_spikes(np.array([p, p]), steps, stream_key(3, 0, 5))
    when = np.repeat(np.arange(steps), np.diff(trains.starts))
    times = [when[trains.inputs == i] for i in range(2)]
    for spikes in times:
        assert abs(len(spikes) - p * steps) < 4 * np.sqrt(p * (1 - p) * steps)
        gaps = np.diff(spikes)
        assert gaps.min() == 1
        observed = np.bincount(np.minimum(gaps, 200), minlength=201)[1:]
        expected = len(gaps) * np.append(stats.geom.pmf(np.arange(1, 200), p), stats.geom.sf(199, p))
        assert stats.chisquare(observed, expected * observed.sum() / expected.sum()).pvalue > 1e-3
    assert abs(np.corrcoef(*(np.bincount(spikes, minlength=steps) for spikes in times))[0, 1]) < 0.01


def test_events_are_sorted_and_ascending_inside_a_step():
    trains = poisson_spikes(np.full(50, 0.3), 40, stream_key(0, 0, 0))
    assert trains.starts[0] == 0
    assert trains.starts[-1] == len(trains.inputs) > 400
    for a, b in zip(trains.starts[:-1], trains.starts[1:], strict=True):
        assert (np.diff(trains.inputs[a:b]) > 0).all()


def test_streams_repeat_and_differ():
    p = np.full(10, 0.1)
    one, same, other = (poisson_spikes(p, 100, stream_key(0, 1, image)) for image in (4, 4, 5))
    assert np.array_equal(one.inputs, same.inputs)
    assert not np.array_equal(one.inputs, other.inputs)
    keys = {stream_key(s, t, i) for s in range(5) for t in range(5) for i in range(40)}
    assert len(keys) == 1000


def test_certain_and_impossible_inputs():
    trains = poisson_spikes(np.array([1.0, 0.0]), 7, stream_key(0, 0, 0))
    assert trains.inputs.tolist() == [0] * 7
    assert trains.starts.tolist() == list(range(8))


def test_level_probabilities():
    p = level_probabilities(0.25, 0.1)
    assert p.shape == (256,)
    assert p[0] == 0
    assert p[255] == pytest.approx(0.006375)


@pytest.mark.parametrize("rate", [-0.1, float("nan"), float("inf")])
def test_a_rate_is_a_number_of_0_or_more(rate):
    with pytest.raises(InputError, match="rate_hz_per_level"):
        level_probabilities(rate, 0.1)


def test_more_than_one_spike_a_step_is_refused():
    with pytest.raises(InputError, match="more than one spike a step"):
        level_probabilities(0.25, 20.0)


def test_a_probability_is_0_to_1():
    for bad in (-0.1, 1.1, float("nan")):
        with pytest.raises(InputError, match="probability"):
            poisson_spikes(np.array([0.5, bad]), 10, 0)
