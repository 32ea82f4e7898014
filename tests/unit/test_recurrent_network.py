"""The recurrent network: inputs, readouts, costs, time constants, ways to learn, and what it refuses."""

import numpy as np
import pytest
import torch

import spikelore as sl
from spikelore.data.events import Events
from spikelore.kernels.recurrent import Spiking
from spikelore.networks.recurrent import RecurrentNetwork
from spikelore.networks.recurrent_config import RecurrentConfig

SMALL = {"units": (12,), "hidden": (16, 10), "classes": 3, "steps": 20, "bin_ms": 5.0}


def made(learning=None, seed=0, backend="numba_cpu", **changes):
    config = RecurrentConfig.best(**{**SMALL, **changes})
    generator = torch.Generator().manual_seed(seed)
    return RecurrentNetwork(config, generator, learning=learning, backend=backend)


def drawn(count=30, seed=0):
    """Return recordings of three classes, each with its own units first and others later."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    bins = rng.random((count, 20, 12)) < 0.05
    for one, label in zip(bins, labels, strict=True):
        one[:10, 4 * label : 4 * label + 4] |= rng.random((10, 4)) < 0.6
        one[10:, (4 * label + 4) % 12 : (4 * label + 4) % 12 + 4] |= rng.random((10, 4)) < 0.6
    return bins, labels


def test_events_and_their_bins_are_the_same_input():
    network, (bins, _) = made(), drawn()
    events = Events.of_bins(bins, bin_us=5000)
    np.testing.assert_array_equal(network.class_scores(events), network.class_scores(bins))
    later = Events.of_recordings([(np.append(np.arange(20) * 5000, 10**6), np.zeros(21, int))], (12,))
    assert network.spikes_of(later).shape == (1, 20, 12)
    assert network.spikes_of(later).sum() == 20  # what comes after the last bin is dropped


def test_scores_do_not_depend_on_the_batch():
    network, (bins, _) = made(), drawn(300)
    apart = np.concatenate([network.class_scores(bins[n : n + 7]) for n in range(0, 300, 7)])
    np.testing.assert_array_equal(network.class_scores(bins), apart)
    np.testing.assert_allclose(made(backend="reference").class_scores(bins), apart, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("readout", "reduced"),
    [
        ("maximum", lambda one: one.amax(0)),
        ("mean", lambda one: one.mean(0)),
        ("last", lambda one: one[-1]),
        ("sum", lambda one: one.sum(0)),
    ],
)
def test_a_readout_is_a_number_of_the_potential_over_time(readout, reduced):
    network, (bins, _) = made(sl.GradientLearning(readout=readout)), drawn()
    with torch.no_grad():
        potentials = network(network.to_input(bins))
    assert potentials.shape == (20, 30, 3)
    np.testing.assert_allclose(network.class_scores(bins), reduced(potentials), rtol=1e-6)


def test_spiking_output_neurons_are_counted():
    network = made(sl.GradientLearning(readout="spikes"), output="spiking", neuron=Spiking(threshold=0.02))
    bins, labels = drawn()
    scores = network.class_scores(bins)
    assert scores.any()
    assert (scores == np.rint(scores)).all()
    network.learn_(bins, labels)
    with pytest.raises(sl.InputError, match=r"^the readout is 'spikes', expected maximum, mean, last or sum"):
        made(sl.GradientLearning(readout="spikes"))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"times": "fixed", "gradient": "e-prop"},
        {"times": "layer", "recurrent": (True, False)},
        {"neuron": Spiking(slope=10.0, refractory=1), "recurrent": False},
    ],
)
def test_it_learns(changes):
    network = made(sl.GradientLearning(learning_rate=5e-3, readout="mean"), **changes)
    bins, labels = drawn(60)
    before = {name: each.detach().clone() for name, each in network.named_parameters()}
    for _ in range(60):
        network.learn_(bins, labels)
    test, answers = drawn(60, seed=1)
    assert (network.predict(test) == answers).mean() > 0.9
    for name, each in network.named_parameters():
        assert torch.equal(before[name], each) != each.requires_grad, name
    learned = network.config.times != "fixed"
    assert network.times[0].log_mem.requires_grad == learned
    assert len(network.times[0].log_mem) == (16 if network.config.times == "neuron" else 1)


def test_e_prop_has_the_signs_of_backpropagation():
    bins, labels = drawn(60)
    found = []
    for gradient in ("backpropagation", "e-prop"):
        network = made(sl.GradientLearning(readout="mean"), times="fixed", gradient=gradient)
        logits = network(network.to_input(bins)).mean(0)
        torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels)).backward()
        found.append({name: each.grad for name, each in network.named_parameters() if each.requires_grad})
    exact, traced = found
    assert exact.keys() == traced.keys()
    for name in exact:
        if name.startswith("heads"):
            torch.testing.assert_close(traced[name], exact[name], rtol=1e-4, atol=1e-6)
        else:
            cosine = torch.nn.functional.cosine_similarity(traced[name].flatten(), exact[name].flatten(), 0)
            assert cosine > 0.3, (name, float(cosine))


def test_cost_counts_each_spike_and_each_synapse_that_it_reaches():
    network, (bins, _) = made(recurrent=(True, False)), drawn()
    with torch.no_grad():
        entered = network.layer_inputs(network.to_input(bins))
    into, first, own, second = (
        float(entered[name].sum()) / len(bins) for name in ("hidden.0", "hidden.1", "connections.0", "heads.0")
    )
    assert min(first, second) > 0
    cost = network.cost(bins)
    assert cost.spikes == pytest.approx(into + first + second)
    assert cost.accumulates == pytest.approx(16 * into + 16 * own + 10 * first + 3 * second)
    assert cost.multiply_accumulates == 0


def test_works_are_of_all_that_the_tally_counts():
    network, (bins, labels) = made(), drawn()
    network.learn_(bins, labels)
    works = network.works(bins, labels)
    assert set(network.tally.counts) <= set(works)
    assert works["forward 0"].accumulates > works["forward 2"].accumulates > 0
    assert sum(works[f"forward {n}"].accumulates for n in range(3)) == pytest.approx(network.cost(bins).accumulates)
    assert works["weights 1"].multiply_accumulates > 0  # errors back to the layer's own spikes
    assert network.tally.counts["weights 2"] == len(bins)


def test_a_checkpoint_is_the_network(tmp_path):
    network, (bins, labels) = made(), drawn()
    network.learn_(bins, labels)
    network.grow_((7, 8))
    network.save(tmp_path / "network.safetensors")
    again = sl.load(tmp_path / "network.safetensors")
    assert isinstance(again, RecurrentNetwork)
    assert again.classes == (0, 1, 2, 7, 8)
    assert again.config == network.config
    np.testing.assert_array_equal(again.class_scores(bins), network.class_scores(bins))
    for one in (network, again):
        one.learn_(bins, labels)
    np.testing.assert_array_equal(again.class_scores(bins), network.class_scores(bins))


def test_a_cut_at_any_layer_gives_the_same_outputs():
    (bins, _) = drawn()
    for split in range(3):
        network = made(split=split)
        with torch.no_grad():
            inputs = network.to_input(bins)
            features = network.features(inputs)
            assert features.shape == (20, 30, (12, 16, 10)[split])
            torch.testing.assert_close(network.head(features), network(inputs), rtol=0, atol=0)


def test_steps_are_made_for_nearly_all_recordings():
    bins, labels = drawn()
    task = sl.Task("all", (0, 1, 2), *(sl_examples(Events.of_bins(bins, 5000), labels) for _ in range(3)))
    network = RecurrentNetwork.for_stream(sl.Stream("class-incremental", (task,)), bin_ms=10.0, hidden=(8,))
    assert network.config.steps == 10
    assert network.input_shape == (12,)
    with pytest.raises(sl.InputError, match=r"expected recordings of spikes; choose another stream or network"):
        RecurrentNetwork.for_stream(sl.split_stream("digits-sample", [(0, 1)]))


def sl_examples(inputs, labels):
    from spikelore.data.examples import Examples

    return Examples(inputs, labels)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden": ()}, "network.hidden and network.units must name at least one size"),
        ({"recurrent": (True,)}, "network.recurrent has 1 values for 2 hidden layers"),
        ({"tau_mem_ms": 0.0}, "network.tau_mem_ms is 0.0; it must be 0.001 to"),
        ({"split": 3}, "network.split is 3; there are 2 layers"),
        ({"gradient": "e-prop"}, "network.gradient is 'e-prop', times 'neuron' and output 'integrator'"),
        ({"steps": 0}, "network.steps is 0; it must be at least 1"),
    ],
)
def test_settings_without_sense_are_refused(changes, message):
    with pytest.raises(sl.InputError, match=message):
        RecurrentConfig.best(**{**SMALL, **changes})


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (np.zeros((2, 20, 11), bool), r"recordings are bool of shape \(2, 20, 11\)"),
        (np.zeros((2, 28, 28), np.uint8), "recordings are uint8"),
        (Events.of_bins(np.zeros((2, 5, 13), bool)), r"of shape \(0, 20, 13\)"),
    ],
)
def test_inputs_of_another_kind_are_refused(inputs, message):
    network = made()
    for ask in (network.class_scores, network.predict, network.cost, lambda one: network.learn_(one, np.zeros(2, int))):
        with pytest.raises(sl.InputError, match=message):
            ask(inputs)


def test_values_between_spikes_are_refused():
    network = made()
    with pytest.raises(sl.InputError, match=r"^inputs hold 0.5, expected spikes, 0 or 1"):
        network(torch.full((1, 20, 12), 0.5))
