"""Continual learners on a tiny stream: what each one's defining event does, and going on from a saved state."""

import re
import subprocess
import sys
from dataclasses import FrozenInstanceError, fields, replace

import numba
import numpy as np
import pytest
import torch
from torch import nn

from methods_by_name import create, settings_of, wrapped
from spikelore.continual.methods import FAULTS, METHODS, GradientReplay, MemorySettings
from spikelore.continual.methods.augment import augment
from spikelore.errors import InputError, SpikeloreError
from spikelore.experiments.learner_settings import LearnerSettings
from spikelore.kernels.lif_scan import Leaky
from spikelore.networks.gradient_learning import Augmentation, GradientLearning, RecordingAugmentation
from spikelore.networks.surrogate import SurrogateConfig, SurrogateNetwork
from spikelore.randomness import torch_generator

SHAPE = (8, 8)
CLASSES = (0, 1, 2, 3)
TASKS = ((0, 1), (2, 3))
NEURON = Leaky(beta=0.9, threshold=0.2, surrogate="atan", slope=2.0)
NETWORK = SurrogateConfig(
    image=(1, *SHAPE), channels=(4,), kernel=3, classes=4, steps=3, coding="constant", neuron=NEURON
)  # fmt: skip
MEMORY = MemorySettings(images=12)
PATTERNS = np.random.default_rng(7).integers(0, 215, (4, *SHAPE))
REPLAYING = ("experience replay", "gdumb", "der++", "latent replay")


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Small arrays are slower on many threads."""
    before = torch.get_num_threads(), numba.get_num_threads()
    torch.set_num_threads(1)
    numba.set_num_threads(1)
    yield
    torch.set_num_threads(before[0])
    numba.set_num_threads(before[1])


def images_of(labels: np.ndarray, seed: int = 0) -> np.ndarray:
    """Return images of each class's pattern under noise; the patterns overlap, so that one task disturbs another."""
    noise = np.random.default_rng(seed).integers(0, 40, (len(labels), *SHAPE))
    return (PATTERNS[labels] + noise).astype(np.uint8)


def batch_of(task: int, seed: int, size: int = 8) -> tuple[np.ndarray, np.ndarray]:
    labels = np.random.default_rng([task, seed]).choice(TASKS[task], size).astype(np.int64)
    return images_of(labels, seed), labels


def settings_for(method: str, **changes) -> LearnerSettings:
    own = {
        "published replay": {"stored_batches": 3, "grow_heads": True, "faults": FAULTS},
        "gdumb": {"rehearsal_steps": 10},
        "latent replay": {"freeze_after": 20},
    }.get(method, {})
    common = {"batch": 8, "replay_batch": 8, "learning_rate": 5e-3, "fisher_images": 10}
    return settings_of(method, **{**common, **own, **changes})


def learner_for(settings: LearnerSettings, memory: MemorySettings = MEMORY, seed: int = 0, network=None):
    config = replace(NETWORK, classes=0 if settings.grow_heads else 4)
    if settings.method == "published replay":
        config = replace(config, coding="bernoulli_once", membrane="reinitialised")
    network = network or SurrogateNetwork(config, torch_generator(seed, "network"))
    return create(network, settings, memory, CLASSES, SHAPE, seed, len(TASKS))


def teach(learner, task: int, first: int, last: int, begin: bool = True, end: bool = True) -> list[float]:
    if begin:
        learner.begin_task(task, TASKS[task])
        learner.begin_epoch(task)
    losses = [learner.learn(*batch_of(task, number), task) for number in range(first, last)]
    if end:
        learner.end_task(task)
    return losses


def everything(learner) -> dict[str, np.ndarray]:
    return learner.state_dict()[0]


@pytest.mark.parametrize("method", METHODS)
def test_a_learner_restored_in_the_middle_goes_on_bit_for_bit(method):
    settings = settings_for(method, averaging=0.9, augmentation=Augmentation(rotation=10, shift=1, elastic=0.3))
    first = learner_for(settings)
    teach(first, 0, 0, 6)
    teach(first, 1, 0, 3, end=False)
    arrays, facts = first.state_dict()
    second = learner_for(settings)
    second.load_state_dict(arrays, facts)
    for learner in (first, second):
        teach(learner, 1, 3, 6, begin=False)
    mine, theirs = everything(first), everything(second)
    assert mine.keys() == theirs.keys()
    for name in mine:
        assert np.array_equal(mine[name], theirs[name]), name
    assert first.state_dict()[1] == second.state_dict()[1]


def test_latent_replay_restored_before_it_freezes_draws_the_same_spikes():
    learners = [
        learner_for(
            settings_for("latent replay"),
            network=SurrogateNetwork(replace(NETWORK, coding="bernoulli"), torch_generator(0, "network")),
        )
        for _ in range(2)
    ]
    teach(learners[0], 0, 0, 2, end=False)
    learners[1].load_state_dict(*learners[0].state_dict())
    for learner in learners:
        teach(learner, 0, 2, 5, begin=False)
    mine, theirs = map(everything, learners)
    assert all(np.array_equal(mine[name], theirs[name]) for name in mine)


@pytest.mark.parametrize("method", METHODS)
def test_asking_does_not_disturb_learning(method):
    quiet, asked = learner_for(settings_for(method)), learner_for(settings_for(method))
    for learner in (quiet, asked):
        teach(learner, 0, 0, 4, end=False)
        if learner is asked:
            with learner.asked():
                learner.decide(batch_of(0, 9)[0], (0, 1))
        teach(learner, 0, 4, 8, begin=False)
    for name, array in everything(quiet).items():
        assert np.array_equal(array, everything(asked)[name]), name


def accuracy_on(learner, task: int) -> float:
    images, labels = batch_of(task, 99, 60)
    with learner.asked():
        return float((learner.decide(images, CLASSES) == labels).mean())


@pytest.mark.parametrize("method", REPLAYING)
def test_replay_keeps_what_naive_learning_forgets(method, learned, seed):
    naive = learner_for(settings_for("naive", readout="drive"), MemorySettings(), seed)
    settings = settings_for(method, readout="drive", rehearsal_steps=120 if method == "gdumb" else 0)
    kept = learner_for(settings, seed=seed)
    for learner in (naive, kept):
        for task in (0, 1):
            teach(learner, task, 0, 120)
    learned("naive on the first task", accuracy_on(naive, 0), at_most=0.2)
    learned("replay on the first task", accuracy_on(kept, 0), at_least=0.8)
    learned("replay on the second task", accuracy_on(kept, 1), at_least=0.8)


def test_a_memory_bounds_what_is_kept_and_holds_the_classes_alike():
    learner = learner_for(settings_for("experience replay"))
    for task in (0, 1):
        teach(learner, task, 0, 10)
    assert (learner.memory_images, learner.memory_bytes) == (12, 12 * 65)
    assert np.bincount(learner.memory.labels).tolist() == [3, 3, 3, 3]


def test_spikes_are_stored_in_bits_and_come_back_as_the_network_sees_them():
    memory = MemorySettings(bytes=90, storage="spikes")
    learner = learner_for(settings_for("experience replay", input="spikes"), memory)
    assert (learner.memory_images, learner.memory_bytes) == (10, 90)
    images, labels = batch_of(0, 0)
    learner.learn(images, labels, 0)
    inputs, columns, _ = learner.replayed(50)
    expected = {tuple(row) for row in (images >= 128).reshape(8, -1).tolist()}
    assert {tuple(row) for row in inputs.bool().reshape(50, -1).tolist()} == expected
    assert set(columns.tolist()) == set(labels.tolist())


def test_loss_over_the_batch_leaves_the_other_outputs_alone():
    grads = {}
    for over in ("all", "seen", "batch"):
        learner = learner_for(settings_for("experience replay", loss_over=over))
        learner.seen = [0, 1, 2]
        logits = torch.zeros(4, 4, requires_grad=True)
        learner.new_images_loss(logits, torch.tensor([2, 2, 1, 2])).backward()
        grads[over] = (logits.grad.abs().sum(0) > 0).tolist()
    assert grads == {
        "all": [True] * 4, "seen": [True, True, True, False], "batch": [False, True, True, False]
    }  # fmt: skip


def test_der_keeps_the_logits_of_arrival():
    learner = learner_for(settings_for("der++"))
    images, labels = batch_of(0, 0)
    with torch.no_grad():
        before = learner.logits(learner.to_input(images))
    learner.learn(images, labels, 0)
    rows, _, extras = learner.memory.get(np.arange(len(learner.memory)))
    for row, logits in zip(learner.storage.unpack(rows), extras, strict=True):
        n = next(n for n in range(8) if np.array_equal(images[n], row))
        assert torch.equal(torch.from_numpy(logits), before[n])
    assert learner.memory_bytes == 12 * (64 + 1 + 16)


def test_gdumb_learns_only_when_asked_and_from_fresh_weights():
    learner = learner_for(settings_for("gdumb", rehearsal_steps=20))
    before = {name: tensor.clone() for name, tensor in learner.module.state_dict().items()}
    teach(learner, 0, 0, 5)
    assert all(torch.equal(before[name], tensor) for name, tensor in learner.module.state_dict().items())
    with learner.asked():
        changed = [not torch.equal(before[name], tensor) for name, tensor in learner.module.state_dict().items()]
    assert any(changed)


def test_latent_replay_holds_images_until_it_freezes_and_spikes_of_the_frozen_layer_from_then_on():
    learner = learner_for(settings_for("latent replay"), MemorySettings(bytes=12 * 65))
    shown = np.concatenate([batch_of(0, number)[0] for number in range(3)])

    def held() -> set[bytes]:
        return {bytes(row) for row in learner.memory.get(learner.memory.taken())[0]}

    teach(learner, 0, 0, 2, end=False)
    assert len(held()) == 12
    assert held() <= {bytes(image) for image in shown[:16]}
    teach(learner, 0, 2, 3, begin=False, end=False)  # 24 images: frozen
    spikes = learner.storage.pack(learner._features(shown).transpose(0, 1).numpy())
    assert held() <= {bytes(row).ljust(64, b"\0") for row in spikes}
    assert learner.memory_bytes == 12 * 65
    frozen = [tensor.clone() for tensor in learner.module.convolutions.parameters()]
    assert len(learner.memory) == 12
    heads = [tensor.clone() for tensor in learner.module.heads.parameters()]
    teach(learner, 1, 0, 4)
    assert all(torch.equal(a, b) for a, b in zip(frozen, learner.module.convolutions.parameters(), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(heads, learner.module.heads.parameters(), strict=True))
    assert learner.storage.row_bytes == -(-3 * 4 * 3 * 3 // 8)


def test_ewc_holds_weights_that_mattered_and_its_penalty_is_the_formula():
    learner = learner_for(settings_for("ewc", strength=3.0), MemorySettings())
    teach(learner, 0, 0, 5)
    images, labels = batch_of(1, 0)
    columns = learner.columns(labels)
    plain = torch.nn.functional.cross_entropy(learner.logits(learner.to_input(images)), columns)
    assert learner.loss(images, labels, columns, 1).item() == pytest.approx(plain.item())
    name, parameter = next(iter(learner.module.named_parameters()))
    assert learner.importance[name].max() > 0
    with torch.no_grad():
        parameter += 0.01
    plain = torch.nn.functional.cross_entropy(learner.logits(learner.to_input(images)), columns)
    expected = plain.item() + 3.0 / 2 * float(learner.importance[name].sum()) * 0.01**2
    assert learner.loss(images, labels, columns, 1).item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("method", ["ewc", "lwf"])
def test_what_protects_old_knowledge_without_old_images_is_counted(method):
    learner = learner_for(settings_for(method), MemorySettings())
    teach(learner, 0, 0, 2)
    learner.begin_task(1, TASKS[1])
    kept = [array for name, array in everything(learner).items() if name.startswith(("fisher/", "anchor/", "old/"))]
    sample = 10 * 65 if method == "ewc" else 0
    assert learner.memory_bytes == sum(array.nbytes for array in kept) + sample
    assert learner.memory_images == 0


def test_lwf_shows_the_old_and_the_new_network_the_same_spikes():
    network = SurrogateNetwork(replace(NETWORK, coding="bernoulli"), torch_generator(0, "network"))
    learner = learner_for(settings_for("lwf"), MemorySettings(), network=network)
    teach(learner, 0, 0, 5)
    learner.begin_task(1, TASKS[1])
    images, labels = batch_of(1, 0)
    columns = learner.columns(labels)
    draws = network.generator.get_state()
    plain = torch.nn.functional.cross_entropy(learner.logits(learner.to_input(images)), columns)
    network.generator.set_state(draws)
    assert learner.loss(images, labels, columns, 1).item() == pytest.approx(plain.item(), abs=1e-6)


@pytest.mark.parametrize("method", ["experience replay", "gdumb", "published replay"])
@pytest.mark.parametrize("convert", [lambda images: images / 255, torch.from_numpy, lambda images: images[:, None]])
def test_images_of_another_kind_are_refused(method, convert):
    learner = learner_for(settings_for(method))
    learner.begin_task(0, TASKS[0])
    images, labels = batch_of(0, 0)
    with pytest.raises(InputError, match="expected a NumPy array"):
        learner.learn(convert(images), labels, 0)


@pytest.mark.parametrize("readout", ["spikes", "drive"])
def test_lwf_adds_the_distance_to_the_old_outputs(readout):
    learner = learner_for(settings_for("lwf", readout=readout), MemorySettings())
    teach(learner, 0, 0, 5)
    learner.begin_task(1, TASKS[1])
    images, labels = batch_of(1, 0)
    columns = learner.columns(labels)
    logits = learner.logits(learner.to_input(images))
    plain = torch.nn.functional.cross_entropy(logits, columns)
    assert learner.loss(images, labels, columns, 1).item() == pytest.approx(plain.item(), abs=1e-6)
    with torch.no_grad():
        for parameter in learner.module.heads.parameters():
            parameter *= -3
    moved = torch.nn.functional.cross_entropy(learner.logits(learner.to_input(images)), columns)
    assert learner.loss(images, labels, columns, 1).item() > moved.item() + 1e-3


def test_averaged_weights_decide_and_are_a_running_mean():
    learner = learner_for(settings_for("experience replay", averaging=0.9))
    name = next(iter(dict(learner.module.named_parameters())))
    expected = None
    for number in range(4):
        learner.learn(*batch_of(0, number), 0)
        now = dict(learner.module.named_parameters())[name].detach().clone()
        decay = min(0.9, (number + 1) / (number + 10))
        expected = now if expected is None else expected * decay + now * (1 - decay)
    assert torch.allclose(learner.averaged[name], expected, atol=1e-7)
    with learner.asked():
        assert torch.allclose(dict(learner.module.named_parameters())[name], expected, atol=1e-7)


class Layered(nn.Module):
    """Somebody's own module in two parts."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 4)

    def features(self, images: torch.Tensor) -> torch.Tensor:
        return (images.flatten(1) > 0.5).float().unsqueeze(0)

    def head(self, features: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(self.layer(features)).expand(3, -1, -1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(images))


class Linear(nn.Module):
    """Somebody's own module: a linear layer that spikes at three thresholds."""

    def __init__(self) -> None:
        super().__init__()
        torch.nn.init.normal_(torch.empty(1), generator=torch.Generator())
        self.layer = nn.Linear(64, 4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        drive = self.layer(images.flatten(1))
        soft = torch.stack([torch.sigmoid(4 * (drive - level)) for level in (0.0, 0.5, 1.0)])
        return soft + ((soft > 0.5).float() - soft).detach()


@pytest.mark.parametrize("method", ["naive", "experience replay", "gdumb", "der++", "ewc", "lwf"])
def test_any_module_from_images_to_spikes_over_time_learns(method):
    memory = MEMORY if method in REPLAYING else MemorySettings()
    learner = learner_for(settings_for(method), memory, network=Linear())
    losses = teach(learner, 0, 0, 30)
    if method == "gdumb":  # learns when it is asked alone
        assert losses == [0.0] * 30
    else:
        assert np.mean(losses[-5:]) < np.mean(losses[:5])
    before = parameters(learner)
    with learner.asked():
        assert bool(moved(before, learner)) == (method == "gdumb")
        assert set(learner.decide(batch_of(0, 50)[0], (0, 1))) <= {0, 1}


@pytest.mark.parametrize(
    ("method", "changes", "sentence"),
    [
        ("latent replay", {}, "needs a network with features and head, which Linear does not have"),
        ("published replay", {}, "needs a network with add_head, which Linear does not have"),
        ("naive", {"readout": "drive"}, "needs output potentials, which Linear does not give"),
    ],
)
def test_what_a_module_cannot_do_is_refused(method, changes, sentence):
    with pytest.raises(InputError, match=sentence):
        teach(learner_for(settings_for(method, **changes), network=Linear()), 0, 0, 1)


def test_latent_replay_refuses_features_that_are_no_spikes():
    network = SurrogateNetwork(replace(NETWORK, split=0), torch_generator(0, "network"))
    with pytest.raises(InputError, match="features of SurrogateNetwork are not all 0 or 1"):
        learner_for(settings_for("latent replay"), network=network)
    learner_for(settings_for("latent replay", input="spikes"), network=network)


@pytest.mark.parametrize("readout", ["spikes", "drive"])
def test_fewer_outputs_than_classes_are_refused(readout):
    network = SurrogateNetwork(replace(NETWORK, classes=2), torch_generator(0, "network"))
    learner = learner_for(settings_for("experience replay", readout=readout), network=network)
    with pytest.raises(InputError, match="the network has 2 outputs, expected one for each of the 4 classes"):
        learner.learn(*batch_of(1, 0), 0)


def test_a_ring_memory_needs_to_be_told_tasks():
    learner = learner_for(settings_for("experience replay"), MemorySettings(images=13, policy="ring"))
    assert learner.memory_images == 12
    with pytest.raises(InputError, match=r"examples of task -1 were offered to a ring memory, expected one in 0\.\.1"):
        learner.learn(*batch_of(0, 0), -1)


def test_labels_outside_the_head_are_refused_and_change_nothing():
    learner = learner_for(settings_for("experience replay"))
    before = everything(learner)
    images, _ = batch_of(0, 0)
    with pytest.raises(InputError, match=r"label 7 is outside the head, whose outputs stand for \[0, 1, 2, 3\]"):
        learner.learn(images, np.full(8, 7, np.int64), 0)
    for name, array in everything(learner).items():
        assert np.array_equal(array, before[name]), name


def test_a_loss_that_is_no_number_changes_no_weight():
    learner = learner_for(settings_for("naive"), MemorySettings())
    learner.logits = lambda inputs: torch.full((len(inputs), 4), float("nan"), requires_grad=True)
    before = everything(learner)
    with pytest.raises(SpikeloreError, match="loss is nan"):
        learner.learn(*batch_of(0, 0), 0)
    assert all(np.array_equal(array, everything(learner)[name]) for name, array in before.items())


@pytest.mark.parametrize("budget", [{"images": 0}, {"images": 3}, {"bytes": 200}])
def test_a_memory_smaller_than_the_classes_is_refused(budget):
    with pytest.raises(InputError, match=r"fewer than the 4 classes|budget of 0 images and 0 bytes"):
        learner_for(settings_for("experience replay"), MemorySettings(**budget))


# The published replay and its faults -------------------------------------------------------------------------------


def published(*faults: str, stored: int = 3, grow: bool = True):
    settings = settings_for("published replay")
    return learner_for(replace(settings, faults=faults, stored_batches=stored, grow_heads=grow), MemorySettings())


def parameters(learner) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in learner.module.named_parameters()}


def moved(before: dict[str, torch.Tensor], learner) -> set[str]:
    """Return which of the parameters changed: 'convolutions', 'heads.0', 'heads.1'."""
    after = parameters(learner)
    changed = {name for name, tensor in before.items() if not torch.equal(tensor, after[name])}
    return {name.split(".")[0] if name.startswith("conv") else ".".join(name.split(".")[:2]) for name in changed}


def second_epoch(learner) -> set[str]:
    """Teach task 0, begin task 1, and return what the replay at the start of its epoch moved."""
    teach(learner, 0, 0, 30)
    assert learner.stored[0] == 3
    learner.begin_task(1, TASKS[1])
    before = parameters(learner)
    learner.begin_epoch(1)
    return moved(before, learner)


def test_replay_trains_the_old_head_and_with_its_fault_the_convolutions_alone():
    assert second_epoch(published()) == {"convolutions", "heads.0"}
    assert second_epoch(published("heads not replayed")) == {"convolutions"}


def test_replay_of_task_0_moves_the_new_head_too_if_it_counts_as_no_task():
    assert "heads.1" in second_epoch(published("task 0 as no task"))


def test_replayed_targets_are_their_own_or_with_the_fault_all_the_second_class():
    labels = np.array([0, 1, 1, 0], np.int64)
    learner = published()
    for task in (0, 1):
        learner.begin_task(task, TASKS[task])
    assert learner._in_head(labels, 0).tolist() == [0, 1, 1, 0]
    assert learner._in_head(labels, 1, foreign=True).tolist() == [1, 1, 1, 1]
    with pytest.raises(InputError, match=r"label 0 came with task 2, whose head stands for \[2, 3\]"):
        learner._in_head(labels, 1)
    seen = {}
    for faults in ((), ("targets of the current task",)):
        learner = published(*faults)
        teach(learner, 0, 0, 30)
        learner.begin_task(1, TASKS[1])
        asked = []
        original = learner._in_head
        learner._in_head = lambda labels, task, asked=asked, original=original, **options: (
            asked.append(task) or original(labels, task, **options)
        )
        learner.begin_epoch(1)
        seen[faults] = asked
    assert list(seen.values()) == [[0, 0, 0], [1, 1, 1]]


def test_saved_before_the_end_tests_an_older_network_without_aligned_heads():
    answers = {}
    for faults in ((), ("saved before the end",)):
        learner = published(*faults)
        teach(learner, 0, 0, 5)
        teach(learner, 1, 0, 5)
        with learner.asked():
            answers[faults] = parameters(learner)
    norms = [[float(each[f"heads.{n}.weight"].norm(dim=1).mean()) for n in (0, 1)] for each in answers.values()]
    assert norms[0][0] == pytest.approx(norms[0][1], rel=1e-5)
    assert norms[1][0] != pytest.approx(norms[1][1], rel=1e-5)


def test_batches_are_stored_as_the_spikes_that_were_drawn():
    learner = published(stored=2, grow=False)
    learner.module = SurrogateNetwork(replace(NETWORK, coding="bernoulli_once"), torch_generator(0, "n"))
    learner.optimiser = torch.optim.Adam(learner.module.parameters())
    learner.begin_task(0, TASKS[0])
    shown = []
    for number in range(20):
        learner.learn(*batch_of(0, number), 0)
        shown.append(learner.drawn.copy())
    assert learner.stored[0] == 2
    assert learner.memory_bytes == 2 * 2 * 8 * (8 + 1)
    for number in range(2):
        kept = learner.store.unpack(learner.rows[0, number])
        assert any(np.array_equal(kept, drawn) for drawn in shown)


def test_steps_that_are_alike_count_as_many_times_as_there_are_steps():
    """The published network computes one step for all: spikes and gradients equal those of a loop over T."""
    config = replace(NETWORK, membrane="reinitialised", coding="bernoulli_once", steps=5)
    network = SurrogateNetwork(config, torch_generator(0, "network"))
    inputs = torch.from_numpy((batch_of(0, 0)[0] > 128).astype(np.float32))
    columns = torch.tensor([0, 1, 2, 3] * 2)
    one = SurrogateNetwork(replace(config, steps=1), torch_generator(0, "network"))
    looped = sum(one(inputs)[0] for _ in range(5))
    together = network(inputs).sum(0)
    assert torch.equal(looped, together)
    assert looped.max() == 5
    for logits in (together, looped):
        torch.nn.functional.cross_entropy(logits, columns).backward()
    for first, second in zip(network.parameters(), one.parameters(), strict=True):
        assert torch.allclose(first.grad, second.grad, rtol=1e-5, atol=1e-7)


# Augmentation -------------------------------------------------------------------------------------------------------


def test_a_band_of_rows_is_dark():
    images = torch.ones(200, 20, 6)
    changed = augment(images, Augmentation(band=0.5), torch.Generator().manual_seed(0))
    dark = changed.lt(0.5)
    assert torch.equal(dark.all(2), dark.any(2))  # whole rows
    count = dark.all(2).sum(1)
    assert 0 <= count.min() < 3
    assert 8 < count.max() <= 10
    starts = dark.all(2).int().diff(dim=1).gt(0).sum(1) + dark[:, 0, 0]
    assert starts.max() == 1  # neighbours


def test_no_augmentation_gives_the_image_back_and_a_shift_moves_it():
    images = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(1)
    assert torch.allclose(augment(images, Augmentation(), generator), images, atol=1e-5)
    moved_images = augment(images, Augmentation(shift=2), generator)
    assert not torch.allclose(moved_images, images, atol=0.05)
    assert moved_images.min() >= 0


@pytest.mark.parametrize("shape", [(24, 60), (60, 24)])
@pytest.mark.parametrize("by", [{"rotation": 40.0}, {"shear": 0.4}, {"scale": 0.3}, {"shift": 3.0}, "all"])
def test_an_image_that_is_not_square_changes_as_in_the_middle_of_a_square_one(shape, by):
    changes = Augmentation(rotation=40.0, shear=0.4, scale=0.3, shift=3.0) if by == "all" else Augmentation(**by)
    images = torch.rand(20, *shape, generator=torch.Generator().manual_seed(0))
    rows, columns = ((60 - side) // 2 for side in shape)
    middle = (slice(None), slice(rows, rows + shape[0]), slice(columns, columns + shape[1]))
    square = torch.zeros(20, 60, 60)
    square[middle] = images
    found = augment(images, changes, torch.Generator().manual_seed(1))
    expected = augment(square, changes, torch.Generator().manual_seed(1))[middle]
    assert torch.allclose(found, expected, atol=1e-3)
    assert not torch.allclose(found, images, atol=0.1)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"method": "magic"}, "method is 'magic'"),
        ({"epochs": 0}, "epochs is 0"),
        ({"learning_rate": -1.0}, "learning_rate is -1.0"),
        ({"averaging": 1.0}, "averaging is 1.0"),
        ({"method": "published replay", "faults": ("gremlins",)}, "faults has 'gremlins'"),
        ({"loss_over": "none"}, "loss_over is 'none'"),
        ({"input": "colour"}, "input is 'colour', expected one of grey, spikes"),
        ({"readout": "rate"}, "readout is 'rate'"),
        ({"method": "gdumb"}, "rehearsal_steps is 0, expected at least 1 with gdumb"),
        ({"method": "latent replay", "rehearsal_steps": 3}, "rehearsal_steps is 3, expected 0 with latent replay"),
        ({"stored_batches": 3}, "stored_batches is 3, expected 0 with experience replay"),
        ({"method": "joint", "faults": ("heads not replayed",)}, "faults is .*, expected \\(\\) with joint"),
        ({"method": "published replay", "readout": "drive"}, "readout is 'drive', expected 'spikes' with published"),
        ({"method": "published replay", "input": "spikes"}, "input is 'spikes', expected 'grey' with published"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes, sentence):
    memory = MemorySettings() if changes.get("method") in ("joint", "published replay") else MEMORY
    with pytest.raises(InputError, match=sentence):
        LearnerSettings(**changes).split(memory)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Augmentation(shift=-1), r"augmentation\.shift is -1"),
        (lambda: Augmentation(band=1.5), r"augmentation\.band is 1\.5, expected a share, 0 to 1; 0\.5 is usual"),
        (lambda: MemorySettings(images=9, policy="best"), "memory.policy is 'best', expected one of reservoir"),  # type: ignore[arg-type]
        (lambda: MemorySettings(images=9, storage="zip"), "memory.storage is 'zip'"),  # type: ignore[arg-type]
    ],
)
def test_augmentation_and_memory_that_make_no_sense_are_refused(make, sentence):
    with pytest.raises(InputError, match=sentence):
        make()


def made(kind, **values):
    """Return a method of this class with what it cannot do without."""
    needed = {"memory": MEMORY} if "memory" in kind.__dataclass_fields__ else {}
    return kind(**needed, **({"rehearsal_steps": 2} if kind.name == "gdumb" else {}), **values)


@pytest.mark.parametrize("kind", [*METHODS.values(), GradientReplay])
def test_a_method_is_a_value_and_its_learners_are_of_its_own_class(kind):
    method = made(kind)
    assert method == made(kind)
    assert hash(method) == hash(made(kind))
    assert method != made(kind, batch=7)
    with pytest.raises(FrozenInstanceError):
        method.batch = 3
    module = SurrogateNetwork(NETWORK, torch_generator(0, "network")) if kind.name == "sleep" else Layered()
    learner = method.start(wrapped(module, CLASSES, SHAPE, GradientLearning()), tasks=2)
    module, _, name = kind.learner.partition(":")
    assert (type(learner).__module__, type(learner).__name__) == (module, name)
    assert learner.method is method


@pytest.mark.parametrize("kind", METHODS.values())
def test_no_setting_that_a_method_does_not_use_can_be_given(kind):
    used = LearnerSettings(kind.name).used
    other = {
        "balanced_replay": False, "loss_over": "seen", "augmentation": Augmentation(shift=1), "rehearsal_steps": 3,
        "faults": (FAULTS[0],), "grow_heads": True, "readout": "drive", "input": "spikes", "averaging": 0.5,
        "options": {"size": 3}, "hebbian_rate": 0.5, "replay_order": "after",
        "image_augmentation": Augmentation(band=0.3), "recording_augmentation": RecordingAugmentation(shift=0.1),
    }  # fmt: skip
    memory = MEMORY if "memory" in kind.__dataclass_fields__ else MemorySettings()
    whole = LearnerSettings(kind.name, **({"rehearsal_steps": 2} if "rehearsal_steps" in used else {}))
    whole.split(memory)
    refused, apart = [], ("method", "around", "around_options")
    settings = [one for one in fields(LearnerSettings) if one.name not in apart]
    for one in settings:
        value = other.get(one.name, 2 * one.default if one.name not in other and one.default else 3)
        changed = replace(whole, **{one.name: value})
        if one.name in used:
            method, learning = changed.split(memory)
            assert getattr(method, used[one.name]) == value if used[one.name] else getattr(learning, one.name) == value
            continue
        with pytest.raises(InputError, match=rf"^{one.name} is .* with {re.escape(kind.name)}, which does not use it"):
            changed.split(memory)
        with pytest.raises(TypeError):
            made(kind, **{one.name: value})
        refused.append(one.name)
    assert "options" in refused
    assert len(refused) + len(used) == len(settings)


def test_methods_are_told_without_torch():
    lines = (
        "import sys, spikelore.continual.methods, spikelore.experiments.learner_settings; print('torch' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"


class Projected(GradientReplay):
    name = "projected"

    def gradient(self, learner, new, stored):
        return self.make(new, stored)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda new, stored: new * float("nan"), "^gradient of projected returned numbers that are not finite; no w"),
        (lambda new, stored: 1 / 0, "^gradient of projected failed, no weight was changed: ZeroDivisionError"),
        (lambda new, stored: new[:3], r"^gradient of projected returned a float32 tensor \(3,\), expected a vector"),
        (lambda new, stored: None, "^gradient of projected returned None, expected a vector"),
    ],
)
def test_a_gradient_that_is_none_changes_nothing(make, sentence, monkeypatch):
    monkeypatch.setattr(Projected, "make", staticmethod(make), raising=False)
    learner = Projected(MEMORY, batch=8, replay_batch=8).start(wrapped(Layered(), CLASSES, SHAPE, GradientLearning()))
    learner.learn(*batch_of(0, 0), 0)
    before, facts = learner.state_dict()
    with pytest.raises(SpikeloreError, match=sentence):
        learner.learn(*batch_of(0, 1), 0)
    after = everything(learner)
    assert learner.state_dict()[1] == facts
    assert all(np.array_equal(after[name], array) for name, array in before.items())


def test_a_gradient_of_ones_own_is_the_one_that_is_followed(monkeypatch):
    seen = []
    monkeypatch.setattr(
        Projected, "make", staticmethod(lambda new, stored: seen.append((new, stored)) or stored.numpy()), raising=False
    )
    learner = Projected(MEMORY, batch=8, replay_batch=8).start(wrapped(Layered(), CLASSES, SHAPE, GradientLearning()))
    learner.learn(*batch_of(0, 0), 0)
    assert not seen  # nothing was stored yet
    learner.learn(*batch_of(0, 1), 0)
    ((new, stored),) = seen
    weights = list(learner.module.parameters())
    assert new.shape == stored.shape == (sum(each.numel() for each in weights),)
    assert torch.equal(torch.cat([each.grad.flatten() for each in weights]), stored)
    assert not torch.equal(new, stored)


def test_growing_keeps_what_was_learned_and_gives_the_optimiser_the_new_outputs():
    learner = learner_for(settings_for("der++", averaging=0.9))
    teach(learner, 0, 0, 4)
    before = everything(learner)
    learner.grow((7, 5), 3)
    assert learner.classes == (0, 1, 2, 3, 7, 5)
    after = everything(learner)
    heads = [name for name in before if name.startswith(("network/", "optimiser/", "averaged/"))]
    assert all(np.array_equal(after[name], before[name]) for name in heads)
    assert after["network/heads.1.weight"].shape[0] == 2
    assert np.isnan(after["memory/extras"][after["memory/labels"] >= 0][:, 4:]).all()
    labels = np.array([7, 5, 7, 5], np.int64)
    learner.learn(images_of(labels % 4), labels, 2)
    learned = everything(learner)
    assert not np.array_equal(learned["network/heads.1.weight"], after["network/heads.1.weight"])
    assert float(learned["optimiser/0/step"]) == float(before["optimiser/0/step"]) + 1
    new = [name for name in learned if name.startswith("optimiser/") and name not in before and name.endswith("/step")]
    assert [float(learned[name]) for name in new] == [1, 1]


def test_logits_are_compared_only_where_they_were_there():
    learner = learner_for(settings_for("der++", strength=2.0, replay_strength=0.0))
    teach(learner, 0, 0, 4)
    learner.grow((7,), 3)
    images, labels = batch_of(0, 9)
    columns = learner.columns(labels)
    state = learner.memory.rng.bit_generator.state
    value = learner.loss(images, labels, columns, 0)
    learner.memory.rng.bit_generator.state = state
    first, _, kept = learner.replayed(8)
    matched = learner.logits(first)[:, :4]
    expected = learner.new_images_loss(learner.logits(learner.to_input(images)), columns)
    assert value.item() == pytest.approx((expected + 2 * ((matched - kept[:, :4]) ** 2).mean()).item(), rel=1e-5)


def test_a_module_without_add_head_grows_as_far_as_it_has_outputs():
    learner = learner_for(settings_for("naive"), MemorySettings(), network=Linear())
    outputs = Linear()(torch.zeros(1, *SHAPE)).shape[2]
    assert outputs == 4
    with pytest.raises(InputError, match=r"^Linear has 4 outputs and no add_head, expected .* the 5 classes; give it"):
        learner.grow((9,), 3)
    assert learner.classes == CLASSES
    narrow = create(Linear(), settings_for("naive"), MemorySettings(), (0, 1), SHAPE, 0, 1)
    narrow.grow((3, 2), 2)
    narrow.learn(*batch_of(1, 0), 1)
    assert narrow.classes == (0, 1, 3, 2)
    with pytest.raises(InputError, match="class 3 is there already"):
        narrow.grow((3,), 3)


def test_a_memory_too_small_for_the_new_classes_is_refused_and_nothing_changes():
    learner = learner_for(settings_for("experience replay"), MemorySettings(images=5))
    teach(learner, 0, 0, 3)
    before, facts = learner.state_dict()
    with pytest.raises(InputError, match="holds 5 examples, fewer than the 6 classes"):
        learner.grow((4, 5), 3)
    assert learner.state_dict()[1] == facts
    assert all(np.array_equal(array, before[name]) for name, array in everything(learner).items())
