"""What learning costs: counts against plain loops, tallies of what methods do, joules."""

from itertools import product

import numpy as np
import pytest
import torch
from torch.nn import functional as F  # noqa: N812 - the field's name

import spikelore as sl
from spikelore.coding.poisson import image_indices
from spikelore.continual.run import Callback
from spikelore.errors import InputError
from spikelore.kernels.lif_network import Forcing, reference
from spikelore.learning.online_templates import OnlineLearning
from spikelore.metrics.learning_cost import READ, Energies, Tally, Work
from spikelore.networks.autograd import scan, scan_with_potentials
from spikelore.networks.first_spike_config import DecisionLayerConfig, FeatureLayerConfig, FirstSpikeConfig
from spikelore.networks.protocol import Network
from spikelore.networks.rate_lif import RateLIFConfig, RateLIFNetwork
from spikelore.networks.readout import drive
from spikelore.networks.surrogate import SurrogateNetwork
from spikelore.networks.surrogate_config import SurrogateConfig
from spikelore.randomness import torch_generator
from spikelore.units import ms_to_steps


def images_of(count, side, seed=0):
    drawn = np.random.default_rng(seed).integers(0, 256, (count, side, side))
    return np.where(drawn > 120, drawn, 0).astype(np.uint8)


# Surrogate gradients --------------------------------------------------------------------------------------------------


def tiny_surrogate(**changes):
    sizes = {"image": (1, 7, 7), "channels": (2, 3), "kernel": 2, "hidden": (4,), "classes": 2, "steps": 3}
    config = SurrogateConfig.best(**{**sizes, **changes})
    network = SurrogateNetwork(config, torch_generator(3, "network"), learning=sl.GradientLearning(readout="drive"))
    with torch.no_grad():
        for weight in network.parameters():  # so that all layers spike
            weight.mul_(2)
    return network


def spikes_and_errors(network, signal, columns):
    """Each layer's inputs over time, (T,B,C,H,W) or (T,B,F), and its errors before pooling, likewise."""
    config, inputs, maps = network.config, [], []
    values = signal
    for index, layer in enumerate((*network.convolutions, *network.hidden, *network.heads)):
        if index == len(network.convolutions):
            values = values.flatten(2)
        inputs.append(values.detach())
        currents = layer(values.flatten(0, 1)).unflatten(0, values.shape[:2])
        maps.append(currents)
        if index < len(network.convolutions) and config.pooling == "max":
            currents = F.max_pool2d(currents.flatten(0, 1), config.pool).unflatten(0, values.shape[:2])
        values = scan(currents, config.neuron, config.steps)
    spikes, potentials = scan_with_potentials(maps[-1], config.neuron, config.steps)
    loss = F.cross_entropy(drive(spikes, potentials, network.threshold), columns)
    return inputs, torch.autograd.grad(loss, maps)


def counted_by_loops(network, index, inputs, errors):
    """Return the layer's operations forward, back to its inputs, and of its gradients, of all images and steps."""
    stride, side = network.config.stride, network.config.kernel
    forward = back = gradients = 0
    for t, image in product(range(len(inputs)), range(inputs.shape[1])):
        values, error = inputs[t, image].numpy(), errors[t, image].numpy()
        if error.ndim == 1:
            for target, source in product(range(len(error)), range(len(values))):
                forward += values[source] != 0
                back += error[target] != 0
                gradients += values[source] != 0 and error[target] != 0
            continue
        for target in np.ndindex(*error.shape):
            for channel, y, x in product(range(len(values)), range(side), range(side)):
                value = values[channel, target[1] * stride + y, target[2] * stride + x]
                forward += value != 0
                back += error[target] != 0
                gradients += value != 0 and error[target] != 0
    return forward, back, gradients


@pytest.mark.parametrize(
    "changes", [{}, {"coding": "bernoulli"}, {"coding": "bernoulli_once", "pooling": "stride"}], ids=["grey", "t", "s"]
)
def test_the_work_of_surrogate_gradients_is_that_of_a_plain_loop(changes):
    network, images, labels = tiny_surrogate(**changes), images_of(4, 7), np.array([0, 1, 1, 0])
    signal = torch.cat([*network._looks(network.checked(images))], 1)
    shown = signal if "coding" not in changes else signal.expand(network.config.steps, *signal.shape[1:])
    works = network.works(images, labels)
    inputs, errors = spikes_and_errors(network, shown, torch.from_numpy(labels))
    for index, (one, error) in enumerate(zip(inputs, errors, strict=True)):
        forward, back, gradients = counted_by_loops(network, index, one, error)
        assert forward
        assert back
        assert gradients
        grey = index == 0 and not changes
        told = [works[f"{name} {index}"] for name in ("forward", "inputs", "weights")]
        ours = [4 * each.synaptic_operations for each in told]
        assert ours == pytest.approx([forward, back, gradients], rel=1e-12)
        binary = [4 * each.accumulates for each in told]
        assert binary == pytest.approx([0 if grey else forward, 0, 0 if grey else gradients])
    weights = sum(each.numel() for each in network.parameters())
    assert works["step"] == Work(0, 3 * weights, weights, weights, 3 * weights, 2 * weights)


def test_forward_counts_are_those_of_neurobench():
    layers = pytest.importorskip("neurobench.metrics.utils.layers", reason="NeuroBench is not installed")
    network, images = tiny_surrogate(), images_of(3, 7)
    signal = torch.cat([*network._looks(network.checked(images))], 1)
    inputs, _ = spikes_and_errors(network, signal, torch.tensor([0, 1, 0]))
    works = network.works(images, np.array([0, 1, 0]))
    modules = [*network.convolutions, *network.hidden, *network.heads]
    for index, (one, layer) in enumerate(zip(inputs, modules, strict=True)):
        theirs = 0.0
        for step in one:
            operations, spiking = layers.single_layer_MACs(step, layer)
            theirs += float(operations)
            assert spiking or not index
        assert 3 * works[f"forward {index}"].synaptic_operations == pytest.approx(theirs)


# First spikes ---------------------------------------------------------------------------------------------------------


def tiny_first_spike():
    layers = FeatureLayerConfig(3, 3, 1, 2.0, 2, 2, 1), FeatureLayerConfig(4, 2, 1, 1.0, 2, 2, 1)
    config = FirstSpikeConfig(
        layer_1=layers[0], layer_2=layers[1], decision=DecisionLayerConfig(features=4, kernel=2, padding=1)
    )
    network = sl.FirstSpikeNetwork.create(config, (0, 1), 0)
    network.templates, network.learning = True, OnlineLearning(0, 0, margin=0.5)
    network.follow_weights_()
    return network


def test_the_work_of_first_spikes_is_that_of_a_plain_loop():
    network, images, labels = tiny_first_spike(), images_of(6, 12), np.array([0, 1, 0, 1, 0, 1])
    network.learn_(images[:4], labels[:4])
    works = network.works(images, labels)
    spiked = network.encode(images) < network.config.coding.total_bins
    layer_1 = network.layer_1_bins(network.encode(images)) < network.config.coding.total_bins
    features = network.features(network.encode(images))
    layer_2 = np.stack([features.spikes(n) for n in range(len(images))])
    synapses = []
    sizes = ((spiked, 3, 3, 1), (layer_1, 4, 2, 1), (layer_2, 4, 2, 1))
    for inputs, units, kernel, padding in sizes:
        padded = np.pad(inputs, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
        rows, columns = (side - kernel + 1 for side in padded.shape[2:])
        places = product(range(rows), range(columns), range(kernel), range(kernel))
        synapses.append(units * sum(padded[:, :, y + i, x + j].sum(1) for y, x, i, j in places))
    for n in (0, 1):
        assert works[f"forward {n + 1}"].accumulates == pytest.approx(synapses[n].mean())
        assert works[f"forward {n + 1}"].multiply_accumulates == 0
    assert works["decide"].accumulates == pytest.approx(synapses[2].mean())
    assert works["templates"].accumulates == pytest.approx(synapses[2].mean() / 2), "two of the four units"
    unit = 4 * 2 * 2
    assert works["templates"].weights_written == works["templates"].multiply_accumulates == unit
    assert works["reward"].weights_written == unit
    assert works["reward"].accumulates == pytest.approx(synapses[2].mean() + unit)
    scores = network.scores(features)
    close = 0
    for n, label in enumerate(labels):
        own = network.unit_classes == label
        close += scores[n, own].max() - scores[n, ~own].max() < 0.5 * np.sqrt(layer_2[n].sum())
    assert close
    assert works["rehearsal"].weights_written == pytest.approx(2 * unit * close / len(images))
    for layer, size in ((1, 6 * 3 * 3), (2, 3 * 2 * 2)):
        moved = works[f"learn {layer}"]
        assert moved.weights_written == moved.multiply_accumulates
        assert 0 < moved.weights_written <= 2 * size, "of at most two winners"


# Rates ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("teacher", ["forced", "all-ltd"])
def test_the_work_of_rates_is_that_of_the_reference_step_by_step(teacher, monkeypatch):
    make = RateLIFConfig.stream if teacher == "forced" else RateLIFConfig
    config = make(classes=(0, 1), height=5, width=5, neurons_per_class=3, weight_max=1.5)
    network = RateLIFNetwork(config, seed=0)
    images = images_of(3, 5) // 2 + 127 * (images_of(3, 5) > 0).astype(np.uint8)
    network.train(images, np.array([0, 1, 0]))
    found = {"products": 0, "changed": 0, "operations": 0}
    state, rates = network._state.copy(), np.ones(6)
    constants, index = config.constants(network.images_seen), int(image_indices(images[:1])[0])
    inputs, outputs, scale = reference._input_spikes, reference._output_spikes, reference._scale_

    def counting_inputs(state, c, plasticity, step, spiked):
        found["operations"] += len(spiked) * state.weights.shape[1]
        if plasticity.pre.any():
            found["products"] += len(spiked) * int((state.post_trace != 0).sum())
            found["changed"] += len(spiked) * state.weights.shape[1]
        inputs(state, c, plasticity, step, spiked)

    def counting_outputs(state, c, plasticity, step, neurons):
        found["operations"] += len(neurons) * state.weights.shape[1]
        found["products"] += len(neurons) * int((state.pre_trace != 0).sum())
        found["changed"] += len(neurons) * len(state.weights)
        outputs(state, c, plasticity, step, neurons)

    def counting_scale(state, c, forcing, neurons, rates):
        used = int((state.step[0] - state.last_input_spike <= forcing.in_use_steps).sum())
        found["products"] += 2 * used * len(neurons)
        found["changed"] += used * len(neurons)
        scale(state, c, forcing, neurons, rates)

    for name, counting in (("input", counting_inputs), ("output", counting_outputs)):
        monkeypatch.setattr(reference, f"_{name}_spikes", counting)
    monkeypatch.setattr(reference, "_scale_", counting_scale)
    told = (images[:1], np.array([0]), np.repeat([0, 1], 3), rates, 0, 1, index)
    if teacher == "forced":
        steps = ms_to_steps(config.in_use_ms, config.dt_ms)
        forcing = Forcing(config.weight_norm * config.weight_max, steps, config.homeostasis_mv)
        reference.train_forced_(state, constants, network._delays, network._presentation, forcing, *told)
    else:
        from spikelore.kernels.lif_network import Rule

        rule = Rule(1.0, -config.other_classes)
        reference.train_(state, constants, network._delays, network._presentation, rule, *told)
    assert found["products"]
    work = network.works(images[:1], np.array([0]))["learn"]
    assert work.accumulates == found["operations"]
    assert work.multiply_accumulates == found["products"]
    assert work.weights_written == found["changed"]
    assert work.weights_read == found["operations"] + found["changed"]


# What a run tells -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stream():
    return sl.split_stream("digits-sample", [(0, 1), (2, 3)])


def test_what_is_replayed_costs_like_what_is_new(stream):
    memory = sl.Memory(images=40)
    found = {}
    for method in (sl.Naive(), sl.Replay(memory=memory, replay_batch=32)):
        network = sl.SurrogateNetwork.for_stream(stream, seed=0, hidden=(8,), channels=(2, 4))
        result = sl.run(stream, network, method)
        found[method.name] = network.tally.counts
        works = network.works(stream.tasks[0].test.inputs[:9], stream.tasks[0].test.labels[:9])
        assert result.work is not None
        assert result.work.accumulates > found[method.name]["forward 1"] * 0.2 * works["forward 1"].accumulates
        row = result.row()
        assert row["synops_learning"] == round(result.work.synaptic_operations)
        assert row["joules_learning"] == pytest.approx(result.work.joules(), rel=1e-3)
    images = sum(len(task.train) for task in stream.tasks)
    assert found["naive"]["forward 0"] == found["naive"]["weights 3"] == images
    replayed = found["experience replay"]["forward 0"] - images
    assert replayed > 0.9 * images, "as many stored ones as new ones, but in the first batch"
    assert found["experience replay"][READ] == replayed * 785
    assert found["experience replay"]["step"] == found["naive"]["step"]


def test_a_run_that_goes_on_has_counted_what_was_before(stream, tmp_path):
    def made():
        return sl.RateLIFNetwork.for_stream(stream, neurons_per_class=5)

    method = sl.Replay(memory=sl.Memory(images=40), replay_batch=4)
    whole = sl.run(stream, made(), method)

    class Stop(Callback):
        def on_batch(self, run, inputs, loss):
            if run.position.task:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sl.run(stream, made(), method, callbacks=[Stop()], state=tmp_path / "state.safetensors")
    again = sl.run(stream, made(), method, state=tmp_path / "state.safetensors")
    assert whole.work is not None
    assert again.work == whole.work


def test_answers_are_no_learning(stream):
    network = sl.FirstSpikeNetwork.for_stream(stream, seed=0)
    sl.run(stream, network, sl.Naive())
    assert "decide" not in network.tally.counts
    assert network.tally.counts["templates"] > 0


def test_a_network_of_ones_own_that_says_nothing_has_no_work(stream):
    class Silent(Network):
        name = "silent"
        classes, input_shape = (0, 1, 2, 3), (28, 28)

        def learn_(self, inputs, labels):
            pass

        def class_scores(self, inputs):
            return np.zeros((len(inputs), 4), np.float32)

    row = sl.run(stream, Silent(), sl.Naive()).row()
    assert row["synops_learning"] is row["joules_learning"] is row["accumulates_learning"] is None


# Energy ---------------------------------------------------------------------------------------------------------------


def test_joules_are_prices_times_counts():
    work = Work(1e12, 2e12, 3e12, 4e12, 5e12, 6e12, 7e12)
    assert work.joules() == pytest.approx(0.9 + 2 * 4.6 + 7 * 50 + 11 * 5 + 7 * 162.5)
    assert work.joules(Energies(0, 1, 0, 0, 0, 0, 0)) == pytest.approx(2)
    assert (work + work * 2).accumulates == 3e12


def test_a_negative_price_is_refused():
    with pytest.raises(InputError, match="state_read_pj is -1"):
        Energies(state_read_pj=-1.0)


def test_copies_share_a_tally():
    network = tiny_first_spike()
    network.copy().tally.add("decide", 3)
    assert network.tally.counts == {"decide": 3}
    assert Tally().work({"decide": Work(1.0)}) == Work()
