"""Four of the published local ways as methods: for every network whose synapses can be reached, on every stream.

`spikelore.continual.ways` has them, and the others, exactly as published, for two tasks of a first-spike network. Here
each works around another method (`spikelore.continual.methods.around`), batch after batch, task after task. The rest of
the nine are there already: radii of lateral inhibition are a setting of the first-spike network, reminders are
`Replay` with few images, joint training is `Joint`.

Source: Antonov, Sviatov & Sukhov 2022 (doi 10.1016/j.neunet.2022.09.003).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from spikelore.continual.memory import Memory
from spikelore.continual.methods.around import Around, AroundLearner
from spikelore.continual.storage import checked_inputs, form_of_inputs
from spikelore.continual.ways import drawn_bars, largest_share
from spikelore.errors import InputError, check_whole
from spikelore.files import arrays_beside, arrays_under
from spikelore.metrics.streaming_quantiles import StreamingQuantiles
from spikelore.networks.protocol import Synapses, synapses_changed_
from spikelore.randomness import generator
from spikelore.shapes import Images, Labels, as_images

_HERE = __name__
_DRAWN_AT_ONCE = 500
_MOST_DRAWN = 20
"""Images drawn for each that is wanted."""


def _last_layer(network: Any) -> NDArray[np.floating]:
    """Return the weights of the last layer, not a copy."""
    return [*network.synapses().values()][-1].weights


class _WithState(AroundLearner):
    """A learner with arrays of its own beside the base's state; those that are ``kept`` tell of earlier tasks."""

    kept: ClassVar[tuple[str, ...]] = ()

    def __init__(self, method: Any, network: Any, *, seed: int, tasks: int) -> None:
        super().__init__(method, network, seed=seed, tasks=tasks)
        self.own: dict[str, NDArray] = {}

    @property
    def memory_bytes(self) -> int:
        """Bytes of these, a label a byte, beside what the base keeps."""
        sizes = [
            array.size if name == "labels" else array.nbytes for name, array in self.own.items() if name in self.kept
        ]
        return self.learner.memory_bytes + sum(sizes)

    def state_dict(self) -> tuple[dict[str, NDArray], str]:
        """Return its own arrays beside the base's state."""
        arrays, facts = self.learner.state_dict()
        return {**arrays, **{f"way/{name}": array.copy() for name, array in self.own.items()}}, facts

    def load_state_dict(self, arrays: Mapping[str, NDArray], facts: str) -> None:
        """Take over what `state_dict` returned."""
        self.own = {name: array.copy() for name, array in arrays_under("way", arrays).items()}
        self.learner.load_state_dict(arrays_beside(["way"], arrays), facts)

    def fitting(self, name: str, free: Any) -> NDArray[Any]:
        """Return an array of the last layer's shape; what has come with further classes is ``free``."""
        weights, kept = _last_layer(self.network), self.own.get(name)
        if kept is None or kept.shape != weights.shape:
            grown = np.full(weights.shape, free)
            if kept is not None:
                grown[tuple(map(slice, kept.shape))] = kept
            self.own[name] = grown
        return self.own[name]


@dataclass(frozen=True, kw_only=True)
class RateNoise(Around):
    """Noise (f): what each batch adds to a layer's weights, and what it takes from them, is more or less by chance.

    Each rise is multiplied by 1 + ``noise`` e and each fall by 1 + ``noise`` e', e and e' ~ N(0, 1), new for each layer
    and batch, as if the rates had been drawn from N(r, ``noise`` |r|). No weight leaves the range of its layer's.

    Attributes:
        noise: deviation of a rate, relative to it.
    """

    name: ClassVar[str] = "rate noise"
    needs: ClassVar[tuple[type, ...]] = (Synapses,)
    learner: ClassVar[Any] = f"{_HERE}:Noisy"

    noise: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.noise < np.inf:
            raise InputError(f"noise is {self.noise}, expected 0 or more; choose another number")


class Noisy(_WithState):
    """Changes what the base has learned."""

    def learn(self, images: Images, labels: Labels, task: int) -> float:
        """Let the base learn, then change each layer's change."""
        before = {name: layer.weights.copy() for name, layer in self.network.synapses().items()}
        loss = self.learner.learn(images, labels, task)
        batch = self.own.setdefault("batches", np.zeros(1, np.int64))
        rng = generator(self.seed, "rate noise", int(batch[0]))
        batch += 1
        for name, layer in self.network.synapses().items():
            weights, then = layer.weights, before[name]
            low, high = min(then.min(), weights.min()), max(then.max(), weights.max())
            rise, fall = 1 + self.method.noise * rng.standard_normal(2)
            change = weights - then
            np.clip(then + change * np.where(change > 0, rise, fall), low, high, out=weights, casting="same_kind")
        synapses_changed_(self.network)
        return loss


@dataclass(frozen=True, kw_only=True)
class FrozenWeights(Around):
    """Frozen large weights (g): after each task the last layer's largest weights move no more.

    Attributes:
        share: of all weights of the layer, from 0 to 1, by their size without sign; frozen ones stay frozen.
    """

    name: ClassVar[str] = "frozen weights"
    needs: ClassVar[tuple[type, ...]] = (Synapses,)
    boundaries: ClassVar[bool] = True
    learner: ClassVar[Any] = f"{_HERE}:Freezing"

    share: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.share <= 1:
            raise InputError(f"share is {self.share}, expected 0 to 1; give the share of weights to freeze")


class Freezing(_WithState):
    """Puts frozen weights back after each batch."""

    kept = ("frozen",)

    def learn(self, images: Images, labels: Labels, task: int) -> float:
        """Let the base learn, then put them back."""
        frozen = self.fitting("frozen", False)
        before = _last_layer(self.network)[frozen]
        loss = self.learner.learn(images, labels, task)
        _last_layer(self.network)[frozen] = before
        synapses_changed_(self.network)
        return loss

    def end_task(self, task: int) -> None:
        """Freeze the largest weights, beside those that are frozen."""
        self.learner.end_task(task)
        self.fitting("frozen", False).flat[largest_share(np.abs(_last_layer(self.network)), self.method.share)] = True


@dataclass(frozen=True, kw_only=True)
class LangevinBounds(Around):
    """Langevin bounds (h): no weight of the last layer leaves the quantiles that it had in a noisy end of each task.

    At the end of a task a copy of the network goes on learning images of that task, by itself, while noise pushes the
    last layer's weights; where each weight is meanwhile is counted. From then on ``w <- clip(w, q(low), q(high))``. A
    weight that the task hangs on is brought back again and again, so that its bounds are narrow.

    Attributes:
        images: kept of a task until it ends (by reservoir), for the copy to go on from; none are kept afterwards.
        records: how often the weights are counted.
        between: images that the copy learns between two records.
        deviation: of the noise, relative to the deviation of the layer's weights.
        low: share of a weight's values below its lower bound.
        high: share of them up to its upper bound.
    """

    name: ClassVar[str] = "langevin bounds"
    needs: ClassVar[tuple[type, ...]] = (Synapses,)
    boundaries: ClassVar[bool] = True
    learner: ClassVar[Any] = f"{_HERE}:Bounding"

    images: int = 200
    records: int = 100
    between: int = 20
    deviation: float = 0.1
    low: float = 0.1
    high: float = 0.9

    def __post_init__(self) -> None:
        super().__post_init__()
        for setting in ("images", "records", "between"):
            check_whole(setting, getattr(self, setting), 1)
        if not 0 <= self.deviation < np.inf:
            raise InputError(f"deviation is {self.deviation}, expected 0 or more; choose another number")
        if not 0 <= self.low <= self.high <= 1:
            raise InputError(
                f"low and high are {self.low} and {self.high}, expected shares from 0 to 1, the lower one first; "
                "correct them"
            )


class Bounding(_WithState):
    """Keeps images of the task at hand, and the bounds from those that have ended."""

    kept = ("lower", "upper")

    def __init__(self, method: Any, network: Any, *, seed: int, tasks: int) -> None:
        super().__init__(method, network, seed=seed, tasks=tasks)
        self.form = form_of_inputs(network)
        self._begin()

    def _begin(self) -> None:
        """Keep no image."""
        self.seen = Memory("reservoir", self.method.images, self.form.row_bytes, generator(self.seed))
        self.offered = 0

    @property
    def bounds(self) -> tuple[NDArray, NDArray]:
        """The lower and the upper bound of each weight of the last layer."""
        most = np.finfo(np.float32).max  # what is kept in files is finite
        return self.fitting("lower", -most), self.fitting("upper", most)

    def learn(self, images: Images, labels: Labels, task: int) -> float:
        """Let the base learn, bring weights back to their bounds, and keep some of the images."""
        loss, bounds = self.learner.learn(images, labels, task), self.bounds
        weights = _last_layer(self.network)
        np.clip(weights, *bounds, out=weights)
        synapses_changed_(self.network)
        self.seen.rng = generator(self.seed, "langevin images", self.offered)
        self.seen.offer(self.form.pack(checked_inputs(self.network, images)), np.asarray(labels, np.int64))
        self.offered += len(images)
        return loss

    def held(self) -> tuple[Images, Labels]:
        """Return the images that are kept of the task at hand."""
        rows, labels, _ = self.seen.get(self.seen.taken())
        return self.form.unpack(rows), labels

    def end_task(self, task: int) -> None:
        """Let a copy go on with noise, and take its bounds; keep none of the images."""
        self.learner.end_task(task)
        images, labels = self.held()
        self._begin()
        if len(images) and (found := self._sampled(images, labels, generator(self.seed, "langevin", task))) is not None:
            self.own["lower"], self.own["upper"] = found.values((self.method.low, self.method.high))

    def _sampled(self, images: Images, labels: Labels, rng: np.random.Generator) -> StreamingQuantiles | None:
        """Return where the last layer's weights of a copy are; nothing if all are equal."""
        method, network = self.method, self.network.copy()
        weights = _last_layer(network)
        low, high, spread = float(weights.min()), float(weights.max()), float(weights.std())
        if not low < high:
            return None
        found = StreamingQuantiles(weights.shape, low, high)
        for _ in range(method.records):
            drawn = rng.integers(len(images), size=method.between)
            network.learn_(images[drawn], labels[drawn])
            weights = _last_layer(network)
            np.clip(weights, *self.bounds, out=weights)
            found.add(weights)
            noise = method.deviation * spread * rng.standard_normal(weights.shape, np.float32)
            np.clip(weights + noise, low, high, out=weights, casting="same_kind")
            synapses_changed_(network)
        return found

    def state_dict(self) -> tuple[dict[str, NDArray], str]:
        """Return the images of the task at hand beside the rest."""
        arrays, facts = super().state_dict()
        held = {f"task/{name}": array.copy() for name, array in self.seen.state_dict().items()}
        return {**arrays, **held, "task/offered": np.array([self.offered])}, facts

    def load_state_dict(self, arrays: Mapping[str, NDArray], facts: str) -> None:
        """Take over what `state_dict` returned."""
        held = arrays_under("task", arrays)
        self.offered = int(held.pop("offered")[0])
        self.seen.load_state_dict(held)
        super().load_state_dict(arrays_beside(["task"], arrays), facts)


@dataclass(frozen=True, kw_only=True)
class PseudoRehearsal(Around):
    """Pseudo-rehearsal (c): beside each batch, drawn images are learned that the network took for something it knew.

    After each task images of randomly oriented bars (`spikelore.continual.ways.drawn_bars`) are drawn and named by the
    network, as many of each class that it has met as there are, up to equal shares of ``images``.

    Attributes:
        images: that are kept, with the label that the network gave them.
        bars: most bars of an image.
        beside: drawn images for each new one.
    """

    name: ClassVar[str] = "pseudo-rehearsal"
    boundaries: ClassVar[bool] = True
    learner: ClassVar[Any] = f"{_HERE}:Rehearsing"

    images: int = 500
    bars: int = 3
    beside: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for setting in ("images", "bars"):
            check_whole(setting, getattr(self, setting), 1)
        if not 0 < self.beside < np.inf:
            raise InputError(f"beside is {self.beside}, expected a number above 0; choose another one")

    def why_not(self, network: Any) -> str | None:
        """Return why it has no meaning on a network: bars are drawn on images."""
        shape = None if isinstance(network, type) else getattr(network, "input_shape", None)
        if shape is not None and len(shape) != 2:
            return f"pseudo-rehearsal draws images, and the network's inputs are of shape {tuple(shape)}"
        return super().why_not(network)


class Rehearsing(_WithState):
    """Keeps drawn images, and learns some beside each batch."""

    kept = ("images", "labels")

    def begin_task(self, task: int, classes: tuple[int, ...]) -> None:
        """Hear which classes the task has."""
        met = self.own.get("met", np.zeros(0, np.int64))
        self.own["met"] = np.union1d(met, np.array(classes, np.int64))
        self.learner.begin_task(task, classes)

    def learn(self, images: Images, labels: Labels, task: int) -> float:
        """Let the base learn a batch and drawn images."""
        images, labels = as_images(images), np.asarray(labels, np.int64)
        if len(self.own.get("labels", ())):
            batch = self.own.setdefault("batches", np.zeros(1, np.int64))
            rng = generator(self.seed, "pseudo-rehearsal", int(batch[0]))
            batch += 1
            drawn = rng.integers(len(self.own["labels"]), size=max(1, round(self.method.beside * len(images))))
            both = (
                np.concatenate([images, self.own["images"][drawn]]),
                np.concatenate([labels, self.own["labels"][drawn]]),
            )
            order = rng.permutation(len(both[1]))
            images, labels = both[0][order], both[1][order]
        return self.learner.learn(images, labels, task)

    def end_task(self, task: int) -> None:
        """Draw anew."""
        self.learner.end_task(task)
        known, rng = tuple(self.own["met"].tolist()), generator(self.seed, "bars", task)
        most, found = max(1, self.method.images // len(known)), {label: [] for label in known}
        for _ in range(-(-_MOST_DRAWN * self.method.images // _DRAWN_AT_ONCE)):
            if all(len(each) == most for each in found.values()):
                break
            images = drawn_bars(_DRAWN_AT_ONCE, self.network.input_shape, self.method.bars, rng)
            with self.learner.asked():
                labels = self.learner.decide(images, known).tolist()
            for image, label in zip(images, labels, strict=True):
                if len(found.get(label, range(most))) < most:
                    found[label].append(image)
        kept = [(image, label) for label, each in found.items() for image in each]
        shape = (len(kept), *self.network.input_shape)
        self.own["images"] = np.array([image for image, _ in kept], np.uint8).reshape(shape)
        self.own["labels"] = np.array([label for _, label in kept], np.int64)


LOCAL_WAYS: dict[str, type[Around]] = {
    kind.name: kind for kind in (RateNoise, FrozenWeights, LangevinBounds, PseudoRehearsal)
}
"""Each of them by its name."""
