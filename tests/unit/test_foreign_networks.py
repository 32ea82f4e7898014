"""Networks of others: every method crossed with modules of odd attributes, state, outputs and layers."""

import copy
import re
from collections import deque
from functools import partial
from pathlib import Path

import numba
import numpy as np
import pytest
import torch
from torch import nn

from methods_by_name import create, settings_of
from spikelore.continual.methods import METHODS as EVERY
from spikelore.continual.methods import MemorySettings
from spikelore.errors import InputError, SpikeloreError
from spikelore.learning.surrogate_gradient import adam, epoch_, membrane_loss, predict, rate_loss, spike_count_loss
from spikelore.networks.foreign import at_rest
from spikelore.networks.stepwise import stepwise
from spikelore.networks.surrogate import SurrogateConfig, SurrogateNetwork
from spikelore.randomness import torch_generator

SHAPE = (6, 6)
CLASSES = (3, 5, 7, 9)
TASKS = ((3, 5), (7, 9))
STEPS, HIDDEN = 3, 12
METHODS = [method for method in EVERY if method != "sleep"]  # which runs layers of known neurons alone
WITH_MEMORY = ("experience replay", "gdumb", "der++", "latent replay")


@pytest.fixture(autouse=True)
def one_thread_and_seed():
    """Small arrays are slower on many threads; modules of others draw their weights from torch's generator."""
    before = torch.get_num_threads(), numba.get_num_threads()
    torch.set_num_threads(1)
    numba.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(before[0])
    numba.set_num_threads(before[1])


class _Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx, drive):
        ctx.save_for_backward(drive)
        return (drive > 0).to(drive.dtype)

    @staticmethod
    def backward(ctx, gradient):
        return gradient / (1 + ctx.saved_tensors[0].abs()) ** 2


def spike(drive: torch.Tensor) -> torch.Tensor:
    return _Spike.apply(drive)  # type: ignore[return-value]


class Plain(nn.Module):
    """Two layers of leaky neurons, cut between them, with their potentials in local variables."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(36, HIDDEN), nn.Linear(HIDDEN, 4)

    def currents(self, images: torch.Tensor) -> torch.Tensor:
        return self.first(images.flatten(1) * 2)

    def features(self, images: torch.Tensor) -> torch.Tensor:
        potential, spikes = torch.zeros(()), []
        for _ in range(STEPS):
            potential = 0.8 * potential + self.currents(images)
            spikes.append(spike(potential - 0.3))
        return torch.stack(spikes)

    def head(self, features: torch.Tensor) -> torch.Tensor:
        return spike(torch.cumsum(self.second(features), 0) - 0.2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(images))


class Pair(Plain):
    def forward(self, images):
        return super().forward(images), torch.zeros(1)


class Listed(Plain):
    def forward(self, images):
        return [super().forward(images), None]


class Remembering(Plain):
    """The potential survives from call to call; subclasses say where. A call that does not begin from rest fires."""

    def features(self, images):
        spikes = []
        for _ in range(STEPS):
            before = self.recall()
            fits = isinstance(before, torch.Tensor) and before.shape[:1] == images.shape[:1]
            potential = (0.8 * before if fits else 0) + self.currents(images)
            self.store(potential)
            spikes.append(spike(potential - 0.3))
        return torch.stack(spikes)


class Buffered(Remembering):
    def __init__(self):
        super().__init__()
        self.register_buffer("membrane", torch.zeros(0))

    def recall(self):
        return self.membrane

    def store(self, potential):
        self.membrane = potential


class NoneBuffered(Buffered):
    def __init__(self):
        super().__init__()
        self.register_buffer("membrane", None)


class UnsavedBuffer(Buffered):
    def __init__(self):
        super().__init__()
        self.register_buffer("membrane", torch.zeros(0), persistent=False)


class Attributed(Remembering):
    membrane = None

    def recall(self):
        return self.membrane

    def store(self, potential):
        self.membrane = potential


class InList(Remembering):
    def __init__(self):
        super().__init__()
        self.states = [None]

    def recall(self):
        return self.states[-1]

    def store(self, potential):
        self.states.append(potential)


class InDeque(InList):
    def __init__(self):
        super().__init__()
        self.states = deque([None], maxlen=2)


class InNestedDict(Remembering):
    def __init__(self):
        super().__init__()
        self.states = {"layers": {}}

    def recall(self):
        return self.states["layers"].get("first")

    def store(self, potential):
        self.states["layers"]["first"] = potential


class Cell:
    value = None


class InObject(Remembering):
    """The neuron is no module, just an object."""

    def __init__(self):
        super().__init__()
        self.cell = Cell()

    def recall(self):
        return self.cell.value

    def store(self, potential):
        self.cell.value = potential


class InPlace(Remembering):
    """One value, changed in place."""

    def __init__(self):
        super().__init__()
        self.level = torch.zeros(1)

    def recall(self):
        return self.level.expand(100)[:, None]

    def store(self, potential):
        self.level.add_(0.5)

    def currents(self, images):
        return super().currents(images) + self.level


class Counting(Remembering):
    """The neurons fire at steps counted over all calls."""

    count = 0

    def recall(self):
        return None

    def store(self, potential):
        self.count += 1

    def currents(self, images):
        return super().currents(images) + (self.count % 7)


class Normed(Plain):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(HIDDEN)

    def currents(self, images):
        return self.norm(super().currents(images))


class FrozenNorm(Normed):
    def __init__(self):
        super().__init__()
        self.norm.running_mean += 0.1  # type: ignore[operator]
        self.norm.eval()


class Dropping(Plain):
    def __init__(self):
        super().__init__()
        self.drop = nn.Dropout(0.5)

    def currents(self, images):
        return super().currents(self.drop(images))


class Drawing(Plain):
    """Draws its input's spikes from torch's own generator."""

    def currents(self, images):
        return super().currents(torch.bernoulli(images))


class Tied(Plain):
    def __init__(self):
        super().__init__()
        self.again = self.second


class Frozen(Plain):
    def __init__(self):
        super().__init__()
        self.first.requires_grad_(False)


class Parametrised(Plain):
    def __init__(self):
        super().__init__()
        nn.utils.parametrizations.weight_norm(self.first)


class OddWeights(Plain):
    """A weight without axes and names with strokes."""

    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(1.0))
        self.parts = nn.ModuleDict({"a/b": nn.Linear(4, 4), "network/": nn.Linear(4, 4)})

    def head(self, features):
        return spike(self.gain * self.parts["a/b"](super().head(features)) + self.parts["network/"].bias)


class OddNames(Plain):
    """Attributes that are called as something else is here."""

    def __init__(self):
        super().__init__()
        self.generator, self.threshold, self.output = "adversarial", "none", nn.Linear(36, 4)


class ExtraState(Plain):
    def get_extra_state(self):
        return {"version": 3}

    def set_extra_state(self, state):
        assert state == {"version": 3}


class Half(Plain):
    def __init__(self):
        super().__init__()
        self.bfloat16()


class Double(Plain):
    def __init__(self):
        super().__init__()
        self.double()


class BooleanFeatures(Plain):
    def features(self, images):
        return super().features(images).detach().bool()

    def head(self, features):
        return super().head(features.float())


class Integrated(nn.Module):
    """Keeps its own list of modules, which torch does not look into, and a parameter."""

    def __init__(self):
        super().__init__()
        self.inside = Buffered()
        self.hidden = [Attributed()]

    def features(self, images):
        return self.inside.features(images) * 1 + 0 * self.hidden[0].features(images)

    def head(self, features):
        return self.inside.head(features)

    def forward(self, images):
        return self.head(self.features(images))


ODD = (
    Plain, Pair, Listed, Buffered, NoneBuffered, UnsavedBuffer, Attributed, InList, InDeque, InNestedDict, InObject,
    InPlace, Counting, Normed, FrozenNorm, Dropping, Drawing, Tied, Frozen, Parametrised, OddWeights, OddNames,
    ExtraState, Half, Double, BooleanFeatures, Integrated,
)  # fmt: skip


def batch_of(task: int, seed: int, size: int = 8) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng([task, seed])
    labels = rng.choice(TASKS[task], size).astype(np.int64)
    patterns = np.random.default_rng(5).integers(0, 200, (10, *SHAPE))
    return (patterns[labels] + rng.integers(0, 50, (size, *SHAPE))).astype(np.uint8), labels


def learner_for(network, method: str = "naive", **changes):
    own = {
        "published replay": {"stored_batches": 3},
        "gdumb": {"rehearsal_steps": 3},
        "latent replay": {"freeze_after": 16},
    }.get(method, {})
    common = {"batch": 8, "replay_batch": 8, "learning_rate": 5e-3, "fisher_images": 4}
    settings = settings_of(method, **{**common, **own, **changes})
    memory = MemorySettings(images=12) if method in WITH_MEMORY else MemorySettings()
    return create(network, settings, memory, CLASSES, SHAPE, 0, len(TASKS))


def teach(learner, task: int, first: int = 0, last: int = 3) -> None:
    if first == 0:
        learner.begin_task(task, TASKS[task])
        learner.begin_epoch(task)
    for number in range(first, last):
        learner.learn(*batch_of(task, number), task)
    learner.end_task(task)


def tensors(network: nn.Module) -> dict[str, torch.Tensor]:
    return {name: each.detach().clone() for name, each in network.state_dict().items() if torch.is_tensor(each)}


def same(first: dict, second: dict) -> bool:
    return first.keys() == second.keys() and all(bool((first[name] == second[name]).all()) for name in first)


def attributes_of(network: nn.Module) -> dict:
    return {name: each.tolist() if torch.is_tensor(each) else id(each) for name, each in vars(network).items()}


def modes(network: nn.Module) -> list[bool]:
    return [module.training for module in network.modules()]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ODD)
def test_every_method_uses_odd_modules_rightly(kind, method):
    network = kind()
    attributes = attributes_of(network)
    trained = modes(network)
    learner = learner_for(network, method, averaging=0.9)
    start = tensors(network)
    for task in (0, 1):
        teach(learner, task)
        before, arrays = tensors(network), learner.state_dict()[0]
        drawn = torch.get_rng_state()
        with learner.asked():
            images, _ = batch_of(task, 50, 20)
            whole = learner.decide(images, CLASSES)
            assert set(whole) <= set(CLASSES)
            if kind is not Drawing:  # nothing before a question changes its answer, nor how the images are cut
                learner.decide(batch_of(task, 60, 7)[0], CLASSES)
                assert np.array_equal(learner.decide(images, CLASSES), whole)
                cut = torch.cat([learner.scores(images[:3]), learner.scores(images[3:])])
                assert torch.allclose(cut, learner.scores(images), atol=1e-5)
            assert not any(modes(network))
        assert same(tensors(network), before)
        assert torch.equal(torch.get_rng_state(), drawn)
        assert modes(network) == trained
        after = learner.state_dict()[0]
        assert all(np.array_equal(after[name], array) for name, array in arrays.items())
    assert same(tensors(network), start) == (method == "gdumb")
    assert attributes_of(network) == attributes
    copy.deepcopy(network)  # which torch refuses where a graph is left in it
    restored = learner_for(kind(), method, averaging=0.9)
    restored.load_state_dict(*learner.state_dict())
    for each in (learner, restored):
        torch.manual_seed(3)
        each.learn(*batch_of(1, 9), 1)
    mine, theirs = learner.state_dict()[0], restored.state_dict()[0]
    assert mine.keys() == theirs.keys()
    for name in mine:
        assert np.array_equal(mine[name], theirs[name]), name


# Outputs ------------------------------------------------------------------------------------------------------------


class Answering(Plain):
    """Gives what a function makes of its spikes."""

    def __init__(self, change):
        super().__init__()
        self.change = change

    def forward(self, images):
        return self.change(super().forward(images))

    def head(self, features):
        return super().head(features)


TOLD = r", expected a tensor \(T,B,classes\) of spikes over time"
WRONG = {
    "dict": (lambda spikes: {"spikes": spikes}, r"Answering returned a dict" + TOLD),
    "none": (lambda spikes: None, r"Answering returned None" + TOLD),
    "array": (lambda spikes: spikes.detach().numpy(), r"Answering returned a ndarray" + TOLD),
    "empty tuple": (lambda spikes: (), r"a tuple of 0, the first nothing" + TOLD),
    "unjoined": (lambda spikes: list(spikes), r"a list of 3, the first a float32 tensor \(8, 4\).*torch\.stack"),
    "no time": (lambda spikes: spikes.sum(0), r"a float32 tensor \(8, 4\)" + TOLD + r".*unsqueeze\(0\)"),
    "batch first": (lambda spikes: spikes.transpose(0, 1), r"\(8, 3, 4\) for 8 images.*transpose\(0, 1\)"),
    "classes first": (lambda spikes: spikes.permute(2, 0, 1), r"\(4, 3, 8\) for 8 images" + TOLD),
    "four axes": (lambda spikes: spikes[..., None], r"\(3, 8, 4, 1\) for 8 images" + TOLD),
    "number": (lambda spikes: spikes.sum(), r"a float32 tensor \(\) for 8 images" + TOLD),
    "no step": (lambda spikes: spikes[:0], r"\(0, 8, 4\) for 8 images" + TOLD),
    "one output": (
        lambda spikes: spikes[..., :1],
        r"the network has 1 outputs, expected one for each of the 4 classes",
    ),
    "integers": (lambda spikes: spikes.long(), r"int64 tensor \(3, 8, 4\), through which no gradient flows"),
    "bool": (lambda spikes: spikes.bool(), r"bool tensor \(3, 8, 4\), through which no gradient flows"),
    "complex": (lambda spikes: spikes + 0j, r"complex64 tensor \(3, 8, 4\).*real and dense"),
    "sparse": (lambda spikes: spikes.to_sparse(), r"expected a tensor.*real and dense"),
    "meta": (lambda spikes: spikes.to("meta"), r"spikes on meta for images on cpu; move one of them"),
    "detached": (lambda spikes: spikes.detach(), r"the loss does not depend on any weight that learns"),
    "nan": (lambda spikes: spikes * float("nan"), r"the loss is nan; no weight was changed"),
    "inf": (lambda spikes: spikes / 0.0, r"the loss is nan; no weight was changed"),
}


@pytest.mark.parametrize("method", [method for method in METHODS if method not in ("gdumb", "latent replay")])
@pytest.mark.parametrize("name", WRONG)
def test_outputs_of_another_form_are_refused_and_change_nothing(name, method):
    change, sentence = WRONG[name]
    network = Answering(change)
    learner = learner_for(network, method)
    learner.begin_task(0, TASKS[0])
    before, facts = learner.state_dict()
    with pytest.raises(SpikeloreError, match=sentence):
        learner.learn(*batch_of(0, 0), 0)
    after = learner.state_dict()
    assert after[1] == facts
    assert all(np.array_equal(after[0][each], array) for each, array in before.items())
    network.change = lambda spikes: spikes
    assert np.isfinite(learner.learn(*batch_of(0, 0), 0))


@pytest.mark.parametrize("name", ["dict", "none", "no time", "batch first", "integers", "nan"])
def test_gdumb_finds_wrong_outputs_when_asked_and_stays_usable(name):
    change, sentence = WRONG[name]
    network = Answering(change)
    learner = learner_for(network, "gdumb")
    teach(learner, 0)
    before = tensors(network)
    with pytest.raises(SpikeloreError, match=sentence.replace("8", "16")), learner.asked():
        pass
    assert same(tensors(network), before)
    network.change = lambda spikes: spikes
    with learner.asked():
        assert set(learner.decide(batch_of(0, 1)[0], CLASSES)) <= set(CLASSES)


def test_batch_first_is_found_where_the_shape_does_not_tell():
    network = Answering(lambda spikes: spikes.transpose(0, 1))
    images, labels = batch_of(0, 0, STEPS)
    drawn = torch.get_rng_state()
    for call in (
        lambda: learner_for(network).learn(images, labels, 0),
        lambda: learner_for(network).decide(images, CLASSES),
        lambda: predict(network, torch.from_numpy(images) / 255),
        lambda: epoch_(
            network, torch.from_numpy(images) / 255, torch.zeros(3).long(), adam(network.parameters()), batch=3
        ),
    ):
        with pytest.raises(InputError, match=r"\(1, 3, 4\) for 1 images.*transpose\(0, 1\)"):
            call()
    assert torch.equal(torch.get_rng_state(), drawn)
    right = learner_for(Plain())
    assert np.isfinite(right.learn(images, labels, 0))


def test_spikes_without_gradients_decide():
    network = Plain()
    inputs = torch.from_numpy(batch_of(0, 0)[0]) / 255
    expected = predict(network, inputs)
    for change in (torch.Tensor.bool, torch.Tensor.long, torch.Tensor.double, torch.Tensor.bfloat16):
        other = Answering(change)
        other.load_state_dict(network.state_dict())
        assert torch.equal(predict(other, inputs), expected)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_outputs_that_are_no_numbers_decide_nothing(value):
    def spoil(spikes):
        spoiled = spikes.clone()
        spoiled[:, 1, 2] = value
        return spoiled

    network = Answering(spoil)
    images, _ = batch_of(0, 0)
    for method in ("naive", "published replay"):
        learner = learner_for(network, method)
        decisions = learner.decide(images, CLASSES)
        assert (decisions == -1).tolist() == [False, True] + [False] * 6
    assert (predict(network, torch.from_numpy(images) / 255) == -1).tolist() == [False, True] + [False] * 6
    learner = learner_for(network)
    assert (learner.decide(images, (3, 5)) != -1).all()  # the spoiled output is of class 7


# What is no network here --------------------------------------------------------------------------------------------


class Lazy(Plain):
    def __init__(self):
        super().__init__()
        self.first = nn.LazyLinear(HIDDEN)  # type: ignore[assignment]


class Empty(nn.Module):
    def forward(self, images):
        return torch.zeros(2, len(images), 4)


class SparseWeight(Plain):
    def __init__(self):
        super().__init__()
        self.mask = nn.Parameter(torch.eye(3).to_sparse())


class SparseGradient(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(256, 4, sparse=True)

    def forward(self, images):
        return self.table((images[:, 0, :2] * 255).long()).transpose(0, 1)


def half_moved() -> nn.Module:
    plain = Plain()
    plain.second.to("meta")
    return plain


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Plain, r"the network is the class Plain, expected a module; make one of it first"),
        (lambda: lambda images: images, r"the network is a function, expected a torch\.nn\.Module"),
        (lambda: None, r"the network is None, expected a torch\.nn\.Module"),
        (Lazy, r"first\.weight of Lazy has no shape yet"),
        (half_moved, r"second\.weight of Plain is on meta and first\.weight on cpu, expected one device"),
        (SparseWeight, r"mask of SparseWeight is sparse, expected a dense tensor"),
    ],
)
@pytest.mark.parametrize("method", METHODS)
def test_what_cannot_learn_here_is_refused_at_once(make, sentence, method):
    with pytest.raises(InputError, match=sentence):
        learner_for(make(), method)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (Empty, "no weights"),
        (lambda: Plain().requires_grad_(False), "the loss does not depend on any weight that learns"),
        (SparseGradient, "sparse gradient"),
    ],
)
def test_what_has_nothing_to_learn_is_told(make, sentence):
    with pytest.raises(SpikeloreError, match=sentence):
        learner_for(make()).learn(*batch_of(0, 0), 0)
    learner = learner_for(make(), "gdumb")
    teach(learner, 0)
    with pytest.raises(SpikeloreError, match=sentence), learner.asked():
        pass


def test_weights_made_in_the_first_call_are_told():
    class Late(Plain):
        def currents(self, images):
            if not hasattr(self, "late"):
                self.late = nn.Linear(HIDDEN, HIDDEN)
            return self.late(super().currents(images))

    network = Late()
    with pytest.raises(InputError, match=r"late\.weight of Late was made after the learner"):
        learner_for(network).learn(*batch_of(0, 0), 0)
    assert np.isfinite(learner_for(network).learn(*batch_of(0, 0), 0))


def test_latent_replay_refuses_features_of_another_number_of_steps():
    class Hasty(Plain):
        def features(self, images):
            return super().features(images)[: 1 if self.hasty else None]

        hasty = False

    network = Hasty()
    learner = learner_for(network, "latent replay")
    teach(learner, 0)
    network.hasty = True
    before = tensors(network)
    with pytest.raises(InputError, match=r"features returned \(1, 12\) for an image, expected \(3, 12\) as before"):
        learner.learn(*batch_of(0, 5), 0)
    assert same(tensors(network), before)


class Photographic(nn.Module):
    """Features and a head as models of photographs have them."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Unflatten(1, (1, 6)), nn.Conv2d(1, 5, 3), nn.ReLU())
        self.head = nn.Linear(80, 4)

    def forward(self, images):
        return self.head(self.features(images).flatten(1)).expand(2, -1, -1)


class Numbered(Plain):
    features = 64  # type: ignore[assignment]


class Grey(Plain):
    def features(self, images):
        return super().features(images) * 0.5


class Readout(Plain):
    """Has what the readout "drive" looks for, by name."""

    threshold = 1.0

    def __init__(self):
        super().__init__()
        self.output = nn.Linear(HIDDEN, 4)


@pytest.mark.parametrize(
    ("make", "method", "changes", "sentence"),
    [
        (
            Photographic,
            "latent replay",
            {},
            r"features returned a float32 tensor \(1, 5, 4, 4\) for 1 images, expected",
        ),
        (Numbered, "latent replay", {}, "needs a network with features and head, which Numbered does not have"),
        (Grey, "latent replay", {}, "features of Grey are not all 0 or 1"),
        (Readout, "naive", {"readout": "drive"}, r"Readout\.output returned a float32 tensor.*spikes and potentials"),
        (OddNames, "naive", {"readout": "drive"}, "needs output potentials, which OddNames does not give"),
        (Numbered, "naive", {"readout": "drive"}, "needs output potentials, which Numbered does not give"),
    ],
)
def test_names_alone_are_not_enough(make, method, changes, sentence):
    with pytest.raises(InputError, match=sentence):
        learner_for(make(), method, **changes).learn(*batch_of(0, 0), 0)


def test_features_that_are_something_else_do_not_matter_to_other_methods():
    learner = learner_for(Photographic(), "experience replay")
    teach(learner, 0)
    assert set(learner.decide(batch_of(0, 1)[0], CLASSES)) <= set(CLASSES)


# Modes and statistics -----------------------------------------------------------------------------------------------


def test_the_fisher_pass_leaves_statistics_and_modes_alone():
    network = Normed()
    learner = learner_for(network, "ewc")
    learner.begin_task(0, TASKS[0])
    learner.learn(*batch_of(0, 0), 0)
    before = tensors(network.norm)
    assert before["num_batches_tracked"] == STEPS
    learner.end_task(0)
    assert same(tensors(network.norm), before)
    assert all(modes(network))
    assert max(float(fisher.max()) for fisher in learner.importance.values()) > 0


def test_learning_moves_statistics_once_a_step_and_nothing_else_does():
    for method in METHODS:
        network = Normed()
        drawn = torch.get_rng_state()
        learner = learner_for(network, method)
        assert network.norm.num_batches_tracked == 0, method
        assert torch.equal(torch.get_rng_state(), drawn), method
        teach(learner, 0)
        learner.decide(batch_of(0, 1)[0], CLASSES)
        teach(learner, 1)
        # latent replay is frozen after two batches, lwf asks the old network too, gdumb learns when asked
        expected = {"gdumb": 0, "latent replay": 2}.get(method, 6)
        if method == "published replay":
            expected += learner.stored[0]
        assert network.norm.num_batches_tracked == STEPS * expected, method


def test_gdumb_rehearses_in_the_mode_of_learning():
    network = Normed()
    learner = learner_for(network, "gdumb")
    teach(learner, 0)
    with learner.asked():
        assert network.norm.num_batches_tracked == STEPS * 3 * 2
        assert not network.norm.training
    assert network.norm.num_batches_tracked == 0


def test_lwf_asks_the_old_network_with_its_own_statistics_in_evaluation_mode():
    network = Normed()
    learner = learner_for(network, "lwf")
    teach(learner, 0)
    learner.begin_task(1, TASKS[1])
    images, _ = batch_of(1, 0)
    expected = learner.scores(images)
    asked = []
    original = learner.logits
    learner.logits = lambda inputs: asked.append((network.training, original(inputs))) or asked[-1][1]
    learner.learn(*batch_of(1, 0), 1)
    assert [training for training, _ in asked] == [False, True]
    assert torch.equal(asked[0][1], expected)


def test_lwf_shows_both_networks_what_torch_draws():
    learner = learner_for(Drawing(), "lwf")
    teach(learner, 0)
    learner.begin_task(1, TASKS[1])
    asked = []
    original = learner.logits
    learner.logits = lambda inputs: asked.append(original(inputs)) or asked[-1]
    learner.loss(*batch_of(1, 0), learner.columns(batch_of(1, 0)[1]), 1)
    assert torch.equal(asked[0], asked[1])


def test_averaged_statistics_decide_with_averaged_weights():
    network = Normed()
    learner = learner_for(network, averaging=0.9)
    learner.learn(*batch_of(0, 0), 0)
    first = network.norm.running_mean.clone()
    learner.learn(*batch_of(0, 1), 0)
    decay = 2 / 11
    expected = first * decay + network.norm.running_mean * (1 - decay)
    with learner.asked():
        assert torch.allclose(network.norm.running_mean, expected, atol=1e-6)
    assert not torch.allclose(network.norm.running_mean, expected, atol=1e-6)


def test_prediction_leaves_a_network_as_it_was():
    network = Normed()
    network.first.eval()
    before, trained = tensors(network), modes(network)
    inputs = torch.from_numpy(batch_of(0, 0, 20)[0]) / 255
    whole = predict(network, inputs)
    assert torch.equal(predict(network, inputs, batch=3), whole)
    assert same(tensors(network), before)
    assert modes(network) == trained


# State --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Attributed, InList, InDeque, InNestedDict, InObject, InPlace, Counting, Buffered])
def test_these_modules_do_carry_state_and_every_call_starts_from_rest(kind):
    network = kind()
    inputs = torch.from_numpy(batch_of(0, 0)[0]) / 255
    fresh = copy.deepcopy(network)
    with torch.no_grad():
        first, second = fresh.features(inputs), fresh.features(inputs)
        assert not torch.equal(first, second)  # on its own it does not start from rest
        for _ in range(2):
            with at_rest(network):
                assert torch.equal(network.features(inputs), first)
    targets = torch.tensor([0, 1] * 4)
    losses = [epoch_(network, inputs, targets, adam(network.parameters(), 1e-9), batch=4) for _ in range(2)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)


def test_running_statistics_of_somebodys_own_stay():
    class Own(Plain):
        def __init__(self):
            super().__init__()
            self.register_buffer("mean", torch.zeros(36))

        def currents(self, images):
            if self.training:
                self.mean = 0.5 * self.mean + 0.5 * images.flatten(1).mean(0)
            return super().currents(images)

    network = Own()
    learner = learner_for(network)
    learner.learn(*batch_of(0, 0), 0)
    once = network.mean.clone()
    learner.learn(*batch_of(0, 1), 0)
    assert once.max() > 0
    assert not torch.equal(network.mean, once)


def next_use(learner) -> None:
    """Do what the learner's method uses the network for."""
    if learner.method.name == "gdumb":
        with learner.asked():
            pass
    learner.learn(*batch_of(1, 0), 1)


def test_an_exception_in_a_network_is_told_in_a_sentence_and_changes_nothing():
    class Fragile(Normed):
        broken = False

        def head(self, features):
            if self.broken:
                torch.zeros(2, 3) @ torch.zeros(2, 3)
            return super().head(features)

    for method in METHODS:
        network = Fragile()
        learner = learner_for(network, method, averaging=0.9)
        teach(learner, 0)
        learner.begin_task(1, TASKS[1])
        learner.begin_epoch(1)
        before, facts = learner.state_dict()
        network.broken = True
        with pytest.raises(SpikeloreError, match=r"Fragile.* failed on inputs \(.*RuntimeError: mat1 and") as caught:
            next_use(learner)
        assert isinstance(caught.value.__cause__, RuntimeError)
        assert "\n" not in str(caught.value)
        after, told = learner.state_dict()
        assert told == facts or method == "gdumb"
        assert all(np.array_equal(after[name], array) for name, array in before.items()), method
        network.broken = False
        assert np.isfinite(learner.learn(*batch_of(1, 0), 1))


def test_a_fisher_pass_that_fails_adds_nothing():
    class Fragile(Plain):
        left = 1000

        def head(self, features):
            Fragile.left -= 1
            if Fragile.left < 0:
                raise ValueError("enough")
            return super().head(features)

    learner = learner_for(Fragile(), "ewc")
    teach(learner, 0)
    learner.begin_task(1, TASKS[1])
    learner.learn(*batch_of(1, 0), 1)
    before = {name: each.clone() for name, each in learner.importance.items()}
    Fragile.left = 2
    with pytest.raises(SpikeloreError, match=r"failed on inputs .*ValueError: enough"):
        learner.end_task(1)
    assert same(learner.importance, before)
    Fragile.left = 1000
    learner.end_task(1)
    assert not same(learner.importance, before)


def test_a_convolution_without_a_channel_is_told_how_to_get_one():
    class Flat(Plain):
        def __init__(self):
            super().__init__()
            self.maps = nn.Conv2d(1, 1, 3, padding=1)

        def currents(self, images):
            return super().currents(self.maps(images))

    with pytest.raises(SpikeloreError, match=r"RuntimeError: Given groups=1.*unsqueeze\(1\) adds a channel"):
        learner_for(Flat()).learn(*batch_of(0, 0), 0)


def test_lwf_shows_the_new_network_the_images_though_the_old_one_changes_them():
    class Centring(Plain):
        def currents(self, images):
            return super().currents(images.sub_(0.1))

    learner = learner_for(Centring(), "lwf")
    teach(learner, 0)
    learner.begin_task(1, TASKS[1])
    asked = []
    original = learner.logits
    learner.logits = lambda inputs: asked.append(inputs.clone()) or original(inputs)
    learner.learn(*batch_of(1, 0), 1)
    assert torch.equal(asked[0], asked[1])


def test_an_exception_in_the_way_back_is_told():
    class Stuck(Plain):
        def __init__(self):
            super().__init__()
            self.memo = Cell()

        def forward(self, images):
            return super().forward(images) + getattr(Stuck, "kept", 0)

    network = Stuck()
    learner = learner_for(network)
    learner.learn(*batch_of(0, 0), 0)
    kept = network(torch.zeros(8, *SHAPE)) * 1
    kept.sum().backward()
    Stuck.kept = kept  # state where nobody looks for it
    with pytest.raises(
        SpikeloreError, match="gradients could not be computed, no weight was changed: RuntimeError: Try"
    ):
        learner.learn(*batch_of(0, 1), 0)


# Inputs -------------------------------------------------------------------------------------------------------------

IMAGES, LABELS = batch_of(0, 0)
SLIPS = {
    "no image": (IMAGES[:0], LABELS[:0], "the batch has no image, expected at least one"),
    "fewer labels": (IMAGES, LABELS[:3], "there are 8 images and 3 labels, expected as many"),
    "one label": (IMAGES, np.int64(3), r"labels are int64 \(\), expected \(B,\) integers"),
    "labels (B,1)": (IMAGES, LABELS[:, None], r"labels are int64 \(8, 1\), expected \(B,\) integers"),
    "float labels": (IMAGES, LABELS.astype(float), r"labels are float64 \(8,\), expected \(B,\) integers"),
    "names": (IMAGES, ["cat"] * 8, r"labels are <U3 \(8,\), expected \(B,\) integers"),
    "ragged": (IMAGES, [[3], [3, 5]] * 4, r"labels are a list, expected \(B,\) integers"),
    "other class": (IMAGES, np.full(8, 4), r"label 4 is outside the head, whose outputs stand for \[3, 5, 7, 9\]"),
    "other size": (np.zeros((8, 6, 7), np.uint8), LABELS, "images have 6x7 pixels, expected 6x6"),
    "channels": (
        IMAGES[:, None],
        LABELS,
        r"images are uint8 \(8, 1, 6, 6\), expected a NumPy array \(B,H,W\) of uint8",
    ),
    "one image": (IMAGES[0], LABELS[:1], r"images are uint8 \(6, 6\), expected a NumPy array"),
    "floats": (IMAGES / 255, LABELS, r"images are float64 \(8, 6, 6\), expected a NumPy array"),
    "tensor": (torch.from_numpy(IMAGES), LABELS, r"images are torch\.uint8 \(8, 6, 6\), expected a NumPy array"),
    "list": (IMAGES.tolist(), LABELS, "images are list"),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("slip", SLIPS)
def test_inputs_that_do_not_fit_are_refused_and_change_nothing(slip, method):
    images, labels, sentence = SLIPS[slip]
    learner = learner_for(Plain(), method)
    learner.begin_task(0, TASKS[0])
    before, facts = learner.state_dict()
    with pytest.raises(InputError, match=sentence):
        learner.learn(images, labels, 0)
    if slip in ("other size", "channels", "one image", "floats", "tensor", "list"):
        with pytest.raises(InputError, match=sentence):
            learner.decide(images, CLASSES)
    after = learner.state_dict()
    assert after[1] == facts
    assert all(np.array_equal(after[0][name], array) for name, array in before.items())


@pytest.mark.filterwarnings("error")
def test_labels_and_images_of_any_layout_teach_the_same():
    def read_only(array):
        array = array.copy()
        array.setflags(write=False)
        return array

    learned = []
    for images, labels in (
        (IMAGES, LABELS), (IMAGES, LABELS.tolist()), (IMAGES, torch.from_numpy(LABELS)),
        (IMAGES, LABELS.astype(np.uint8)),
        (read_only(IMAGES), read_only(LABELS)), (np.asfortranarray(IMAGES), LABELS),
        (np.ascontiguousarray(IMAGES[::-1])[::-1], np.ascontiguousarray(LABELS[::-1])[::-1]),
        (np.repeat(IMAGES, 2, 2)[:, :, ::2], LABELS),
    ):  # fmt: skip
        torch.manual_seed(0)
        learner = learner_for(Plain(), "experience replay")
        learner.learn(images, labels, 0)
        learner.learn(images, labels, 0)
        learned.append(learner.state_dict()[0])
    for other in learned[1:]:
        assert all(np.array_equal(other[name], array) for name, array in learned[0].items())


def test_asking_about_no_image_gives_no_decision():
    learner = learner_for(Plain())
    assert learner.decide(IMAGES[:0], CLASSES).shape == (0,)
    assert learner.scores(IMAGES[:0]).shape == (0, 4)
    assert predict(Plain(), torch.zeros(0, *SHAPE)).shape == (0,)


@pytest.mark.parametrize(
    ("among", "sentence"),
    [
        ((), "no class to decide among"),
        ((4,), "label 4 is outside the head"),
        ((3.7, 5), r"labels are float64 \(2,\)"),
    ],
)
def test_deciding_among_no_class_or_another_is_refused(among, sentence):
    with pytest.raises(InputError, match=sentence):
        learner_for(Plain()).decide(IMAGES, among)


@pytest.mark.parametrize("classes", [(), (3, 3, 5)])
def test_classes_are_named_once(classes):
    with pytest.raises(InputError, match="expected at least one and each once"):
        create(Plain(), settings_of("naive"), MemorySettings(), classes, SHAPE, 0)


@pytest.mark.parametrize("shape", [28, (28,), (1, 28, 28), (0, 28)])
def test_an_image_shape_is_rows_and_columns(shape):
    with pytest.raises(InputError, match=r"image_shape is .*, expected rows and columns \(H,W\)"):
        create(Plain(), settings_of("naive"), MemorySettings(), CLASSES, shape, 0)


def test_published_replay_is_told_of_tasks_that_there_are():
    learner = learner_for(Plain(), "published replay")
    for task in (-1, 2):
        with pytest.raises(
            InputError, match=rf"images of task {task} came to published replay, expected one in 0\.\.1"
        ):
            learner.learn(IMAGES, LABELS, task)
    for _ in range(20):  # a shorter batch is learned but takes no place, which is a whole batch's
        learner.learn(IMAGES[:1], LABELS[:1], 0)
    assert learner.stored == [0, 0]


def test_a_ring_memory_refuses_a_task_before_anything_is_learned():
    network = Plain()
    settings = settings_of("experience replay", batch=8, replay_batch=8)
    learner = create(network, settings, MemorySettings(images=12, policy="ring"), CLASSES, SHAPE, 0, 2)
    before = tensors(network)
    with pytest.raises(InputError, match="examples of task 5 were offered to a ring memory"):
        learner.learn(IMAGES, LABELS, 5)
    assert same(tensors(network), before)


INPUTS, TARGETS = torch.from_numpy(IMAGES) / 255, torch.tensor([0, 1] * 4)


@pytest.mark.parametrize(
    ("images", "labels", "batch", "sentence"),
    [
        (INPUTS[:0], TARGETS[:0], 4, "the batch has no image"),
        (INPUTS, TARGETS[:5], 4, "there are 8 images and 5 labels"),
        (INPUTS, TARGETS[:7], 4, "there are 8 images and 7 labels"),
        (INPUTS, TARGETS[:, None], 4, r"labels are a int64 tensor \(8, 1\), expected an int64 tensor \(N,\)"),
        (INPUTS, TARGETS.float(), 4, r"labels are a float32 tensor \(8,\), expected an int64"),
        (INPUTS, TARGETS.tolist(), 4, "labels are a list, expected an int64 tensor"),
        (INPUTS, TARGETS + 4, 4, r"label 5 is outside the head of 4 outputs, expected 0 to 3"),
        (INPUTS, TARGETS - 100, 4, r"label -100 is outside the head of 4 outputs"),
        (IMAGES, TARGETS, 4, r"images are a ndarray, expected a tensor \(N,H,W\)"),
        (INPUTS, TARGETS, 0, "batch is 0, expected at least 1"),
    ],
)
def test_an_epoch_refuses_what_does_not_fit(images, labels, batch, sentence):
    network = Plain()
    before = tensors(network)
    with pytest.raises(InputError, match=sentence):
        epoch_(network, images, labels, adam(network.parameters()), batch=batch)
    assert same(tensors(network), before)


@pytest.mark.parametrize("loss", [spike_count_loss, rate_loss, membrane_loss])
def test_losses_take_the_first_of_a_pair_and_refuse_what_is_not_over_time(loss):
    outputs = torch.rand(3, 8, 4)
    assert loss((outputs, None), TARGETS) == loss(outputs, TARGETS)
    assert loss(outputs.double(), TARGETS) == loss(outputs, TARGETS)
    for wrong, sentence in ((outputs[0], r"\(8, 4\), expected a tensor \(T,B"), (None, "returned None, expected")):
        with pytest.raises(InputError, match=sentence):
            loss(wrong, TARGETS)
    with pytest.raises(InputError, match=r"\(3, 8, 4\) for 5 labels"):
        loss(outputs, TARGETS[:5])


def test_an_optimiser_of_another_network_is_told():
    with pytest.raises(InputError, match="the loss depends on no weight of the optimiser"):
        epoch_(Plain(), INPUTS, TARGETS, adam(Plain().parameters()), batch=4)
    with pytest.raises(InputError, match="the network has no weights"):
        adam([])


def surrogate(**changes):
    config = SurrogateConfig(image=(1, *SHAPE), channels=(2,), kernel=3, classes=4, steps=3, **changes)
    return SurrogateNetwork(config, torch_generator(0, "network"))


@pytest.mark.parametrize(
    ("images", "network", "sentence"),
    [
        (INPUTS * 255, surrogate(), r"pixels are \d+ to \d+, expected probabilities of a spike, 0 to 1; divide"),
        (INPUTS - 2, surrogate(coding="bernoulli"), r"pixels are -1\.\d+ to -1\.\d+, expected probabilities"),
        (INPUTS * float("nan"), surrogate(), "pixels are nan to nan, expected probabilities"),
        (INPUTS.double(), surrogate(), "images are float64 and weights float32, expected float32"),
        (INPUTS, surrogate().double(), "images are float64 and weights float64, expected float32"),
        (INPUTS, surrogate(coding="constant").bfloat16(), "images are bfloat16 and weights bfloat16, expected float32"),
        (torch.from_numpy(IMAGES), surrogate(coding="constant"), "images are uint8 and weights float32"),
    ],
)
def test_our_network_refuses_numbers_that_it_does_not_compute_with(images, network, sentence):
    if network.heads[0].weight.dtype == torch.float32:
        with pytest.raises(InputError, match=sentence):
            network(images)
        return
    with pytest.raises(InputError, match=sentence):
        predict(network, images)
    with pytest.raises(InputError, match=sentence):
        learner_for(network).learn(IMAGES, LABELS, 0)


def test_our_network_refuses_an_empty_batch():
    with pytest.raises(InputError, match="the batch has no image"):
        surrogate()(INPUTS[:0])


# Models of one step and of other libraries -------------------------------------------------------------------------


class Step(nn.Module):
    """One step of leaky neurons that keep their potential."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(36, 4)
        self.potential = None

    def forward(self, images):
        before = 0 if self.potential is None else 0.9 * self.potential
        self.potential = before + self.layer(images.flatten(1))
        return spike(self.potential - 0.5)

    def with_potential(self, images):
        return self(images), self.potential


def learns(network, method: str = "experience replay") -> None:
    """Assert that a network starts each call from rest, learns, and is asked without a trace."""
    first = predict(network, INPUTS)
    predict(network, INPUTS[:3])
    assert torch.equal(predict(network, INPUTS), first)
    for _ in range(2):
        epoch_(network, INPUTS, TARGETS, adam(network.parameters(), 1e-3), batch=4)
    learner = learner_for(network, method)
    before = tensors(network)
    teach(learner, 0)
    assert not same(tensors(network), before)
    with learner.asked():
        whole = learner.decide(IMAGES, CLASSES)
        assert np.array_equal(learner.decide(IMAGES[:3], CLASSES), whole[:3])
    again = learner_for(network, method)
    again.load_state_dict(*learner.state_dict())


@pytest.mark.parametrize("form", ["module", "method", "lambda", "pair", "function with reset"])
def test_a_model_of_one_step_is_a_network_that_starts_from_rest(form):
    step = Step()
    if form == "function with reset":
        network = stepwise(lambda images: step(images), 3, reset=lambda: setattr(step, "potential", None))
    else:
        made = {
            "module": step,
            "method": step.forward,
            "lambda": lambda shown: step(shown),
            "pair": step.with_potential,
        }
        network = stepwise(made[form], 3)
    assert sorted(name.rpartition(".")[2] for name, _ in network.named_parameters()) == ["bias", "weight"]
    assert torch.equal(network(INPUTS), network(INPUTS))
    assert network(INPUTS).shape == (3, 8, 4)
    assert step.potential is None
    learns(network)


def test_state_in_a_functions_variables_is_put_back_by_reset():
    state = []

    def step(shown):
        state.append(1)
        return torch.full((len(shown), 2), float(len(state)))

    network = stepwise(step, 2, reset=state.clear)
    for _ in range(2):
        assert network(INPUTS)[:, 0, 0].tolist() == [1, 2]


def test_state_of_somebodys_object_and_in_a_functions_list_is_put_back():
    class Object:
        level = 0.0

        def step(self, shown):
            self.level += 1
            return torch.full((len(shown), 2), self.level)

        def __call__(self, shown):
            return self.step(shown)

    levels = []

    def listed(shown):
        levels.append(1)
        return torch.full((len(shown), 2), float(len(levels)))

    for step in (Object().step, Object(), listed, partial(listed)):
        network = stepwise(step, 2)
        for _ in range(2):
            assert network(INPUTS)[:, 0, 0].tolist() == [1, 2]


@pytest.mark.parametrize(
    ("step", "steps", "sentence"),
    [
        (Step(), 0, "steps is 0, expected at least 1"),
        (Step, 3, "step is <class .*Step'>, expected a module"),
        (3, 3, "step is 3, expected a module"),
    ],
)
def test_a_step_that_is_none_is_refused(step, steps, sentence):
    with pytest.raises(InputError, match=sentence):
        stepwise(step, steps)


@pytest.mark.parametrize("change", [lambda shown: None, lambda shown: shown, lambda shown: shown[0, 0]])
def test_a_step_of_another_form_is_refused(change):
    with pytest.raises(InputError, match=r"the step returned .* for 8 images, expected a tensor \(B,classes\)"):
        stepwise(change, 2)(INPUTS)


def test_snntorch_models_start_from_rest():
    snntorch = pytest.importorskip("snntorch", reason="snntorch is not installed; this test is about its neurons")

    class Hidden(nn.Module):
        def __init__(self, output: bool = False):
            super().__init__()
            self.layer = nn.Linear(36, 4)
            self.neurons = snntorch.Leaky(beta=0.9, threshold=0.3, init_hidden=True, output=output)

        def forward(self, images):
            return self.neurons(self.layer(images.flatten(1)))

    class Looped(Hidden):
        def forward(self, images):
            return torch.stack([super(Looped, self).forward(images) for _ in range(3)])

    for network in (stepwise(Hidden(), 3), stepwise(Hidden(output=True), 3), Looped(), stepwise(nn.Sequential(
        nn.Flatten(), nn.Linear(36, 4), snntorch.Leaky(beta=0.9, threshold=0.3, init_hidden=True)
    ), 3)):  # fmt: skip
        learns(network)
    used = Hidden()
    expected = stepwise(used, 3)(INPUTS)
    used(INPUTS)  # its owner leaves it in a state with a graph
    assert torch.equal(stepwise(used, 3)(INPUTS), expected)


def test_spikingjelly_models_start_from_rest():
    jelly = pytest.importorskip("spikingjelly.activation_based", reason="spikingjelly is not installed")
    from spikingjelly.activation_based import layer, neuron

    def build():
        return nn.Sequential(layer.Flatten(), layer.Linear(36, 4), neuron.LIFNode(tau=2.0, v_threshold=0.2))

    class Looped(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = build()

        def forward(self, images):
            return torch.stack([self.model(images) for _ in range(3)])

    learns(stepwise(build(), 3))
    learns(Looped())
    used = build()
    expected = stepwise(used, 3)(INPUTS)
    used(INPUTS)
    assert torch.equal(stepwise(used, 3)(INPUTS), expected)
    assert jelly


def test_norse_models_start_from_rest():
    norse = pytest.importorskip("norse.torch", reason="norse is not installed; this test is about its models")
    neurons = norse.LIFParameters(v_th=torch.as_tensor(0.05))

    class OverTime(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = norse.SequentialState(nn.Linear(36, 4), norse.LIF(neurons))

        def forward(self, images):
            return self.model(images.flatten(1).expand(20, len(images), -1))  # spikes and the last state

    class Cell(nn.Module):
        """One step; the state is an attribute."""

        def __init__(self):
            super().__init__()
            self.model = norse.SequentialState(nn.Linear(36, 4), norse.LIFCell(neurons))
            self.state = None

        def forward(self, images):
            spikes, self.state = self.model(images.flatten(1), self.state)
            return spikes

    learns(OverTime())
    learns(stepwise(Cell(), 20))


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")
def test_scripted_and_parallel_modules_learn():
    class Scripted(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(36, 4)
            self.register_buffer("level", torch.zeros(0))

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            self.level = torch.sigmoid(self.layer(images.flatten(1)))
            return torch.stack([self.level, self.level])

    learns(torch.jit.script(Scripted()))
    learns(nn.DataParallel(Buffered()))


def test_the_lines_of_the_docs_run():
    for library in ("snntorch", "spikingjelly", "norse"):
        pytest.importorskip(library, reason=f"{library} is not installed; the docs show a model of it")
    page = (Path(__file__).parents[2] / "docs" / "surrogate.md").read_text()
    section = page.split("## Your own network")[1].split("\n## ")[0]
    known: dict = {}
    for lines in re.findall(r"```python\n(.*?)```", section, re.DOTALL):
        exec(lines, known)
        network = known["network"]
        images = torch.rand(5, 28, 28)
        assert network.training
        first = predict(network, images)
        assert torch.equal(predict(network, images), first)
        memory = MemorySettings(images=10)
        learner = create(
            network, settings_of("experience replay", replay_batch=4), memory, tuple(range(10)), (28, 28), 0
        )
        assert np.isfinite(learner.learn(np.zeros((5, 28, 28), np.uint8), [0, 1, 2, 3, 4], 0))
    assert known["spikes"].shape == (10, 32, 10)
