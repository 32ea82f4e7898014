"""Learners that store no images, against plain loops: synaptic intelligence, Hebbian orthogonal projection, sleep."""

from itertools import pairwise
from math import exp

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - the field's name

import spikelore as sl
from spikelore.continual.methods.hebbian import fresh_rows, joined, learn_
from spikelore.continual.methods.sleep import noise, sleep_
from spikelore.kernels.lif_scan import Leaky
from spikelore.networks.presynaptic import presynaptic
from spikelore.networks.readout import drive
from spikelore.networks.surrogate import SurrogateConfig
from spikelore.randomness import torch_generator

CLASSES = (0, 1, 2, 3)
PATTERNS = np.random.default_rng(7).integers(0, 215, (4, 8, 8))
NEURON = Leaky(beta=0.9, threshold=0.2, surrogate="atan", slope=2.0)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Small arrays are slower on many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def network(**changes):
    """A surrogate network of 8 x 8 images with a convolution and a hidden layer, if no others are named."""
    sizes = {"channels": (4,), "kernel": 3, "hidden": (20,), "steps": 3, "coding": "constant", "neuron": NEURON}
    config = SurrogateConfig(image=(1, 8, 8), classes=4, **{**sizes, **changes})
    learning = sl.GradientLearning(learning_rate=5e-3, readout="drive")
    return sl.SurrogateNetwork(config, torch_generator(0, "network"), classes=CLASSES, learning=learning)


def batch_of(labels, seed, size=16):
    rng = np.random.default_rng(seed)
    drawn = rng.choice(labels, size).astype(np.int64)
    return (PATTERNS[drawn] + rng.integers(0, 40, (size, 8, 8))).astype(np.uint8), drawn


def teach(learner, task, batches=6, end=True):
    labels = CLASSES[2 * task : 2 * task + 2]
    learner.begin_task(task, labels)
    for number in range(batches):
        learner.learn(*batch_of(labels, number), task)
    if end:
        learner.end_task(task)


# Synaptic intelligence ----------------------------------------------------------------------------------------------


def test_synaptic_intelligence_is_the_plain_loop():
    """A loop of its own, with the penalty's gradient by autograd, over two tasks."""
    told = sl.SynapticIntelligence(strength=4.0, damping=0.01)
    learner = told.start(network(), seed=0)
    for task in (0, 1):
        teach(learner, task)

    plain = network()
    weights = list(plain.parameters())
    optimiser = torch.optim.Adam(weights, lr=5e-3)
    zeros = [torch.zeros_like(each) for each in weights]
    importance, anchors = zeros, [each.detach().clone() for each in weights]
    for task in (0, 1):
        path = zeros
        for number in range(6):
            images, labels = batch_of(CLASSES[2 * task : 2 * task + 2], number)
            spikes, potentials = plain.with_potentials(torch.from_numpy(images).float() / 255)
            loss = F.cross_entropy(drive(spikes, potentials, plain.threshold), torch.from_numpy(labels))
            own = torch.autograd.grad(loss, weights, retain_graph=True)
            penalty = sum((m * (w - a) ** 2).sum() for m, w, a in zip(importance, weights, anchors, strict=True))
            optimiser.zero_grad()
            (loss + 4.0 / 2 * penalty).backward()
            before = [each.detach().clone() for each in weights]
            optimiser.step()
            path = [p - g * (w.detach() - b) for p, g, w, b in zip(path, own, weights, before, strict=True)]
        importance = [
            m + p.clamp(min=0) / ((w.detach() - a) ** 2 + 0.01)
            for m, p, w, a in zip(importance, path, weights, anchors, strict=True)
        ]
        anchors = [each.detach().clone() for each in weights]
    for (name, _), expected, anchor in zip(plain.named_parameters(), importance, anchors, strict=True):
        torch.testing.assert_close(learner.importance[name], expected, rtol=1e-3, atol=1e-5)
        torch.testing.assert_close(learner.anchor[name], anchor, rtol=1e-4, atol=1e-5)
    assert max(float(each.max()) for each in importance) > 0.1
    assert learner.memory_bytes == 3 * sum(each.nbytes for each in weights)


def test_synaptic_intelligence_consolidates_without_boundaries():
    told = sl.SynapticIntelligence(consolidate_after=32)
    assert (told.boundaries, told.listens) == (False, False)
    assert (sl.SynapticIntelligence().boundaries, sl.SynapticIntelligence().listens) == (True, True)
    learner = told.start(network(), seed=0)
    found = []
    for number in range(4):
        learner.learn(*batch_of(CLASSES, number), -1)
        found.append(sum(float(each.sum()) for each in learner.importance.values()))
    assert found[0] == 0 < found[1] == found[2] < found[3]
    assert all(not path.any() for path in learner.path.values())


def test_synaptic_intelligence_makes_paths_of_weights_that_come_later():
    learner = sl.SynapticIntelligence().start(network(), seed=0)
    learner.grow((7,), 2)
    learner.learn(*batch_of(CLASSES, 0), 0)
    learner.end_task(0)
    assert learner.importance["heads.1.weight"].shape == (1, 20)
    assert learner.memory_bytes == 3 * sum(each.nbytes for each in learner.module.parameters())


# Hebbian orthogonal projection --------------------------------------------------------------------------------------


def spectrum(seed=0, count=4000, size=30, strong=4):
    """Inputs (N,30) of four strong directions over weak noise, and these directions (4,30)."""
    rng = torch.Generator().manual_seed(seed)
    turned = torch.linalg.qr(torch.randn(size, size, generator=rng)).Q
    scale = torch.cat([torch.tensor([3.0, 2.5, 2.0, 1.5])[:strong], torch.full((size - strong,), 0.05)])
    return (torch.randn(count, size, generator=rng) * scale) @ turned.T, turned.T[:strong]


@pytest.mark.parametrize("batch", [16, 100])  # fewer than inputs of a neuron, and more
def test_hebbian_neurons_learn_the_principal_subspace(batch):
    inputs, _ = spectrum()
    principal = torch.linalg.eigh(inputs.T @ inputs).eigenvectors[:, -4:].T
    rows = fresh_rows(torch.zeros(0, 30), 4, torch.Generator().manual_seed(1))
    assert torch.linalg.svdvals(rows @ principal.T).min() < 0.5
    for part in inputs.split(batch):
        learn_(rows, part, torch.zeros(0, 30), 0.5)
    assert torch.linalg.svdvals(rows @ principal.T).min() > 0.99  # cosine of the largest angle between the two
    torch.testing.assert_close(rows @ rows.T, torch.eye(4), atol=0.05, rtol=0)


@pytest.mark.parametrize("batch", [16, 100])
def test_hebbian_neurons_learn_what_is_outside_the_known_subspace(batch):
    inputs, directions = spectrum()
    known = joined(torch.zeros(0, 30), directions[:2])
    rows = fresh_rows(known, 2, torch.Generator().manual_seed(1))
    for part in inputs.split(batch):
        learn_(rows, part, known, 0.5)
    assert (rows @ known.T).abs().max() < 1e-5
    assert torch.linalg.svdvals(rows @ directions[2:].T).min() > 0.99
    before = rows.clone()
    learn_(rows, inputs[:50] @ known.T @ known, known, 0.5)  # of which nothing is left
    assert torch.equal(rows, before)


def test_one_round_of_learning_is_the_plain_loop(monkeypatch):
    monkeypatch.setattr("spikelore.continual.methods.hebbian._ROUNDS", 1)
    inputs = spectrum(count=6)[0].double()
    for known in (torch.zeros(0, 30).double(), joined(torch.zeros(0, 30), spectrum()[1][:2]).double()):
        rows = fresh_rows(known.float(), 3, torch.Generator().manual_seed(1)).double()
        expected, start = rows.clone(), rows.clone()
        left = [x - sum((q @ x) * q for q in known) for x in inputs]
        energy = sum(float(r @ r) for r in left) / len(left)
        for r in left:
            answers = [row @ r for row in start]
            back = sum(answer * row for answer, row in zip(answers, start, strict=True))
            for n in range(3):
                expected[n] += 0.5 / energy * answers[n] * (r - back) / len(left)
        learn_(rows, inputs, known, 0.5)
        torch.testing.assert_close(rows, expected)


def test_projected_steps_leave_the_answers_to_old_inputs_as_they_were():
    """Inputs of the first task span 12 dimensions a layer, all of which are learned: one image a class, each step."""
    told = sl.HebbianProjection(subspace_share=0.6)
    net = network(channels=(), hidden=(40,))
    learner = told.start(net, seed=0)
    learner.begin_task(0, (0, 1))
    for _ in range(150):
        learner.learn(PATTERNS[[0, 1]].astype(np.uint8), np.array([0, 1]), 0)
    learner.end_task(0)
    old = PATTERNS[[0, 1]].astype(np.uint8)
    before = net.class_scores(old)
    free = sl.Naive().start(net.copy(), seed=0)
    for each in (learner, free):
        teach(each, 1, batches=20)
    assert np.abs(free.network.class_scores(old) - before).max() > 0.5
    np.testing.assert_allclose(net.class_scores(old), before, atol=0.02)
    new, labels = batch_of((2, 3), 99, 60)
    assert (net.predict(new, (2, 3)) == labels).mean() > 0.9


def test_memory_of_subspaces_is_counted():
    learner = sl.HebbianProjection(subspace_share=0.25).start(network(), seed=0)
    assert learner.memory_bytes == 0
    teach(learner, 0, 2)
    # of 9 + 1 inputs of a convolution, 36 + 1 of the hidden layer and 20 + 1 of the head
    sizes = {"convolutions.0": (2, 10), "hidden.0": (9, 37), "heads.0": (5, 21)}
    assert {name: tuple(rows.shape) for name, rows in learner.known.items()} == sizes
    assert learner.memory_bytes == 4 * sum(rows * size for rows, size in sizes.values())
    teach(learner, 1, 2, end=False)
    assert {name: len(rows) for name, rows in learner.fresh.items()} == {
        "convolutions.0": 2, "hidden.0": 7, "heads.0": 4,
    }  # fmt: skip
    kept = [array for name, array in learner.state_dict()[0].items() if name.startswith(("subspace/", "fresh/"))]
    assert learner.memory_bytes == sum(array.nbytes for array in kept)


class Foreign(nn.Module):
    """Somebody's own module: a convolution, a learned threshold, and a linear layer that is called in each step."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.convolution, self.linear = nn.Conv2d(1, 3, 3, stride=2, padding=1), nn.Linear(48, 4)
        self.threshold = nn.Parameter(torch.tensor(0.1))

    def forward(self, images):
        hidden = torch.relu(self.convolution(images[:, None]) - self.threshold).flatten(1)
        return torch.stack([self.linear(hidden * n).sigmoid() for n in (1, 2)])


def test_what_enters_the_layers_gives_what_they_answer():
    """Weights times inputs are the currents, in a module of others and in ours."""
    images = torch.from_numpy(batch_of(CLASSES, 0, 5)[0]).float() / 255
    module = Foreign()
    found = presynaptic(module, images)
    hidden = torch.relu(module.convolution(images[:, None]) - module.threshold).flatten(1)
    assert torch.equal(found["linear"], F.pad(torch.cat([hidden, 2 * hidden]), (0, 1), value=1.0))
    weights = torch.cat([module.convolution.weight.flatten(1), module.convolution.bias[:, None]], 1)
    currents = (found["convolution"] @ weights.T).reshape(5, 16, 3).transpose(1, 2).reshape(5, 3, 4, 4)
    torch.testing.assert_close(currents, module.convolution(images[:, None]))

    ours = network(channels=(4, 6), kernel=2, coding="bernoulli")
    draws = ours.generator.get_state()
    found = presynaptic(ours, images)
    assert torch.equal(ours.generator.get_state(), draws)
    signal = ours.encode(images)
    signals = ours._signals(signal, 3)
    matrix, bias = ours._matrix(2)
    own = torch.cat([ours.hidden[0].weight, ours.hidden[0].bias[:, None]], 1)
    torch.testing.assert_close(found["hidden.0"] @ own.T, (signals[2].flatten(2) @ matrix.T + bias).flatten(0, 1))
    assert {name: rows.shape[1] for name, rows in found.items()} == {
        "convolutions.0": 5, "convolutions.1": 17, "hidden.0": 7, "heads.0": 21,
    }  # fmt: skip


def test_projection_works_on_a_module_of_others_and_holds_what_is_no_layer():
    module = Foreign()
    net = sl.TorchNetwork(module, CLASSES, (8, 8), learning=sl.GradientLearning(5e-3))
    learner = sl.HebbianProjection(subspace_share=0.5).start(net, seed=0)
    teach(learner, 0)
    threshold = module.threshold.item()
    assert threshold != pytest.approx(0.1)
    linear = module.linear.weight.detach().clone()
    teach(learner, 1)
    assert module.threshold.item() == threshold
    step = module.linear.weight.detach() - linear
    assert step.abs().max() > 1e-3
    with_bias = nn.Module()
    with_bias.conv = nn.Conv2d(2, 2, 3, groups=2)
    for bad, told in ((nn.Bilinear(2, 2, 2), "needs linear layers or convolutions"), (with_bias, "in groups")):
        with pytest.raises(sl.InputError, match=told) as error:
            sl.HebbianProjection().start(sl.TorchNetwork(bad, CLASSES, (8, 8)))
        assert "\n" not in str(error.value)


# Sleep --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reset", ["subtract", "zero"])
def test_sleep_is_the_plain_loop(reset):
    """Each neuron and synapse by itself."""
    neuron = Leaky(beta=0.8, threshold=0.5, reset=reset)
    rng = np.random.default_rng(0)
    sizes = (6, 5, 3)
    layers = [
        (rng.normal(0, 0.4, (after, before)).astype(np.float32), rng.normal(0, 0.2, after).astype(np.float32))
        for before, after in pairwise(sizes)
    ]
    spikes = (rng.random((4, 7, 6)) < 0.5).astype(np.float32)
    plain = [weights.tolist() for weights, _ in layers]
    changed = 0
    for image in range(7):
        state = [[[0.0, False] for _ in bias] for _, bias in layers]
        for step in range(4):
            entering = spikes[step, image].tolist()
            for (_, bias), weights, neurons in zip(layers, plain, state, strict=True):
                for i, one in enumerate(neurons):
                    potential, spiked = one
                    rest = 0.8 * potential - 0.5 * spiked if reset == "subtract" else 0.8 * potential * (not spiked)
                    one[0] = rest + 1.5 * sum(w * s for w, s in zip(weights[i], entering, strict=True)) + bias[i]
                    one[1] = one[0] > 0.5
                for i, (_, spiked) in enumerate(neurons):
                    for j, came in enumerate(entering):
                        if spiked:
                            move = 0.02 if came else -0.01
                            weights[i][j] += move * 2 / (1 + exp(min(weights[i][j] / 1e-3, 80)))
                            changed += 1
                entering = [float(spiked) for _, spiked in neurons]
    assert changed > 200
    before = layers[0][0].copy()
    sleep_(layers, spikes, neuron, gain=1.5, potentiation=0.02, depression=0.01)
    for (weights, _), expected in zip(layers, plain, strict=True):
        np.testing.assert_allclose(weights, expected, atol=1e-5)
    moved = layers[0][0] - before
    assert moved.min() < 0 < moved.max()
    assert np.array_equal(moved[before > 0.1], np.zeros_like(moved[before > 0.1]))


def test_noise_has_the_mean_image_under_a_window():
    mean = np.linspace(0, 1, 64).reshape(8, 8)
    found = noise(mean, 3000, 4, 2, np.random.default_rng(0))
    assert found.shape == (2, 3000, 8, 8)
    assert set(np.unique(found)) == {0.0, 1.0}
    rows = found.any((0, 3)).sum(1)  # rows with a spike
    assert rows.max() == 4
    np.testing.assert_allclose(found[:, :, 3:5, 3:5].mean((0, 1)), mean[3:5, 3:5] * 16 / 25, atol=0.04)
    whole = noise(mean, 2000, 99, 2, np.random.default_rng(0))
    np.testing.assert_allclose(whole.mean((0, 1)), mean, atol=0.03)


def test_sleep_changes_the_last_layers_alone_and_is_what_decides():
    told = sl.SleepReplay(sleep_images=30, gain=8.0, potentiation=0.01, depression=0.01)
    net = network()
    net.learning = sl.GradientLearning(learning_rate=5e-3, readout="drive", averaging=0.9)
    learner = told.start(net, seed=0)
    teach(learner, 0, end=False)
    averaged = {name: each.clone() for name, each in learner.averaged.items()}
    images = np.concatenate([batch_of((0, 1), number)[0] for number in range(6)])
    np.testing.assert_allclose(learner.pixels / learner.count, images.mean(0) / 255, rtol=1e-5)
    learner.end_task(0)
    now = dict(net.named_parameters())
    for name, each in averaged.items():
        changed = name in ("hidden.0.weight", "heads.0.weight")
        assert torch.equal(now[name], each) != changed, name
    with learner.asked():
        assert torch.equal(net.hidden[0].weight, now["hidden.0.weight"])
    assert learner.memory_bytes == 8 * (64 + 1)


def test_sleep_needs_layers_that_noise_can_drive():
    net = sl.TorchNetwork(Foreign(), CLASSES, (8, 8))
    assert sl.why_not(sl.SleepReplay(), net) == (
        "sleep needs fully connected layers of spiking neurons that noise can drive, which Foreign does not have"
    )


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        (sl.SynapticIntelligence, {"damping": 0.0}),
        (sl.SynapticIntelligence, {"consolidate_after": -1}),
        (sl.HebbianProjection, {"subspace_share": 0.0}),
        (sl.HebbianProjection, {"hebbian_rate": 1.5}),
        (sl.SleepReplay, {"gain": 0.0}),
        (sl.SleepReplay, {"depression": -0.1}),
        (sl.SleepReplay, {"patch": 0}),
        (sl.SleepReplay, {"loss_over": "some"}),
    ],
)
def test_wrong_settings_are_refused_with_their_name(kind, wrong):
    (name,) = wrong
    with pytest.raises(sl.InputError, match=name):
        kind(**wrong)
