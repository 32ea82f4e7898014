"""Consolidation: the decision layer of a trained first-spike network becomes a set of ordered templates.

Rewarded STDP with hard bounds makes weights that decide well among the classes it saw and say little about how
well an input fits. Here the units learn on by rewarded STDP with soft bounds (`spikelore.kernels.template_stdp`),
compete by correlation, and end as the mean inputs they stand for. Scores of such units are on one scale in all
networks that share their features, whatever data they learned.

The units of a class end in the order of their importance: two thirds of the images are shown to the first half of
each class alone, so that a network loses little when it is pruned.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spikelore.errors import InputError, check_whole
from spikelore.kernels import DEFAULT_BACKEND, template_stdp
from spikelore.kernels.reward_stdp import SpikeLists
from spikelore.kernels.template_stdp.correlation import competing, gains_and_centres
from spikelore.networks.first_spike import FirstSpikeNetwork
from spikelore.randomness import generator
from spikelore.shapes import Labels, as_labels, as_shares

_GATHER_EPOCHS = 2
_LEAST_REWARDS = 5


@dataclass(frozen=True)
class TemplateStdpConfig:
    """Rates of consolidation.

    Attributes:
        epochs: passes over the training images; the first three make means, all others widen the margin.
        rate: of reward and punishment when the margin is learned; it falls linearly to 0.
        margin: learn from images whose best right unit leads the best wrong one by less (a correlation, 0..1).
        nested: shares of each class's units that compete for an image, one drawn per image, each as likely.
    """

    epochs: int = 7
    rate: float = 0.02
    margin: float = 0.02
    nested: tuple[float, ...] = (0.5, 0.5, 1.0)

    def __post_init__(self) -> None:
        check_whole("consolidation.epochs", self.epochs)
        if self.epochs <= _GATHER_EPOCHS:
            raise InputError(f"consolidation.epochs is {self.epochs}; it must be above {_GATHER_EPOCHS}")
        if not self.margin >= 0:
            raise InputError(f"consolidation.margin is {self.margin}; it must be 0 or more")
        if not 0 < self.rate <= 1:
            raise InputError(f"consolidation.rate is {self.rate}; it must be above 0 and at most 1")
        if not self.nested or not all(0 < share <= 1 for share in self.nested):
            raise InputError(f"consolidation.nested is {self.nested}; it must be shares above 0 and at most 1")


def learn_epoch(
    network: FirstSpikeNetwork,
    features: SpikeLists,
    labels: Labels,
    epoch: int,
    config: TemplateStdpConfig,
    seed: int,
    *,
    backend: str = DEFAULT_BACKEND,
) -> tuple[FirstSpikeNetwork, float]:
    """Do epoch ``epoch`` (0, 1 ...) of consolidation; return the network and its share of right decisions.

    Epochs 0 and 1: every image moves its best right unit. After epoch 0, units that were hardly ever best start
    anew halfway between a wrongly decided image and the unit of its class that fits it best. After epoch 1 the
    units of each class are put in the order of how often they were best. Epoch 2: the same with nested units.
    From epoch 3: reward and punishment within the margin.

    Args:
        network: from the epoch before; not changed.
        features: from `FirstSpikeNetwork.features`.
        labels: (N,) class of each image.
        epoch: which one.
        config: rates.
        seed: root seed of the order and the draws.
        backend: ``numba_cpu`` or ``reference``.

    Raises:
        InputError: not one label an image, or one that no unit stands for.
    """
    labels = _known(labels, features, network)
    if not 0 <= epoch < config.epochs:
        raise InputError(f"epoch is {epoch}, expected one of {config.epochs}, 0 first; choose another number")
    rng = generator(seed, "consolidation", epoch)
    order = rng.permutation(len(labels))
    ranks = _ranks(network.unit_classes)
    gathering = epoch < _GATHER_EPOCHS
    margin_epochs = config.epochs - _GATHER_EPOCHS - 1
    widening = epoch > _GATHER_EPOCHS
    result = template_stdp.train(
        features, order, labels, network.unit_weights, network.unit_classes,
        padding=network.config.decision.padding,
        rate=config.rate * (config.epochs - epoch) / margin_epochs if widening else None,
        margin=config.margin if widening else None,
        ranks=ranks,
        limits=None if gathering else _limits(network.unit_classes, labels[order], config.nested, rng),
        backend=backend,
    )  # fmt: skip
    weights, classes = result.weights, network.unit_classes
    if epoch == 0:
        weights = _revived(network, weights, result.rewarded, features, labels, rng)
    elif epoch == 1:
        by_importance = np.lexsort((-result.rewarded, classes))
        weights, classes = weights[by_importance], classes[by_importance]
    return _with_templates(network, weights, classes), result.right


def consolidate(
    network: FirstSpikeNetwork, features: SpikeLists, labels: Labels, config: TemplateStdpConfig | None = None,
    *, seed: int = 0, backend: str = DEFAULT_BACKEND,
) -> FirstSpikeNetwork:  # fmt: skip
    """Return the trained network with its decision layer consolidated on its own data: all of `learn_epoch`.

    Args:
        network: trained; not changed.
        features: of its training images, from `FirstSpikeNetwork.features`.
        labels: (N,) class of each image.
        config: rates; the defaults if not given.
        seed: root seed of the order and the draws.
        backend: ``numba_cpu`` or ``reference``.
    """
    config = config or TemplateStdpConfig()
    for epoch in range(config.epochs):
        network, _ = learn_epoch(network, features, labels, epoch, config, seed, backend=backend)
    return network


def learn_more(
    network: FirstSpikeNetwork,
    features: SpikeLists,
    labels: Labels,
    epochs: int,
    config: TemplateStdpConfig,
    seed: int,
    *,
    plasticity: NDArray[np.float32] | None = None,
    warning: NDArray[np.bool_] | None = None,
    backend: str = DEFAULT_BACKEND,
) -> FirstSpikeNetwork:
    """Let a consolidated or fused network learn further data of classes that it has units for.

    Args:
        network: to start from; not changed.
        features: of the new images.
        labels: (N,) their classes.
        epochs: passes; the first moves units to the mean of what they win, the others widen the margin.
        config: rates.
        seed: root seed of the order.
        plasticity: (F,) in 0..1, multiplies each unit's rates; 0 protects it. All 1 if not given.
        warning: (N,) bool, images of what protected units know: from the second epoch on they push away units of other
            classes that come too near, and move no unit towards them. None if not given.
        backend: ``numba_cpu`` or ``reference``.

    Raises:
        InputError: not one label an image, or one that no unit stands for, or no plasticity or warning as above.
    """
    check_whole("epochs", epochs)
    for epoch in range(epochs):
        network, _ = learn_more_epoch(
            network, features, labels, epoch, epochs, config, seed, plasticity=plasticity, warning=warning,
            backend=backend,
        )  # fmt: skip
    return network


def learn_more_epoch(
    network: FirstSpikeNetwork,
    features: SpikeLists,
    labels: Labels,
    epoch: int,
    epochs: int,
    config: TemplateStdpConfig,
    seed: int,
    *,
    plasticity: NDArray[np.float32] | None = None,
    warning: NDArray[np.bool_] | None = None,
    revive: bool = False,
    backend: str = DEFAULT_BACKEND,
) -> tuple[FirstSpikeNetwork, float]:
    """Do epoch ``epoch`` (0, 1 ...) of `learn_more`; return the network and its share of right decisions.

    With ``revive``, units that may learn and hardly ever were best in the first epoch start anew, as in `learn_epoch`.
    """
    labels = _known(labels, features, network)
    if plasticity is not None:
        plasticity = as_shares(plasticity, len(network.unit_classes), "plasticity")
    order = generator(seed, "learning on", epoch).permutation(len(labels))
    if warning is not None:
        warning = _as_warning(warning, len(labels))
        order = order if epoch else order[~warning[order]]
    result = template_stdp.train(
        features, order, labels,
        network.unit_weights, network.unit_classes, padding=network.config.decision.padding,
        rate=None if epoch == 0 else config.rate * (1 - (epoch - 1) / max(1, epochs - 1)),
        margin=None if epoch == 0 else config.margin, plasticity=plasticity, warning=warning,
        backend=backend,
    )  # fmt: skip
    weights = result.weights
    if revive and epoch == 0:
        busy = np.zeros(len(weights), np.bool_) if plasticity is None else plasticity == 0
        taught = labels if warning is None else np.where(warning, -1, labels)
        rng = generator(seed, "learning on", "revived")
        weights = _revived(network, weights, np.where(busy, _LEAST_REWARDS, result.rewarded), features, taught, rng)
    return _with_templates(network, weights, network.unit_classes), result.right


def _as_warning(warning: NDArray[np.bool_], count: int) -> NDArray[np.bool_]:
    found = np.asarray(warning)
    if found.shape != (count,) or found.dtype != np.bool_ or found.all():
        raise InputError(
            f"warning is {found.dtype} of shape {found.shape}, expected {count} bool, one an image, not all true; "
            "correct it"
        )
    return found


def _known(labels: Labels, features: SpikeLists, network: FirstSpikeNetwork) -> Labels:
    network.check()
    labels = as_labels(labels, len(features))
    unknown = np.setdiff1d(labels, network.unit_classes)
    if len(unknown):
        raise InputError(
            f"label {unknown[0]} is none of the network's classes {list(network.classes)}; leave its images out"
        )
    return labels


def _with_templates(network: FirstSpikeNetwork, weights: NDArray, classes: NDArray[np.int64]) -> FirstSpikeNetwork:
    gains, centres = gains_and_centres(weights.reshape(len(weights), -1))
    return network.with_units(weights, classes, gains.astype(np.float32), centres.astype(np.float32))


def _ranks(classes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return each unit's position among the units of its class."""
    return np.array([(classes[:f] == one).sum() for f, one in enumerate(classes)], np.int64)


def _limits(
    classes: NDArray[np.int64], labels: Labels, shares: tuple[float, ...], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Draw for each image how many units of a class compete: a share of the units of its own class."""
    values, sizes = np.unique(classes, return_counts=True)
    units = sizes[np.searchsorted(values, labels)]
    return np.maximum(1, np.rint(rng.choice(np.array(shares), len(labels)) * units)).astype(np.int64)


def _revived(
    network: FirstSpikeNetwork, weights: NDArray[np.float32], rewarded: NDArray[np.int64], features: SpikeLists,
    labels: Labels, rng: np.random.Generator,
) -> NDArray[np.float32]:  # fmt: skip
    """Return the weights with units of few rewards made anew from images that are decided wrongly."""
    weights, classes = weights.copy(), network.unit_classes
    scores = _with_templates(network, weights, classes).scores(features)
    wrong = classes[scores.argmax(axis=1)] != labels
    padding, kernel = network.config.decision.padding, weights.shape[2]
    for one in np.unique(classes):
        units = np.flatnonzero(classes == one)
        unused = units[rewarded[units] < _LEAST_REWARDS]
        pool = np.flatnonzero((labels == one) & wrong)
        if len(pool) < len(unused):
            pool = np.flatnonzero(labels == one)
        for unit, image in zip(unused, rng.choice(pool, min(len(unused), len(pool)), replace=False), strict=False):
            parent = weights[units[scores[image, units].argmax()]]
            padded = np.pad(features.spikes(image), ((0, 0), (padding, padding), (padding, padding)))
            windows = np.lib.stride_tricks.sliding_window_view(padded, (kernel, kernel), axis=(1, 2))
            fit = np.einsum("cij,cyxij->yx", competing(parent[None])[0], windows)
            row, column = np.unravel_index(fit.argmax(), fit.shape)
            weights[unit] = (parent + windows[:, row, column]) / 2
    return weights
