"""The surrogate-gradient network and a wrapped torch module answer `spikelore.networks.protocol`."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from spikelore.continual.fusion import bagging, fuse, merge
from spikelore.continual.unused_decay import decay_unused_
from spikelore.data.examples import Examples
from spikelore.data.streams import Stream, Task
from spikelore.errors import InputError, SpikeloreError
from spikelore.files import load_tensors, save_tensors
from spikelore.networks import checkpoint
from spikelore.networks.gradient_learning import GradientLearning
from spikelore.networks.protocol import Differentiable, Features, Network, Synapses, Units
from spikelore.networks.readout import Decision
from spikelore.networks.stepwise import stepwise
from spikelore.networks.surrogate import SurrogateNetwork
from spikelore.networks.wrapped import TorchNetwork

SIDE = 12
SMALL = {"channels": (3,), "kernel": 3, "hidden": (8,)}
CODINGS = ["constant", "bernoulli_once", "bernoulli"]


def bars(count=24, seed=0):
    """Bars of labels 7, 3 and 5: the row that is bright."""
    rng = np.random.default_rng(seed)
    labels = np.resize([7, 3, 5], count)
    images = rng.integers(0, 40, (count, SIDE, SIDE), np.uint8)
    images[np.arange(count), labels] = 255
    return images, labels


def stream():
    images, labels = bars()
    both = Examples(images, labels)
    return Stream("task-free", (Task("all", (7, 3, 5), both, both, both),))


class Spiking(torch.nn.Module):
    """Linear - threshold, with a sigmoid for a gradient; draws its inputs where asked to."""

    def __init__(self, outputs, drawn=False):
        super().__init__()
        self.layer = torch.nn.Linear(SIDE * SIDE, outputs)
        self.drawn = drawn

    def forward(self, images):
        shown = torch.bernoulli(images) if self.drawn else images
        currents = self.layer(shown.flatten(1))
        soft = (4 * currents).sigmoid()
        return (currents > 0).float() + soft - soft.detach()


class Counting(torch.nn.Module):
    """A module that says what it costs, is saved and can grow."""

    def __init__(self, outputs):
        super().__init__()
        self.layers = torch.nn.ModuleList([Spiking(outputs)])

    def forward(self, images):
        return torch.cat([layer(images) for layer in self.layers], 1).expand(4, -1, -1)

    def add_head(self, classes):
        self.layers.append(Spiking(classes))

    def count_operations(self, images):
        class Found:
            spikes = self(images).sum((0, 2))
            accumulates = 2.0

        return Found


def surrogate(seed=0, **changes):
    return SurrogateNetwork.for_stream(stream(), seed, **{**SMALL, **changes})


def wrapped(seed=0, drawn=False):
    return TorchNetwork.for_stream(
        stream(),
        seed,
        module=lambda outputs: stepwise(Spiking(outputs, drawn), steps=4),
        learning=GradientLearning(learning_rate=1e-2),
        name="mine",
    )


MAKERS = {
    **{coding: (lambda seed=0, coding=coding: surrogate(seed, coding=coding)) for coding in CODINGS},
    "population": lambda seed=0: surrogate(seed, units_per_class=3),
    "torch": wrapped,
    "torch that draws": lambda seed=0: wrapped(seed, drawn=True),
}
each_kind = pytest.mark.parametrize("kind", MAKERS)


def trained(kind, steps=3, seed=0):
    network = MAKERS[kind](seed)
    images, labels = bars()
    for n in range(steps):
        network.learn_(images[n * 6 : n * 6 + 6], labels[n * 6 : n * 6 + 6])
    return network


def weights_of(network):
    return {name: each.detach().clone() for name, each in network.module.named_parameters()}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@each_kind
def test_it_answers_the_contract(kind):
    network = MAKERS[kind]()
    assert isinstance(network, Network)
    assert isinstance(network, Differentiable)
    assert not isinstance(network, Features)
    ours = not kind.startswith("torch")
    assert isinstance(network, Units) == isinstance(network, Synapses) == ours
    assert network.name == ("surrogate" if ours else "mine")
    assert network.classes == (7, 3, 5)
    assert network.input_shape == (SIDE, SIDE)


@each_kind
def test_it_learns(kind):
    network = MAKERS[kind]()
    images, labels = bars(60)
    before = (network.predict(images) == labels).mean()
    for _ in range(60):
        network.learn_(images, labels)
    after = (network.predict(*[bars(60, seed=1)[0]]) == labels).mean()
    assert before < 0.8
    assert after > 0.9
    assert (network.predict(images, (3, 5)) != 7).all()


@each_kind
def test_scores_do_not_depend_on_how_images_are_cut(kind):
    network = trained(kind)
    images, _ = bars(23, seed=2)
    whole, state = network.class_scores(images), weights_of(network)
    for size in (1, 2, 5, 16):
        parts = [network.class_scores(images[n : n + size]) for n in range(0, len(images), size)]
        assert np.array_equal(np.concatenate(parts), whole)
    assert np.array_equal(network.class_scores(images[::-1])[::-1], whole)
    assert whole.dtype == np.float32
    assert len(np.unique(whole)) > 2
    assert np.array_equal(np.array(network.classes)[whole.argmax(1)], network.predict(images))
    assert same(weights_of(network), state)
    assert network.class_scores(images[:0]).shape == (0, 3)


@pytest.mark.parametrize("pooling", ["max", "stride"])
@pytest.mark.parametrize("channels", [(), (3,), (3, 4)])
@pytest.mark.parametrize("readout", ["spikes", "drive"])
@pytest.mark.parametrize("units", [1, 7])
def test_scores_do_not_depend_on_the_cut_in_any_layer(channels, readout, units, pooling):
    learning = GradientLearning(readout=readout)
    sizes = {"channels": channels, "hidden": (50, 20), "kernel": 3, "pooling": pooling}
    network = surrogate(**sizes, units_per_class=units, learning=learning)
    images = np.random.default_rng(0).integers(0, 256, (300, SIDE, SIDE), np.uint8)
    whole = network.class_scores(images)
    parts = [network.class_scores(part) for part in np.array_split(images, 37)]
    assert np.array_equal(np.concatenate(parts), whole)


@each_kind
@pytest.mark.parametrize("way", ["copy", "state", "file"])
def test_going_on_is_as_if_nothing_had_come_between(kind, way, tmp_path):
    network = trained(kind)
    images, labels = bars(seed=3)
    if way == "copy":
        other = network.copy()
    elif way == "state":
        other = MAKERS[kind](0)
        other.load_state_dict({name: np.asarray(each).copy() for name, each in network.state_dict().items()})
    else:
        network.save(tmp_path / "network.safetensors")
        if kind.startswith("torch"):
            fresh = MAKERS[kind](5).module
            other = TorchNetwork.load(tmp_path / "network.safetensors", fresh)
        else:
            other = checkpoint.load(tmp_path / "network.safetensors")
    assert (other.name, other.classes, other.learning) == (network.name, network.classes, network.learning)
    assert np.array_equal(other.class_scores(images), network.class_scores(images))
    for each in (network, other):
        for n in range(3):
            each.learn_(images[n * 8 : n * 8 + 8], labels[n * 8 : n * 8 + 8])
    assert same(weights_of(other), weights_of(network))
    other.learn_(images, labels)
    assert not same(weights_of(other), weights_of(network))
    assert np.array_equal(trained(kind).class_scores(images), trained(kind).class_scores(images))


@each_kind
def test_it_grows(kind):
    network = trained(kind)
    images, labels = bars()
    if kind.startswith("torch"):
        with pytest.raises(InputError, match="has 3 outputs and no add_head"):
            network.grow_((1,))
        network = TorchNetwork(Counting(3), network.classes, (SIDE, SIDE))
        network.learn_(images, labels)
    before = network.class_scores(images)
    network.grow_((1, 8))
    assert network.classes == (7, 3, 5, 1, 8)
    assert np.array_equal(network.class_scores(images)[:, :3], before)
    network.learn_(images, np.resize([1, 8], len(images)))
    for wrong in ((3,), (9, 9)):
        with pytest.raises(InputError, match="is there already"):
            network.grow_(wrong)


@each_kind
def test_what_it_cannot_take_is_told_in_a_sentence(kind):
    network = trained(kind)
    images, labels = bars()
    before = weights_of(network), network.class_scores(images)
    for wrong, says in (
        (lambda: network.learn_(images, labels + 1), "label 4 is none of the network's classes"),
        (lambda: network.learn_(images[:, :5], labels), "images have 5x12 pixels, expected 12x12"),
        (lambda: network.learn_(images, labels[:3]), "labels have shape"),
        (lambda: network.learn_(images[:0], labels[:0]), "the batch has no image"),
        (lambda: network.predict(images, (7, 9)), r"decide among are \[7, 9\]"),
        (lambda: network.class_scores(images / 255), "images are float64"),
        (lambda: network.cost(images[:0]), "no image|does not say what a decision costs"),
        (lambda: network.load_state_dict({"another": np.zeros(2)}), "the saved state does not fit"),
    ):
        with pytest.raises(InputError, match=says) as caught:
            wrong()
        assert "\n" not in str(caught.value)
    assert same(weights_of(network), before[0])
    assert np.array_equal(network.class_scores(images), before[1])
    with torch.no_grad():
        next(network.module.parameters()).fill_(torch.nan)
    assert (network.predict(images) == -1).all()
    with pytest.raises(SpikeloreError, match=r"is nan|not a finite"):
        network.learn_(images, labels)


@pytest.mark.parametrize("coding", CODINGS)
def test_cost_is_that_of_what_it_decides_by(coding):
    network = surrogate(coding=coding)
    images, _ = bars()
    cost = network.cost(images)
    parts = [network.cost(images[n : n + 1]) for n in range(len(images))]
    assert cost.accumulates == pytest.approx(np.mean([each.accumulates for each in parts]))
    assert cost.spikes > 0
    assert (cost.multiply_accumulates > 0) == (coding == "constant")
    assert network.cost(images) == cost
    network = surrogate(coding=coding, units_per_class=4)
    assert network.cost(images).accumulates > cost.accumulates


def test_a_module_says_itself_what_it_costs():
    network = TorchNetwork(Counting(3), (7, 3, 5), (SIDE, SIDE))
    images, _ = bars()
    cost = network.cost(images)
    assert (cost.accumulates, cost.multiply_accumulates) == (2.0, 0.0)
    assert cost.spikes == pytest.approx(network.class_scores(images).sum(1).mean())
    with pytest.raises(InputError, match="Stepwise does not say what a decision costs"):
        wrapped().cost(images)


def test_a_step_is_that_of_a_naive_learner():
    from spikelore.continual.methods import Naive

    images, labels = bars()
    for learning in (GradientLearning(), GradientLearning.best(), GradientLearning(input="spikes", readout="drive")):
        one, other = (surrogate(coding="bernoulli", learning=learning) for _ in range(2))
        learner = Naive().start(other, seed=0, tasks=1)
        for n in range(0, 24, 6):
            one.learn_(images[n : n + 6], labels[n : n + 6])
            learner.learn(images[n : n + 6], labels[n : n + 6], 0)
        assert same(weights_of(one), weights_of(other))


def test_the_state_is_that_of_a_torch_module_until_it_has_learned():
    network = surrogate()
    assert list(network.state_dict()) == [name for name, _ in network.named_parameters()]
    holder = torch.nn.ModuleDict({"inner": trained("bernoulli")})
    other = torch.nn.ModuleDict({"inner": MAKERS["bernoulli"](1)})
    other.load_state_dict(holder.state_dict())
    images, _ = bars()
    for each in (holder, other):
        each["inner"].seed = 0  # type: ignore[assignment]
    assert np.array_equal(holder["inner"].class_scores(images), other["inner"].class_scores(images))  # type: ignore[operator]


def test_decision_is_a_view_of_classes_and_learning():
    network = surrogate()
    assert network.decision == Decision((7, 3, 5), (7, 3, 5), "drive", "grey")
    network.decision = Decision((1, 2, 3), (2, 3), "spikes", "spikes")
    assert (network.classes, network.among) == ((1, 2, 3), (2, 3))
    assert network.learning == replace(GradientLearning.best(), readout="spikes", input="spikes")
    assert set(network.predict(bars()[0]).tolist()) <= {2, 3}
    network.decision = None
    assert network.classes == ()
    with pytest.raises(InputError, match="does not know what its outputs stand for"):
        network.learn_(*bars())


def test_checkpoints_of_the_first_format_are_read(tmp_path):
    network, path = surrogate(), tmp_path / "network.safetensors"
    network.save(path)
    tensors, metadata = load_tensors(path)
    told = json.loads(metadata["network"])
    del tensors["generator"], told["config"]["units_per_class"]
    decision = {"classes": [7, 3, 5], "among": [7, 3], "readout": "drive", "input": "grey"}
    first = {"config": told["config"], "heads": [3], "decision": decision}
    save_tensors(path, tensors, {"format": "spikelore surrogate network 1", "network": json.dumps(first)})
    other = SurrogateNetwork.load(path)
    assert other.decision == Decision((7, 3, 5), (7, 3), "drive", "grey")
    assert np.array_equal(other.class_scores(bars()[0]), network.class_scores(bars()[0]))
    assert other.generator.initial_seed() == 0


def test_a_module_of_ones_own_is_loaded_with_itself(tmp_path):
    path = tmp_path / "network.safetensors"
    wrapped().save(path)
    with pytest.raises(InputError, match=r"load it with TorchNetwork.load\(path, module\)"):
        checkpoint.load(path)
    with pytest.raises(InputError, match="does not fit the module"):
        TorchNetwork.load(path, Counting(3))
    surrogate().save(path)
    with pytest.raises(InputError, match="expected 'spikelore torch module 1'"):
        TorchNetwork.load(path, Counting(3))
    with pytest.raises(InputError, match="expected a function from the number of outputs"):
        TorchNetwork.for_stream(stream(), module=Counting(3))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no setting 'steps'"):
        TorchNetwork.for_stream(stream(), steps=3)
    with pytest.raises(InputError, match="steeps"):
        surrogate(steeps=3)


# Units --------------------------------------------------------------------------------------------------------------


def test_one_unit_a_class_is_what_it_was():
    one, several = surrogate(), surrogate(units_per_class=1)
    images = torch.rand(5, SIDE, SIDE)
    assert torch.equal(one(images), several(images))
    assert surrogate(units_per_class=4).heads[0].weight.shape == (12, 8)


def test_a_class_is_the_mean_of_its_units():
    network = surrogate(units_per_class=4)
    weights, classes = network.unit_weights, network.unit_classes
    assert weights.shape == (12, 9)
    assert classes.tolist() == [7] * 4 + [3] * 4 + [5] * 4
    images, _ = bars()
    alone = [network.with_units(weights[n : n + 1], classes[n : n + 1]).class_scores(images)[:, 0] for n in range(12)]
    expected = np.stack(alone, 1).reshape(-1, 3, 4).mean(2)
    np.testing.assert_allclose(network.class_scores(images), expected, rtol=1e-5, atol=1e-5)
    spikes = network(torch.rand(5, SIDE, SIDE))
    assert spikes.shape == (4, 5, 3)
    order = np.argsort(classes[:9], kind="stable")
    unequal = network.with_units(weights[:9][order], classes[:9][order])
    assert unequal.classes == (3, 5, 7)
    assert unequal.unit_classes.tolist() == [3] * 4 + [5] + [7] * 4
    np.testing.assert_allclose(unequal.class_scores(images)[:, 1], alone[8], rtol=1e-5, atol=1e-5)
    assert unequal.features_digest == network.features_digest


def test_gains_and_centres_change_the_weights():
    network = surrogate(units_per_class=2)
    order = np.argsort(network.unit_classes, kind="stable")
    weights, classes = network.unit_weights[order], network.unit_classes[order]
    gains, centres = np.linspace(1, 2, 6, dtype=np.float32), np.linspace(0, 1, 6, dtype=np.float32)
    other = network.with_units(weights, classes, gains, centres)
    np.testing.assert_allclose(other.unit_weights, gains[:, None] * (weights - centres[:, None]), rtol=1e-6)
    assert (other.unit_gains == 1).all()
    assert (other.unit_centres == 0).all()
    for wrong in ((weights[:, 1:], classes), (weights, classes[::-1]), (weights[:0], classes[:0])):
        with pytest.raises(InputError, match="ascending classes"):
            network.with_units(*wrong)


def test_fresh_units_share_the_frozen_features():
    network = trained("population")
    network.freeze_features_()
    other = network.with_fresh_units((1, 9), seed=4)
    assert other.classes == (1, 9)
    assert other.unit_classes.tolist() == [1] * 5 + [9] * 4
    assert other.features_digest == network.features_digest
    assert not np.array_equal(other.unit_weights, network.unit_weights)
    before = other.unit_weights
    images, labels = bars()
    other.learn_(images, np.where(labels == 7, 1, 9))
    assert other.features_digest == network.features_digest
    assert not np.array_equal(other.unit_weights, before)
    again = network.with_fresh_units((1, 9), seed=4)
    assert np.array_equal(again.unit_weights, before)
    assert not np.array_equal(network.with_fresh_units((1, 9), seed=5).unit_weights, before)
    with pytest.raises(InputError, match="at most one for each of the 9 units"):
        network.with_fresh_units(range(10), seed=0)
    assert SurrogateNetwork.for_stream(stream(), 0, **SMALL).features_digest != network.features_digest


def test_fused_networks_keep_the_size():
    a = trained("population")
    a.freeze_features_()
    b = a.with_fresh_units((1, 9), seed=4)
    images, labels = bars()
    b.learn_(images, np.where(labels == 7, 1, 9))
    ensemble = bagging([a, b])
    assert ensemble.classes == (1, 3, 5, 7, 9)
    assert np.array_equal(ensemble.class_scores(images)[:, [3, 1, 2]], a.class_scores(images))
    for fused in (fuse([a, b], size=9), merge([a, b], size=9)):
        assert len(fused.unit_classes) == 9
        assert fused.classes == (1, 3, 5, 7, 9)
        fused.learn_(images, labels)


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_plasticity_is_the_share_of_a_step_that_a_unit_takes(share):
    network, free = trained("population"), trained("population")
    before, images_and_labels = network.unit_weights, bars(seed=5)
    plasticity = np.ones(9, np.float32)
    plasticity[[1, 4]] = share
    network.unit_plasticity = plasticity
    for each in (network, free):
        each.freeze_features_()
        each.learn_(*images_and_labels)
    moved, would = network.unit_weights - before, free.unit_weights - before
    assert (np.abs(would).max(1) > 0).all()  # momentum of earlier steps moves every unit
    np.testing.assert_allclose(moved[[1, 4]], share * would[[1, 4]], rtol=1e-3, atol=1e-8)
    rest = [0, 2, 3, 5, 6, 7, 8]
    assert np.array_equal(moved[rest], would[rest])
    if not share:
        for _ in range(5):
            network.learn_(*images_and_labels)
        assert np.array_equal(network.unit_weights[[1, 4]], before[[1, 4]])
    assert np.array_equal(network.copy().unit_plasticity, plasticity)
    network.grow_((1,))
    assert network.unit_plasticity.tolist() == [*plasticity.tolist(), 1, 1, 1]
    with pytest.raises(InputError, match="plasticity"):
        network.unit_plasticity = np.full(12, 2.0)


@pytest.mark.parametrize("way", ["state", "file"])
def test_what_is_protected_and_frozen_and_used_is_kept(way, tmp_path):
    network = surrogate(units_per_class=2)
    network.unit_plasticity = np.linspace(0, 1, 6)
    network.freeze_features_()
    images, labels = bars()
    network.use_(images)
    if way == "file":
        network.save(tmp_path / "network.safetensors")
        other = SurrogateNetwork.load(tmp_path / "network.safetensors")
    else:
        other = surrogate(units_per_class=2)
        other.load_state_dict(network.state_dict())
    assert np.array_equal(other.unit_plasticity, network.unit_plasticity)
    digest = other.features_digest
    other.learn_(images, labels)
    assert other.features_digest == digest
    for name, use in network.synapses().items():
        assert use.now_ms == other.synapses()[name].now_ms == len(images) * 500.0
        mine = other.synapses()[name].last_presynaptic_spike_ms
        assert np.array_equal(mine, use.last_presynaptic_spike_ms)


# Synapses -----------------------------------------------------------------------------------------------------------


def test_synapses_know_when_they_were_used():
    network = surrogate(hidden=(8,), channels=(3,))
    assert list(network.synapses()) == ["convolutions.0", "hidden.0", "heads.0"]
    image = np.zeros((1, SIDE, SIDE), np.uint8)
    image[0, 0, 0] = 9  # reaches only the corner of each kernel
    network.use_(np.concatenate([image, image * 0]))
    first = network.synapses()["convolutions.0"]
    assert first.now_ms == 1000
    expected = np.zeros((3, 3))
    expected[0, 0] = 500
    assert np.array_equal(first.last_presynaptic_spike_ms[0, 0], expected)
    signals = network._signals(network.encode(torch.from_numpy(image) / 255), 2)
    network.use_(image)
    spiked = signals[1].any(0).permute(0, 3, 1, 2).flatten().numpy()  # in the order of the weights: channels first
    last = network.synapses()["hidden.0"].last_presynaptic_spike_ms.ravel()
    assert 0 < spiked.sum() < len(spiked)
    assert np.array_equal(last == 1500, spiked)
    last = network.synapses()["heads.0"].last_presynaptic_spike_ms.ravel()
    assert np.array_equal(last == 1500, signals[2].any(0).flatten().numpy())


@pytest.mark.parametrize("coding", CODINGS)
def test_what_decays_is_the_network_itself(coding):
    network = surrogate(coding=coding)
    images, _ = bars()
    images[:, :, 9:] = 0
    network.use_(images)
    before = weights_of(network)
    scores = network.class_scores(images)
    for synapses in network.synapses().values():
        decay_unused_(synapses, tau_prune_ms=100.0)
    after = weights_of(network)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed >= {"hidden.0.weight", "heads.0.weight"}
    assert not any(name.endswith("bias") for name in changed)
    assert network.class_scores(images).shape == scores.shape
    other = network.copy()
    for synapses in other.synapses().values():
        synapses.weights *= 0
    assert same(weights_of(network), after)
    assert not other.get_parameter("heads.0.weight").any()


def test_a_learner_keeps_what_its_network_knows_beside_weights():
    from spikelore.continual.methods import Naive

    images, labels = bars()
    networks = [surrogate(units_per_class=2) for _ in range(2)]
    learners = [Naive().start(network, seed=0, tasks=1) for network in networks]
    learners[0].learn(images, labels, 0)
    networks[0].use_(images)
    networks[0].unit_plasticity = np.linspace(0, 1, 6)
    learners[1].load_state_dict(*learners[0].state_dict())
    assert np.array_equal(networks[1].unit_plasticity, networks[0].unit_plasticity)
    for name, use in networks[0].synapses().items():
        assert networks[1].synapses()[name].now_ms == use.now_ms == 12_000
        assert np.array_equal(networks[1].synapses()[name].last_presynaptic_spike_ms, use.last_presynaptic_spike_ms)
