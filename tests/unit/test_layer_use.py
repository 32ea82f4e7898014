import itertools
from dataclasses import replace

import numpy as np
import pytest

from spikelore.continual.unused_decay import OnlineDecay, decay_unused_
from spikelore.data import load
from spikelore.errors import InputError
from spikelore.networks.first_spike import FirstSpikeConfig, FirstSpikeNetwork
from spikelore.networks.layer_use import LayerUse


def loops(spiked, kernel, padding, image_ms, stride=1):
    """The definition: for each neuron, for each of its synapses, is there a spike at the other end."""
    count, channels, height, width = spiked.shape
    last = np.zeros((1, channels, kernel, kernel))
    for n, c, y, x in np.ndindex(count, channels, kernel, kernel):
        for row in range(0, height + 2 * padding - kernel + 1, stride):
            for column in range(0, width + 2 * padding - kernel + 1, stride):
                r, s = row + y - padding, column + x - padding
                if 0 <= r < height and 0 <= s < width and spiked[n, c, r, s]:
                    last[0, c, y, x] = (n + 1) * image_ms
    return last


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize(
    ("height", "width", "kernel", "padding"), [(4, 4, 5, 2), (6, 5, 3, 1), (5, 7, 2, 0), (3, 3, 3, 0)]
)
def test_last_spikes_equal_the_definition_however_images_are_divided(height, width, kernel, padding, stride):
    spiked = np.random.default_rng(1).random((9, 4, height, width)) < 0.04
    spiked[:, 2] = False
    spiked[:, 3, 1:, 1:] = False
    expected = loops(spiked, kernel, padding, 200.0, stride)
    assert 0 < (expected > 0).mean() < 1
    for cuts in ((0, 9), (0, 1, 4, 9)):
        use = LayerUse(np.ones((2, 4, kernel, kernel), np.float32), padding=padding, stride=stride, image_ms=200.0)
        for start, stop in itertools.pairwise(cuts):
            use.show_(spiked[start:stop])
        assert use.now_ms == 1800.0
        np.testing.assert_array_equal(use.last_presynaptic_spike_ms, expected)


def test_refusals():
    with pytest.raises(InputError, match="image_ms is 0"):
        LayerUse(np.ones((1, 2, 3, 3), np.float32), padding=1, image_ms=0.0)
    use = LayerUse(np.ones((1, 2, 3, 3), np.float32), padding=1)
    with pytest.raises(InputError, match="expected \\(images, 2,"):
        use.show_(np.zeros((1, 3, 4, 4), np.bool_))


@pytest.fixture(scope="module")
def network():
    untrained = FirstSpikeNetwork.create(FirstSpikeConfig(), (0, 1), 0)
    half = untrained.weights_2.copy()
    half[::2] = 0  # these features never fire
    return replace(untrained, weights_2=half)


@pytest.mark.parametrize("layer", ["layer 1", "layer 2", "decision"])
def test_decay_takes_from_a_first_spike_network_what_no_image_used(network, layer):
    images = load("digits-sample").train.of_classes((0, 1)).inputs[:40]
    used = network.copy()
    used.use_(images)
    use, before = used.synapses()[layer], network.synapses()[layer].weights
    unused = use.last_presynaptic_spike_ms == 0
    assert use.now_ms == 20000
    assert not unused.all()
    decay_unused_(use, tau_prune_ms=5000.0)
    idle = np.broadcast_to(20000 - use.last_presynaptic_spike_ms, before.shape)
    np.testing.assert_allclose(use.weights, before * np.exp(-((idle / 5000) ** 2)), rtol=1e-6)
    if layer == "decision":
        assert unused.any()
        assert use.weights[np.broadcast_to(unused, before.shape)].max() < 1e-6
    assert not np.shares_memory(use.weights, before)


def test_online_decay_works_on_it():
    spiked = np.zeros((1, 2, 3, 3), np.bool_)
    spiked[0, 0, 1, 1] = True
    use = LayerUse(np.full((1, 2, 1, 1), 0.5, np.float32), padding=0, image_ms=500.0)
    decay = OnlineDecay(tau_prune_ms=2000.0, period_ms=1000.0)
    for _ in range(4):
        use.show_(spiked)
        decay.tick_(use)
    np.testing.assert_allclose(use.weights.ravel(), [0.5, 0.5 * np.exp(-1)], rtol=1e-6)
