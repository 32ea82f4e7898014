"""Nine published ways to keep a first-spike network from forgetting, and ours: all learn by local rules.

A network learns a first task, then a second one on the same outputs, without being told which task an image is of.
Every way is the same learning (`Way`) with something else at one or two places: the network and the first task, images
that are learned beside the new ones, the rates, or how far each weight may move.

Source: Antonov, Sviatov & Sukhov, Neural Networks 155, 2022 (doi 10.1016/j.neunet.2022.09.003, arXiv 2111.09553); their
letters (a) to (i) stand with each way.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from spikelore.continual.fusion import plasticity
from spikelore.data import Examples, class_counts
from spikelore.data.examples import concatenated
from spikelore.errors import InputError, check_whole
from spikelore.learning.reward_stdp import Bounds
from spikelore.metrics.streaming_quantiles import StreamingQuantiles
from spikelore.networks.first_spike import FirstSpikeConfig, FirstSpikeNetwork
from spikelore.networks.gradient_learning import SPIKE_FROM
from spikelore.randomness import generator

_DRAWN_AT_ONCE = 2000


@dataclass(frozen=True)
class FirstTask:
    """What decides the network that knows the first task; ways with equal ones begin from the same network.

    Attributes:
        network: sizes and constants.
        epochs: passes over the images for the decision layer.
        patience: end when so many epochs have passed since the best one; 0 to do all.
        noise: of the rates, see `spikelore.learning.reward_stdp.noisy`.
    """

    network: FirstSpikeConfig
    epochs: int
    patience: int = 0
    noise: float = 0.0


@dataclass(frozen=True)
class Way:
    """Learning of the second task as published: the feature layers learn on, then the decision layer by reward.

    Attributes:
        title: what tables call it, as far as all of its settings have one name.
        preset: ``published``, or ``best`` for ours.
        stages: of the second task, in order.
    """

    title: ClassVar[str] = "lateral inhibition"
    preset: ClassVar[str] = "published"
    stages: ClassVar[tuple[str, ...]] = ("layer 1", "layer 2", "decision")

    @property
    def name(self) -> str:
        """What tables call it."""
        return self.title

    def first(self, task: FirstTask) -> FirstTask:
        """Return the first task that it begins from, in place of the usual one."""
        return task

    def images_stored(self, known: Examples) -> Examples:
        """Return what it keeps of the first task's training images."""
        return known.take(np.zeros(0, np.int64))

    def bytes_stored(self, known: Examples) -> int:
        """Return how many bytes that takes, a byte of label each among them."""
        stored = self.images_stored(known)
        return len(stored) * (math.prod(stored.inputs.shape[1:]) + 1)

    def images_beside(self, known: Examples, network: FirstSpikeNetwork, seed: int) -> Examples:
        """Return the images that are learned beside the second task's.

        Args:
            known: training images of the first task, of which it uses what `images_stored` returns and no other.
            network: that knows the first task.
            seed: root seed of what is drawn.
        """
        return self.images_stored(known)

    def rates(self, adaptive_scale: float) -> tuple[float, float]:
        """Return the second task's noise (relative to the rates), and its adaptive scale in place of the usual one."""
        return 0.0, adaptive_scale

    def bounds(self, network: FirstSpikeNetwork, quantiles: StreamingQuantiles | None) -> Bounds | None:
        """Return how far each weight of the decision layer may move in the second task; None for the usual bounds.

        Args:
            network: that knows the first task.
            quantiles: of its weights' values, of a way with a stage ``sampling``.
        """
        return None


@dataclass(frozen=True)
class LateralInhibition(Way):
    """Lateral inhibition (b): nothing guards the first task but that neighbours of a winner may not win, too.

    Attributes:
        radii: of the inhibition in layers 1 and 2, 0 for none; those of the network if not given.
    """

    radii: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        for radius in self.radii or ():
            check_whole("radii", radius)

    def first(self, task: FirstTask) -> FirstTask:
        """Return the task with these radii."""
        if self.radii is None:
            return task
        one, two = (
            replace(layer, inhibition_radius=radius)
            for layer, radius in zip((task.network.layer_1, task.network.layer_2), self.radii, strict=True)
        )
        return replace(task, network=replace(task.network, layer_1=one, layer_2=two))


@dataclass(frozen=True)
class Forgetting(LateralInhibition):
    """No lateral inhibition (a): the first task is learned without it, too, which takes longer.

    Attributes:
        radii: see `LateralInhibition`.
        epochs: of the first task's decision layer.
        patience: see `FirstTask`.
    """

    title = "forgetting"
    radii: tuple[int, int] | None = (0, 0)
    epochs: int = 600
    patience: int = 20

    def __post_init__(self) -> None:
        super().__post_init__()
        check_whole("forgetting.epochs", self.epochs, 1)
        check_whole("forgetting.patience", self.patience)

    def first(self, task: FirstTask) -> FirstTask:
        """Return the task with these radii and epochs."""
        return replace(super().first(task), epochs=self.epochs, patience=self.patience)


@dataclass(frozen=True)
class PseudoRehearsal(Way):
    """Pseudo-rehearsal (c): beside the new images, drawn ones that the old network takes for something it knows.

    They show randomly oriented bars; each has the label that the network that knows the first task gives it, and each
    class as many as the first task had training images. What the bars look like is not published; here an image has 1
    to ``bars`` of them, 2 to 4 pixels wide and a quarter to three quarters of its side long.

    Attributes:
        bars: most bars of an image.
        most_drawn: images drawn for each that is wanted; a class that none of them is taken for has none.
    """

    title = "pseudo-rehearsal"
    bars: int = 3
    most_drawn: int = 10

    def __post_init__(self) -> None:
        check_whole("pseudo_rehearsal.bars", self.bars, 1)
        check_whole("pseudo_rehearsal.most_drawn", self.most_drawn, 1)

    def images_beside(self, known: Examples, network: FirstSpikeNetwork, seed: int) -> Examples:
        """Return the drawn images, class after class; those of a class with too few come more than once."""
        wanted, rng = class_counts(known.labels), generator(seed, "bars")
        found: dict[int, list[NDArray[np.uint8]]] = {label: [] for label in wanted}
        left = self.most_drawn * len(known)
        while left > 0 and any(len(found[label]) < count for label, count in wanted.items()):
            images = drawn_bars(min(left, _DRAWN_AT_ONCE), known.inputs.shape[1:], self.bars, rng)
            left -= len(images)
            for image, label in zip(images, network.predict(images), strict=True):
                if label in found and len(found[label]) < wanted[label]:
                    found[label].append(image)
        parts = [
            Examples(np.resize(np.stack(found[label]), (count, *known.inputs.shape[1:])), np.full(count, label))
            for label, count in wanted.items()
            if found[label]
        ]
        return concatenated(parts) if parts else self.images_stored(known)


def drawn_bars(count: int, shape: Sequence[int], most: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return images (N,H,W) of 1 to ``most`` bright bars each, of any direction, on black."""
    rows, columns = np.indices(shape, np.float32)
    images, side = np.zeros((count, *shape), np.float32), min(shape)
    bars = rng.integers(1, most + 1, count)
    for number in range(most):
        angle = rng.uniform(0, np.pi, count)
        length, width = rng.uniform(side / 4, 3 * side / 4, count), rng.uniform(2, 4, count)
        middle = rng.uniform(side / 4, 3 * side / 4, (2, count))
        y, x = (grid - at[:, None, None] for grid, at in zip((rows, columns), middle, strict=True))
        sine, cosine = np.sin(angle)[:, None, None], np.cos(angle)[:, None, None]
        along, across = np.abs(x * cosine + y * sine), np.abs(y * cosine - x * sine)
        inside = np.minimum(length[:, None, None] / 2 - along, width[:, None, None] / 2 - across)
        images = np.where((number < bars)[:, None, None], np.maximum(images, np.clip(inside + 0.5, 0, 1)), images)
    return np.rint(255 * images).astype(np.uint8)


@dataclass(frozen=True)
class Reminder(Way):
    """Few-shot self-reminder (d, e) and joint training (i): some or all of the old images are learned beside the new.

    Of each class a share of its images is stored; each comes so often that old images are as many as there were.

    Attributes:
        share: of each class's images, above 0 and at most 1; at least one image of a class.
    """

    share: float = 0.1

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            more = self.share > 1
            raise InputError(
                f"a reminder's share is {self.share:g}, {'more images than there are' if more else 'no image'}, "
                "expected above 0 and at most 1; choose another share"
            )

    @property
    def name(self) -> str:
        """What tables call it: how much is stored."""
        return "joint" if self.share == 1 else f"reminder {100 * self.share:g} %"

    def images_stored(self, known: Examples) -> Examples:
        """Return the first images of each class."""
        kept = [
            np.flatnonzero(known.labels == label)[: max(1, round(self.share * count))]
            for label, count in class_counts(known.labels).items()
        ]
        return known.take(np.concatenate(kept))

    def images_beside(self, known: Examples, network: FirstSpikeNetwork, seed: int) -> Examples:
        """Return the stored images of each class again and again."""
        stored = self.images_stored(known)
        parts = [
            np.resize(np.flatnonzero(stored.labels == label), count)
            for label, count in class_counts(known.labels).items()
        ]
        return stored.take(np.concatenate(parts))


@dataclass(frozen=True)
class RateNoise(Way):
    """Noise (f): in both tasks each rate r of the winner is drawn from N(r, ``noise`` |r|).

    Attributes:
        noise: deviation of a rate, relative to it.
        adaptive_scale: of the second task's rates.
        epochs: of the first task's decision layer.
    """

    title = "noise"
    noise: float = 0.5
    adaptive_scale: float = 1.0
    epochs: int = 100

    def __post_init__(self) -> None:
        check_whole("noise.epochs", self.epochs, 1)
        if not self.noise >= 0:
            raise InputError(f"noise.noise is {self.noise}, expected 0 or more; choose another number")

    def first(self, task: FirstTask) -> FirstTask:
        """Return the task with noise."""
        return replace(task, epochs=self.epochs, noise=self.noise)

    def rates(self, adaptive_scale: float) -> tuple[float, float]:
        """Return its own."""
        return self.noise, self.adaptive_scale


@dataclass(frozen=True)
class FrozenLarge(Way):
    """Frozen large weights (g): in the second task the decision layer's largest weights do not move.

    Attributes:
        share: of all weights of the layer, from 0 to 1; of equal ones the first.
    """

    title = "frozen"
    share: float = 0.1

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise InputError(f"frozen.share is {self.share}, expected 0 to 1; give the share of weights to freeze")

    def bounds(self, network: FirstSpikeNetwork, quantiles: StreamingQuantiles | None) -> Bounds:
        """Return bounds whose frozen weights have none but their own value."""
        weights, decision = network.unit_weights, network.config.decision
        largest = largest_share(weights, self.share)
        lower, upper = np.full_like(weights, decision.lower), np.full_like(weights, decision.upper)
        for bound in (lower, upper):
            bound.flat[largest] = weights.flat[largest]
        return lower, upper


@dataclass(frozen=True)
class Langevin(Way):
    """Langevin bounds (h): in the second task no weight leaves the deciles that it had in a noisy first task.

    The trained network first goes on learning the first task with noise (`spikelore.learning.langevin`). Of the values
    that a weight takes there, its bounds are the quantiles ``low`` and ``high``: w stays in D10 .. D90.

    Attributes:
        epochs: of sampling, passes over the first task's images.
        record_every: images between two values that count.
        deviation: of the noise that is then added to each weight. Published is N(0, 4e-4), of which the second number
            is the variance: with it as the deviation, accuracy does not drift to 82 % as theirs does.
        low: share of a weight's values below its lower bound.
        high: share of them up to its upper bound.
    """

    title = "langevin"
    stages = ("sampling", "layer 1", "layer 2", "decision")
    epochs: int = 24
    record_every: int = 100
    deviation: float = 0.02
    low: float = 0.1
    high: float = 0.9

    def __post_init__(self) -> None:
        check_whole("langevin.epochs", self.epochs, 1)
        check_whole("langevin.record_every", self.record_every, 1)
        if not self.deviation >= 0:
            raise InputError(f"langevin.deviation is {self.deviation}, expected 0 or more; choose another number")
        if not 0 <= self.low <= self.high <= 1:
            raise InputError(
                f"langevin.low and high are {self.low} and {self.high}, expected shares from 0 to 1, the lower one "
                "first; correct them"
            )

    def bounds(self, network: FirstSpikeNetwork, quantiles: StreamingQuantiles | None) -> Bounds:
        """Return the quantiles.

        Raises:
            InputError: there are none, or of no records.
        """
        if quantiles is None:
            raise InputError("bounds by Langevin need the quantiles of a sampling, but there are none; sample first")
        lower, upper = quantiles.values((self.low, self.high))
        return lower, upper


@dataclass(frozen=True)
class ProtectedTemplates(Way):
    """Ours: nothing that the first task needs moves, and little or nothing is stored.

    The feature layers stay as the first task left them. With its images still there, the units of the decision layer
    become templates in the order of their importance (`spikelore.learning.template_stdp`). Then the first ``protected``
    of each class's units are frozen, and the others learn the second task. Stored images of the first task teach none
    of them: they only push away units of other classes that come too near.

    Attributes:
        protected: share of each class's units, 0 to 1.
        epochs: over the second task's images.
        stored: images of each class that are stored, 0 for none.
        bits: of a stored pixel, 8, or 1 for black or white.
        gain: the factor by which scores of protected units count. Their correlations are lower than those of units that
            have learned the second task for fewer epochs.
        revive: units that the second task hardly uses after its first epoch start anew from images decided wrongly.
    """

    title = "protected templates"
    preset = "best"
    stages = ("consolidation", "templates")
    protected: float = 0.5
    epochs: int = 10
    stored: int = 0
    bits: int = 8
    gain: float = 1.06
    revive: bool = True

    def __post_init__(self) -> None:
        check_whole("templates.epochs", self.epochs, 1)
        check_whole("templates.stored", self.stored)
        if self.bits not in (1, 8):
            raise InputError(f"templates.bits is {self.bits}, expected 1 or 8; choose one of them")
        if not 0 < self.gain < math.inf:
            raise InputError(f"templates.gain is {self.gain}, expected a number above 0; choose another one")
        if not 0 <= self.protected <= 1:
            raise InputError(
                f"templates.protected is {self.protected}, expected 0 to 1; give the share of units to protect"
            )

    def plasticity(self, network: FirstSpikeNetwork) -> NDArray[np.float32]:
        """Return 0 for each unit that is protected and 1 for the others, (F,)."""
        return plasticity([class_counts(network.unit_classes)], self.protected)

    @property
    def name(self) -> str:
        """What tables call it: what is stored."""
        if not self.stored:
            return self.title
        return f"{self.title}, {self.stored} {'black and white ' if self.bits == 1 else ''}images a class"

    def images_stored(self, known: Examples) -> Examples:
        """Return the first images of each class, as they are after storage.

        Raises:
            InputError: a class has fewer.
        """
        counts = class_counts(known.labels)
        if counts and self.stored > min(counts.values()):
            raise InputError(
                f"templates.stored is {self.stored}, more images than there are of a class, {min(counts.values())}; "
                "store fewer"
            )
        kept = [np.flatnonzero(known.labels == label)[: self.stored] for label in counts]
        stored = known.take(np.concatenate(kept) if kept else np.zeros(0, np.int64))
        if self.bits == 1:
            return Examples(np.where(stored.inputs >= SPIKE_FROM, 255, 0).astype(np.uint8), stored.labels)
        return stored

    def bytes_stored(self, known: Examples) -> int:
        """Return how many bytes that takes, whole ones an image, and a byte of label each."""
        stored = self.images_stored(known)
        return len(stored) * (-(-math.prod(stored.inputs.shape[1:]) * self.bits // 8) + 1)

    def images_beside(self, known: Examples, network: FirstSpikeNetwork, seed: int) -> Examples:
        """Return the stored images again and again, a quarter as many as all were."""
        stored = self.images_stored(known)
        return stored.take(np.resize(np.arange(len(stored)), len(known) // 4 if len(stored) else 0))


def largest_share(weights: NDArray[np.floating], share: float) -> NDArray[np.int64]:
    """Return where the largest of weights are in their flattened array, a ``share`` of all; of equal ones the first."""
    return np.argsort(-weights, axis=None, kind="stable")[: round(share * weights.size)]


def mixed(new: Examples, beside: Examples, seed: int) -> Examples:
    """Return new images and others in one random order; new ones alone stay in theirs."""
    if not len(beside):
        return new
    both = concatenated([new, beside])
    return both.take(generator(seed, "mixed").permutation(len(both)))
