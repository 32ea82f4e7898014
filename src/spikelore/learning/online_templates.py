"""Online learning of the first-spike network: features first, then templates, image after image, none kept.

The first images of the first task teach layer 1 by STDP, the next ones layer 2; then both are frozen. From there on the
units of the decision layer learn: a unit that has no template yet takes the first image of its class that comes (at the
place where it sees most of the image's spikes); later images move the unit of their class that correlates best,

    w <- w + max(1 / k, r) (x - w),    k = the images that the unit has won, r = the least rate,

so that it becomes the mean of what it wins (online k-means). Units of a class are its own: new classes move no unit of
an old one.

Stored images are in those means already; to average them once more would draw the means towards the few that are
stored. So rehearsal is another rule: an image, new or stored, whose best right unit leads the best wrong one by less
than a margin moves the first towards it and the second away (LVQ 2.1).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from spikelore.errors import InputError, check_fields, check_whole
from spikelore.kernels import template_stdp
from spikelore.kernels.reward_stdp import SpikeLists
from spikelore.learning.stdp import StdpConfig, learn_layer
from spikelore.shapes import Images, Labels, Weights

if TYPE_CHECKING:
    from spikelore.networks.first_spike import FirstSpikeNetwork

_LAYERS: tuple[Literal[1, 2], ...] = (1, 2)


@dataclass(frozen=True)
class OnlineLearning:
    """How a first-spike network learns online.

    Attributes:
        layer_1_images: the first so many images teach layer 1.
        layer_2_images: the next so many teach layer 2; then both are frozen.
        passes: times that a batch is shown to a layer that learns; small data needs several, since a feature needs some
            tens of wins.
        stdp: rates of both.
        least_rate: of a template; its k-th image moves it by 1 / k, but never by less.
        rehearsal_rate: of reward and punishment in rehearsal.
        margin: rehearse images whose best right unit leads the best wrong one by less (a correlation, 0..1).
    """

    layer_1_images: int = 2000
    layer_2_images: int = 4000
    passes: int = 1
    stdp: StdpConfig = field(default_factory=StdpConfig)
    least_rate: float = 0.01
    rehearsal_rate: float = 0.01
    margin: float = 0.02

    def __post_init__(self) -> None:
        check_fields(self, "learning.")
        check_whole("learning.layer_1_images", self.layer_1_images)
        check_whole("learning.layer_2_images", self.layer_2_images)
        check_whole("learning.passes", self.passes, 1)
        for name in ("least_rate", "rehearsal_rate", "margin"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise InputError(f"learning.{name} is {value}, expected 0 to 1; choose another value")

    @classmethod
    def for_images(cls, images: int) -> Self:
        """Return the settings for a first task of so many images; chosen on validation images of MNIST and digits.

        A seventh of them teach layer 1, twice as many layer 2, at most 1600 and 3200; each batch is shown so often that
        layer 1 learns some 4000 times, 4 to 40 times.
        """
        first = min(1600, images * 14 // 100)
        return cls(layer_1_images=first, layer_2_images=2 * first, passes=min(40, max(4, 4000 // max(1, first))))

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> Self:
        """Return the settings that a checkpoint holds, plain."""
        return cls(**{**raw, "stdp": StdpConfig(**raw["stdp"])})

    @property
    def feature_images(self) -> tuple[int, int]:
        """Images that layer 1 and layer 2 learn from."""
        return self.layer_1_images, self.layer_2_images


def learn_features_(network: "FirstSpikeNetwork", images: Images) -> int:
    """Let the layers that are not frozen learn from the first of these images; return from how many."""
    used = 0
    for layer, goal in zip(_LAYERS, network.learning.feature_images, strict=True):
        seen = int(network.images_seen[layer - 1])
        part = images[used : used + max(0, goal - seen)]
        if not len(part):
            continue
        bins = network.layer_inputs(layer, part)
        passes = network.learning.passes
        order = np.tile(np.arange(len(part)), passes)
        learned, _ = learn_layer(network, layer, bins, order, network.learning.stdp, seen=seen * passes)
        network.weights_1, network.weights_2 = learned.weights_1, learned.weights_2
        for work in (f"forward {layer}", f"learn {layer}"):
            network.tally.add(work, len(order))
        network.images_seen = network.images_seen.copy()
        network.images_seen[layer - 1] = seen + len(part)
        used += len(part)
    return used


@dataclass(frozen=True, eq=False)
class Going:
    """Units on their way from batch to batch, as the kernel lays them out.

    Attributes:
        weights: the network's units as they were left; the learner has these, but for units without a template.
        wins: likewise.
        learner: goes on as long as the network has these very arrays.
    """

    weights: Weights
    wins: NDArray[np.int64]
    learner: template_stdp.Learner


def learn_units_(network: "FirstSpikeNetwork", features: SpikeLists, labels: Labels) -> None:
    """Let the decision layer learn from the features of images, in order."""
    network.tally.add("templates", len(labels))
    _pass_(network, features, np.arange(len(labels)), labels, least_rate=network.learning.least_rate)


def rehearse_units_(network: "FirstSpikeNetwork", features: SpikeLists, labels: Labels) -> None:
    """Let the decision layer widen the margin between classes that it has templates of, image after image."""
    known = np.flatnonzero(np.isin(labels, network.unit_classes[network.unit_wins > 0]))
    if len(known):
        learning = network.learning
        network.tally.add("rehearsal", len(known))
        _pass_(network, features, known, labels, rate=learning.rehearsal_rate, margin=learning.margin)


def _pass_(
    network: "FirstSpikeNetwork", features: SpikeLists, order: NDArray[np.int64], labels: Labels, *,
    rate: float | None = None, margin: float | None = None, least_rate: float = 0.0,
) -> None:  # fmt: skip
    """Show the images ``order`` one after the other; the units that have learned take their new weights."""
    going, weights, wins = network.going, network.unit_weights, network.unit_wins
    if going is None or going.weights is not weights or going.wins is not wins:
        start = np.where((wins == 0)[:, None, None, None], _centred(weights.shape), weights)
    else:
        start = going.learner
    result = template_stdp.train(
        features, order, labels, start, network.unit_classes, padding=network.config.decision.padding, rate=rate,
        margin=margin, plasticity=network.unit_plasticity, wins=wins, least_rate=least_rate, batch=1,
    )  # fmt: skip
    if rate is None:  # rehearsal counts no image again
        network.unit_wins = wins + result.rewarded
    network.unit_weights = result.weights
    waiting = network.unit_wins == 0
    network.unit_weights[waiting] = weights[waiting]
    network.templates = True
    network.follow_weights_(result.changed)
    network.going = Going(network.unit_weights, network.unit_wins, result.learner)


def _centred(shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return weights (F,C,K,K) that are larger the nearer the centre: most of an image fits them where it is whole."""
    distance = np.abs(np.arange(shape[2]) - (shape[2] - 1) / 2)
    profile = 1 - distance / shape[2]
    return np.broadcast_to(np.outer(profile, profile).astype(np.float32), shape)
