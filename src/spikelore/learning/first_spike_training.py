"""How a first-spike network is trained as published, one layer after the other, epoch after epoch.

Layer 1, then layer 2 learn from images alone (STDP). Then the decision layer learns from right and wrong answers
(R-STDP); of its epochs the one that decides best on held-out images is kept. Our own last part makes templates of it
(`spikelore.learning.template_stdp`). Each part can be stopped between two epochs and go on, bit for bit.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from spikelore.data import LabelledImages
from spikelore.errors import check_whole
from spikelore.kernels.reward_stdp import Rates, SpikeLists
from spikelore.learning import reward_stdp, template_stdp
from spikelore.learning.reward_stdp import Outcome, RewardStdpConfig
from spikelore.learning.stdp import StdpConfig, learn_layer
from spikelore.learning.template_stdp import TemplateStdpConfig
from spikelore.networks.first_spike import FirstSpikeNetwork
from spikelore.shapes import Images, Labels


@dataclass(frozen=True, eq=False)
class Examples:
    """Labelled images as the decision layer sees them: all networks of the same features see the same."""

    features: SpikeLists
    labels: Labels

    @classmethod
    def of(cls, network: FirstSpikeNetwork, images: LabelledImages) -> Self:
        """Return images as a network's feature layers show them."""
        return cls(network.features(network.encode(images.images)), images.labels)

    def outcome(self, network: FirstSpikeNetwork) -> Outcome:
        """Return how a network decides them."""
        return Outcome.of(network.decide(self.features), self.labels)


class Training(ABC):
    """One part of the training.

    Attributes:
        network: as it is now; the one that was given is not changed.
        epochs: passes over the images in all.
        epoch: passes that are done.
    """

    def __init__(self, network: FirstSpikeNetwork, epochs: int) -> None:
        check_whole("epochs", epochs, 1)
        self.network = network
        self.epochs = epochs
        self.epoch = 0

    def steps(self) -> Iterator[dict[str, float]]:
        """Go on to the last epoch; yield what is known of each one."""
        while self.epoch < self.epochs:
            told = self._learn()
            self.epoch += 1
            yield told

    def finish(self) -> FirstSpikeNetwork:
        """Go on to the last epoch and return the network."""
        for _ in self.steps():
            pass
        return self.network

    @abstractmethod
    def _learn(self) -> dict[str, float]:
        """Learn one epoch and return what is known of it."""

    def state_dict(self) -> tuple[dict[str, NDArray], str]:
        """Return all that decides how it goes on: arrays by name, and the rest as JSON."""
        return self.network.state_dict(), json.dumps({"epoch": self.epoch})

    def load_state_dict(self, arrays: Mapping[str, NDArray], facts: str) -> None:
        """Go on from what `state_dict` of the same training returned."""
        self.network = self.network.copy()
        self.network.load_state_dict(arrays)
        self.epoch = json.loads(facts)["epoch"]


class LayerTraining(Training):
    """A feature layer learns from images, without labels; tells the mean number of ``winners``.

    Args:
        network: to start from; for layer 2, layer 1 has learned.
        layer: 1 or 2.
        images: (N,H,W) uint8, in the order in which they come.
        epochs: passes over them.
        config: rates; the published ones if not given.
    """

    def __init__(
        self, network: FirstSpikeNetwork, layer: Literal[1, 2], images: Images, epochs: int,
        config: StdpConfig | None = None,
    ) -> None:  # fmt: skip
        super().__init__(network, epochs)
        self.layer: Literal[1, 2] = layer
        self.config = config or StdpConfig()
        bins = network.encode(images)
        self.inputs = bins if layer == 1 else network.layer_1_bins(bins)

    def _learn(self) -> dict[str, float]:
        order = np.arange(len(self.inputs))
        self.network, winners = learn_layer(
            self.network, self.layer, self.inputs, order, self.config, seen=self.epoch * len(order)
        )
        return {"winners": winners}


def learn_features(
    network: FirstSpikeNetwork, images: Images, epochs: tuple[int, int] = (2, 4), config: StdpConfig | None = None
) -> FirstSpikeNetwork:
    """Return the network with both feature layers trained.

    Args:
        network: to start from; not changed.
        images: (N,H,W) uint8, in the order in which they come.
        epochs: passes over them for layer 1 and for layer 2; small data needs more than the published ones.
        config: rates; the published ones if not given.
    """
    network = LayerTraining(network, 1, images, epochs[0], config).finish()
    return LayerTraining(network, 2, images, epochs[1], config).finish()


class DecisionTraining(Training):
    """The decision layer learns from reward; ``network`` is that of the best epoch, ``last`` that of the last one.

    Tells the shares of right and silent decisions while it learned (``train``, ``silent``), and of right ones of each
    set that is asked.

    Args:
        network: to start from, whose features have learned.
        train: in the order in which they come.
        epochs: passes over them.
        config: rates; the published ones if not given.
        asked: sets by name to decide after each epoch; the best epoch is the first one with the most right decisions of
            the first set. Without any the last epoch is the best.
    """

    def __init__(
        self, network: FirstSpikeNetwork, train: Examples, epochs: int, config: RewardStdpConfig | None = None,
        asked: Mapping[str, Examples] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(network, epochs)
        self.train = train
        self.config = config or RewardStdpConfig()
        self.asked = asked or {}
        self.last = network
        self.most_right = -1.0
        self.rates = self.config.base()

    def _learn(self) -> dict[str, float]:
        order = np.arange(len(self.train.labels))
        self.last, seen = reward_stdp.learn_epoch(self.last, self.train.features, self.train.labels, order, self.rates)
        self.rates = self.config.adapt(seen.right, seen.wrong)
        right = {name: examples.outcome(self.last).right for name, examples in self.asked.items()}
        first = next(iter(right.values()), 1.0)
        if first > self.most_right or not right:
            self.most_right, self.network = first, self.last
        return {"train": seen.right, "silent": seen.silent, **right}

    def state_dict(self) -> tuple[dict[str, NDArray], str]:
        """Return what `Training.state_dict` does, of the best and of the last epoch."""
        told = {"epoch": self.epoch, "most_right": self.most_right, "rates": asdict(self.rates)}
        return {**self.last.state_dict(), "best/unit_weights": self.network.unit_weights}, json.dumps(told)

    def load_state_dict(self, arrays: Mapping[str, NDArray], facts: str) -> None:
        """Go on from what `state_dict` of the same training returned."""
        super().load_state_dict(arrays, facts)
        told = json.loads(facts)
        self.last, self.most_right = self.network, told["most_right"]
        self.network = replace(self.last, unit_weights=arrays["best/unit_weights"])
        self.rates = Rates(tuple(told["rates"]["reward"]), tuple(told["rates"]["punish"]))


class Consolidation(Training):
    """A trained decision layer becomes templates; tells the share of right decisions meanwhile (``train``).

    Args:
        network: to start from, trained.
        train: what it was trained on.
        config: rates and epochs; the defaults if not given.
        seed: root seed of the order and the draws.
    """

    def __init__(
        self, network: FirstSpikeNetwork, train: Examples, config: TemplateStdpConfig | None = None, seed: int = 0
    ) -> None:
        self.config = config or TemplateStdpConfig()
        super().__init__(network, self.config.epochs)
        self.train = train
        self.seed = seed

    def _learn(self) -> dict[str, float]:
        self.network, right = template_stdp.learn_epoch(
            self.network, self.train.features, self.train.labels, self.epoch, self.config, self.seed
        )
        return {"train": right}
