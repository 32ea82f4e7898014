"""The published training of a first-spike network, part after part."""

import tracemalloc

import numpy as np
import pytest

from spikelore.data import load, split
from spikelore.errors import InputError
from spikelore.learning.first_spike_training import (
    DecisionTraining,
    FeatureExamples,
    consolidation,
    layer_training,
    learn_features,
)
from spikelore.learning.template_stdp import TemplateStdpConfig, consolidate
from spikelore.networks.first_spike import DecisionLayerConfig, FirstSpikeConfig, FirstSpikeNetwork

CONFIG = FirstSpikeConfig(decision=DecisionLayerConfig(features=20))


@pytest.fixture(scope="module")
def drawn():
    return split(
        load("digits-sample"), train_per_class=20, validation_per_class=10, test_per_class=5, classes=(0, 1), seed=0
    )


@pytest.fixture(scope="module")
def network(drawn):
    return learn_features(FirstSpikeNetwork.create(CONFIG, (0, 1), seed=0), drawn.train.inputs, epochs=(4, 8))


@pytest.fixture(scope="module")
def parts(drawn, network):
    """What makes each part anew."""
    train, held_out = FeatureExamples.of(network, drawn.train), FeatureExamples.of(network, drawn.validation)
    templates = TemplateStdpConfig(epochs=4)
    return {
        "layer 1": lambda: layer_training(network, 1, drawn.train.inputs, 3),
        "layer 2": lambda: layer_training(network, 2, drawn.train.inputs, 3),
        "decision": lambda: DecisionTraining(network, train, 5, asked={"validation": held_out, "again": train}),
        "templates": lambda: consolidation(network, train, templates, seed=3),
    }


def test_what_a_part_takes_grows_with_its_own_inputs_alone(drawn, network):
    """Not with the waves that these are made of, which are larger, nor with a second copy."""
    images = np.resize(drawn.train.inputs, (4096, *drawn.train.inputs.shape[1:]))
    half = drawn.train.inputs[:2]
    wave_1, wave_2 = (network.layer_inputs(layer, half).nbytes / 2 for layer in (1, 2))
    np.testing.assert_array_equal(network.layer_inputs(2, half), network.layer_1_bins(network.encode(half)))
    for refused in (lambda: network.layer_inputs(2, half[:0]), lambda: network.features_of(half[:0])):
        with pytest.raises(InputError, match=r"^bins are int8 of shape \(0, "):
            refused()

    def growth(make):
        peaks = []
        for part in (images[:2048], images):
            tracemalloc.start()
            made = make(part)
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
        return made, (peaks[1] - peaks[0]) / 2048

    assert growth(lambda part: layer_training(network, 1, part, 1))[1] < 1.1 * wave_1
    assert growth(lambda part: layer_training(network, 2, part, 1))[1] < 1.1 * wave_2
    shown, grown = growth(network.features_of)
    assert grown < 2.2 * (shown.channels.nbytes + shown.starts.nbytes) / 4096


@pytest.mark.parametrize("name", ["layer 1", "layer 2", "decision", "templates"])
@pytest.mark.parametrize("stop", [0, 2])
def test_a_part_that_was_stopped_ends_as_one_that_was_not(parts, network, name, stop):
    before = {key: array.copy() for key, array in network.state_dict().items()}
    whole, stopped, again = (parts[name]() for _ in range(3))
    told = list(whole.steps())
    steps = stopped.steps()
    first = [next(steps) for _ in range(stop)]
    again.load_state_dict(*stopped.state_dict())
    assert first + list(again.steps()) == told
    assert again.epoch == again.epochs == len(told)
    (one, facts), (other, same) = whole.state_dict(), again.state_dict()
    assert facts == same
    for key in one:
        np.testing.assert_array_equal(one[key], other[key])
    np.testing.assert_array_equal(whole.finish().unit_weights, again.finish().unit_weights)
    assert [*again.steps()] == []
    for key, array in network.state_dict().items():
        np.testing.assert_array_equal(array, before[key])


def test_the_first_epoch_with_the_most_right_decisions_on_held_out_images_is_kept(parts):
    training = parts["decision"]()
    shares, networks = [], []
    for told in training.steps():
        assert [*told] == ["train", "silent", "validation", "again"]
        shares.append(told["validation"])
        networks.append(training.network)
    best = networks[int(np.argmax(shares))]
    assert training.finish() is best
    assert training.asked["validation"].outcome(best).right == max(shares)


def test_without_held_out_images_the_last_epoch_is_kept(parts, network):
    train = parts["decision"]().train
    training = DecisionTraining(network, train, 2)
    assert training.finish() is training.network
    templates = TemplateStdpConfig(epochs=4)
    whole = consolidate(network, train.features, train.labels, templates, seed=3)
    np.testing.assert_array_equal(consolidation(network, train, templates, 3).finish().unit_weights, whole.unit_weights)
    with pytest.raises(InputError, match="epochs is 0, expected a whole number of 1 or more"):
        DecisionTraining(network, train, 0)
