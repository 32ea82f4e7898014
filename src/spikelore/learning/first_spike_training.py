"""How a first-spike network is trained as published, one layer after the other, epoch after epoch.

Layer 1, then layer 2 learn from images alone (STDP). Then the decision layer learns from right and wrong answers
(R-STDP); of its epochs the one that decides best on held-out images is kept. Our own last part makes templates of it
(`spikelore.learning.template_stdp`). Each part can be stopped between two epochs and go on, bit for bit.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from spikelore.data import Examples
from spikelore.errors import check_whole
from spikelore.kernels.reward_stdp import KnownPotentials, Rates, SpikeLists
from spikelore.learning import reward_stdp, template_stdp
from spikelore.learning.reward_stdp import Outcome, RewardStdpConfig
from spikelore.learning.stdp import StdpConfig, learn_layer
from spikelore.learning.template_stdp import TemplateStdpConfig
from spikelore.networks.first_spike import FirstSpikeNetwork
from spikelore.randomness import generator
from spikelore.shapes import Images, Labels


@dataclass(frozen=True, eq=False)
class FeatureExamples:
    """Labelled images as the decision layer sees them: all networks of the same features see the same.

    Attributes:
        features: what spikes.
        labels: (N,) int64.
        known: what one network's last pass over them leaves for the next.
    """

    features: SpikeLists
    labels: Labels
    known: KnownPotentials = field(default_factory=KnownPotentials)

    @classmethod
    def of(cls, network: FirstSpikeNetwork, images: Examples) -> Self:
        """Return images as a network's feature layers show them."""
        return cls(network.features_of(images.inputs), images.labels)

    def outcome(self, network: FirstSpikeNetwork) -> Outcome:
        """Return how a network decides them."""
        return Outcome.of(network.decide(self.features, known=self.known), self.labels)


class Training:
    """One part of the training.

    Attributes:
        network: as it is after the last epoch; the one that was given is not changed.
        epochs: passes over the images in all.
        epoch: passes that are done.

    Args:
        network: to start from.
        epochs: passes over the images.
        learn: of a network and the epoch's number (0, 1 ...): the network that learned, and what is known of it.
    """

    def __init__(
        self, network: FirstSpikeNetwork, epochs: int,
        learn: Callable[[FirstSpikeNetwork, int], tuple[FirstSpikeNetwork, dict[str, float]]],
    ) -> None:  # fmt: skip
        check_whole("epochs", epochs, 1)
        self.network, self.epochs, self.epoch, self._learn = network, epochs, 0, learn

    @property
    def settled(self) -> bool:
        """Whether further epochs would change nothing that counts."""
        return False

    def steps(self) -> Iterator[dict[str, float]]:
        """Go on to the last epoch; yield what is known of each one."""
        while self.epoch < self.epochs and not self.settled:
            self.network, told = self._learn(self.network, self.epoch)
            self.epoch += 1
            yield told

    def finish(self) -> FirstSpikeNetwork:
        """Go on to the last epoch and return what comes of it: the network."""
        for _ in self.steps():
            pass
        return self.network

    def state_dict(self) -> tuple[dict[str, NDArray], str]:
        """Return all that decides how it goes on: arrays by name, and the rest as JSON."""
        return self.network.state_dict(), json.dumps({"epoch": self.epoch})

    def load_state_dict(self, arrays: Mapping[str, NDArray], facts: str) -> None:
        """Go on from what `state_dict` of the same training returned."""
        self.network = self.network.copy()
        self.network.load_state_dict(arrays)
        self.epoch = json.loads(facts)["epoch"]


def layer_training(
    network: FirstSpikeNetwork, layer: Literal[1, 2], images: Images, epochs: int, config: StdpConfig | None = None,
    *, seen: int = 0,
) -> Training:  # fmt: skip
    """Return the training of a feature layer without labels; it tells the mean number of ``winners``.

    Args:
        network: to start from; for layer 2, layer 1 has learned.
        layer: 1 or 2.
        images: (N,H,W) uint8, in the order in which they come.
        epochs: passes over them.
        config: rates; the published ones if not given.
        seen: images that the layer has learned from before; its rates go on from there.
    """
    inputs, order, rates = network.layer_inputs(layer, images), np.arange(len(images)), config or StdpConfig()

    def learn(network: FirstSpikeNetwork, epoch: int) -> tuple[FirstSpikeNetwork, dict[str, float]]:
        network, winners = learn_layer(network, layer, inputs, order, rates, seen=seen + epoch * len(order))
        return network, {"winners": winners}

    return Training(network, epochs, learn)


def learn_features(
    network: FirstSpikeNetwork, images: Images, epochs: tuple[int, int] = (2, 4), config: StdpConfig | None = None
) -> FirstSpikeNetwork:
    """Return the network with both feature layers trained, by `layer_training`.

    The published ``epochs`` of layer 1 and layer 2 are those of large data; small data needs more.
    """
    network = layer_training(network, 1, images, epochs[0], config).finish()
    return layer_training(network, 2, images, epochs[1], config).finish()


class ChosenTraining(Training):
    """A training of the decision layer whose epochs are compared; what comes of it is the network of its ``best`` one.

    It tells of each epoch what ``learn`` does, and the share of right decisions of each set that is asked.

    Args:
        network: to start from.
        epochs: passes over the images.
        learn: see `Training`.
        asked: sets by name to decide after each epoch. The best epoch is the one with the most right decisions of the
            first set, the first of several; without any set it is the last.
        patience: end when so many epochs have passed since the best one; 0 to do all.
    """

    def __init__(
        self, network: FirstSpikeNetwork, epochs: int,
        learn: Callable[[FirstSpikeNetwork, int], tuple[FirstSpikeNetwork, dict[str, float]]],
        asked: Mapping[str, FeatureExamples] | None = None, *, patience: int = 0,
    ) -> None:  # fmt: skip
        super().__init__(network, epochs, self._compared)
        self.asked, self.patience, self._learn_one = asked or {}, patience, learn
        self.best, self.most_right, self.waited = network, -1.0, 0

    def _compared(self, network: FirstSpikeNetwork, epoch: int) -> tuple[FirstSpikeNetwork, dict[str, float]]:
        network, told = self._learn_one(network, epoch)
        right = {name: examples.outcome(network).right for name, examples in self.asked.items()}
        held_out = next(iter(right.values()), float(epoch))
        self.waited += 1
        if held_out > self.most_right:
            self.best, self.most_right, self.waited = network, held_out, 0
        return network, {**told, **right}

    @property
    def settled(self) -> bool:
        """Whether the best epoch is as long ago as its patience."""
        return 0 < self.patience <= self.waited

    def finish(self) -> FirstSpikeNetwork:
        """Go on to the last epoch and return the network of the best one."""
        super().finish()
        return self.best

    def state_dict(self) -> tuple[dict[str, NDArray], str]:
        """Return what `Training.state_dict` does, and the best epoch's units."""
        told = {"epoch": self.epoch, "most_right": self.most_right, "waited": self.waited}
        best = {f"best/{name}": getattr(self.best, name) for name in _UNITS}
        return {**self.network.state_dict(), **best}, json.dumps(told)

    def load_state_dict(self, arrays: Mapping[str, NDArray], facts: str) -> None:
        """Go on from what `state_dict` of the same training returned."""
        super().load_state_dict(arrays, facts)
        self.best = replace(self.network, **{name: arrays[f"best/{name}"] for name in _UNITS})
        told = json.loads(facts)
        self.most_right, self.waited = told["most_right"], told["waited"]


_UNITS = ("unit_weights", "unit_gains", "unit_centres")
"""What such an epoch changes."""


class DecisionTraining(ChosenTraining):
    """The training of the decision layer by reward.

    It tells the shares of right and silent decisions while it learned (``train``, ``silent``).

    Args:
        network: to start from, whose features have learned.
        train: in the order in which they come.
        epochs: passes over them.
        config: rates; the published ones if not given.
        asked: see `ChosenTraining`.
        patience: likewise.
        noise: see `spikelore.learning.reward_stdp.noisy`; 0 for none.
        seed: root seed of the noise.
        bounds: of each weight, see `spikelore.learning.reward_stdp.learn_epoch`.
    """

    def __init__(
        self, network: FirstSpikeNetwork, train: FeatureExamples, epochs: int, config: RewardStdpConfig | None = None,
        asked: Mapping[str, FeatureExamples] | None = None, *, patience: int = 0, noise: float = 0.0, seed: int = 0,
        bounds: reward_stdp.Bounds | None = None,
    ) -> None:  # fmt: skip
        super().__init__(network, epochs, self._learn_epoch, asked, patience=patience)
        self.train, self.config = train, config or RewardStdpConfig()
        self.noise, self.seed, self.bounds, self.rates = noise, seed, bounds, self.config.base()

    def _learn_epoch(self, network: FirstSpikeNetwork, epoch: int) -> tuple[FirstSpikeNetwork, dict[str, float]]:
        train, order, rates = self.train, np.arange(len(self.train.labels)), self.rates
        if self.noise:
            rates = reward_stdp.noisy(rates, self.noise, len(order), generator(self.seed, "noise of rates", epoch))
        network, seen = reward_stdp.learn_epoch(
            network, train.features, train.labels, order, rates, bounds=self.bounds, known=train.known
        )
        self.rates = self.config.adapt(seen.right, seen.wrong)
        return network, {"train": seen.right, "silent": seen.silent}

    def state_dict(self) -> tuple[dict[str, NDArray], str]:
        """Return what `ChosenTraining.state_dict` does, and the rates."""
        arrays, facts = super().state_dict()
        return arrays, json.dumps({**json.loads(facts), "rates": asdict(self.rates)})

    def load_state_dict(self, arrays: Mapping[str, NDArray], facts: str) -> None:
        """Go on from what `state_dict` of the same training returned."""
        super().load_state_dict(arrays, facts)
        self.rates = Rates(*(tuple(pair) for pair in json.loads(facts)["rates"].values()))


def consolidation(
    network: FirstSpikeNetwork, train: FeatureExamples, config: TemplateStdpConfig | None = None, seed: int = 0
) -> Training:
    """Return the training that makes templates of a trained decision layer; it tells the right decisions (``train``).

    See `spikelore.learning.template_stdp.consolidate`.
    """
    rates = config or TemplateStdpConfig()

    def learn(network: FirstSpikeNetwork, epoch: int) -> tuple[FirstSpikeNetwork, dict[str, float]]:
        network, right = template_stdp.learn_epoch(network, train.features, train.labels, epoch, rates, seed)
        return network, {"train": right}

    return Training(network, rates.epochs, learn)


def further_templates(
    network: FirstSpikeNetwork, train: FeatureExamples, epochs: int, config: TemplateStdpConfig, seed: int,
    plasticity: NDArray[np.float32], asked: Mapping[str, FeatureExamples], *, warning: NDArray[np.bool_] | None = None,
    gain: float = 1.0, revive: bool = False,
) -> ChosenTraining:  # fmt: skip
    """Return the training by which templates learn further data; it tells the right decisions (``train``).

    See `spikelore.learning.template_stdp.learn_more_epoch`, and `ChosenTraining` for ``asked``. When they decide, the
    scores of units that do not learn count ``gain`` times.
    """
    gains = np.where(plasticity > 0, 1, gain).astype(np.float32)

    def learn(network: FirstSpikeNetwork, epoch: int) -> tuple[FirstSpikeNetwork, dict[str, float]]:
        network, right = template_stdp.learn_more_epoch(
            network, train.features, train.labels, epoch, epochs, config, seed, plasticity=plasticity,
            warning=warning, revive=revive,
        )  # fmt: skip
        balanced = network.with_units(
            network.unit_weights, network.unit_classes, network.unit_gains * gains, network.unit_centres
        )
        return balanced, {"train": right}

    return ChosenTraining(network, epochs, learn, asked)
