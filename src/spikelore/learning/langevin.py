"""Langevin sampling of a decision layer: which weights may move without harm, and how far.

A trained layer goes on learning by reward while small noise pushes its weights. A weight that the decisions hang on is
brought back again and again, so that its values stay close together; another one wanders. The quantiles of its values
are therefore bounds for what it may do when something else is learned.

Source: Antonov, Sviatov & Sukhov 2022 (doi 10.1016/j.neunet.2022.09.003), "Langevin dynamics". Their records of all
weights take 28 GB; here quantiles are counted as the records come (`spikelore.metrics.streaming_quantiles`).
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikelore.errors import check_whole
from spikelore.files import arrays_under
from spikelore.kernels.reward_stdp import Rates
from spikelore.learning import reward_stdp
from spikelore.learning.first_spike_training import FeatureExamples, Training
from spikelore.learning.reward_stdp import RewardStdpConfig
from spikelore.metrics.streaming_quantiles import StreamingQuantiles
from spikelore.networks.first_spike import FirstSpikeNetwork
from spikelore.randomness import generator


class LangevinSampling(Training):
    """Rewarded learning of a decision layer with noise on its weights, whose values are counted.

    After every so many images the values of all weights are counted, then a normal number is added to each of them and
    all are clipped to their bounds. An epoch tells the share of right decisions while it learned (``train``).

    Attributes:
        quantiles: of the values of each weight so far.

    Args:
        network: trained.
        train: images in the order in which they come.
        epochs: passes over them.
        record_every: images between two records; a last, shorter run of images in an epoch is not recorded.
        deviation: of the noise.
        config: rates of reward; those of the first epoch follow from how the network decides the images.
        seed: root seed of the noise.
    """

    def __init__(
        self, network: FirstSpikeNetwork, train: FeatureExamples, epochs: int, *, record_every: int, deviation: float,
        config: RewardStdpConfig, seed: int,
    ) -> None:  # fmt: skip
        super().__init__(network, epochs, self._sample_epoch)
        check_whole("record_every", record_every, 1)
        decision = network.config.decision
        self.train, self.config, self.seed = train, config, seed
        self.record_every, self.deviation = record_every, np.float32(deviation)
        self.quantiles = StreamingQuantiles(network.unit_weights.shape, decision.lower, decision.upper)
        self.rates: Rates | None = None

    def _sample_epoch(self, network: FirstSpikeNetwork, epoch: int) -> tuple[FirstSpikeNetwork, dict[str, float]]:
        train, decision = self.train, network.config.decision
        if self.rates is None:
            before = train.outcome(network)
            self.rates = self.config.adapt(before.right, before.wrong)
        rng, order, right, wrong = generator(self.seed, "Langevin", epoch), np.arange(len(train.labels)), 0.0, 0.0
        for start in range(0, len(order), self.record_every):
            images = order[start : start + self.record_every]
            network, seen = reward_stdp.learn_epoch(
                network, train.features, train.labels, images, self.rates, known=train.known
            )
            right, wrong = right + seen.right * len(images), wrong + seen.wrong * len(images)
            if len(images) < self.record_every:
                break
            self.quantiles.add(network.unit_weights)
            noise = rng.standard_normal(network.unit_weights.shape, np.float32) * self.deviation
            moved = np.clip(network.unit_weights + noise, decision.lower, decision.upper)
            network = network.with_learned_units(moved.astype(np.float32))
        self.rates = self.config.adapt(right / len(order), wrong / len(order))
        return network, {"train": right / len(order)}

    def state_dict(self) -> tuple[dict[str, NDArray], str]:
        """Return what `Training.state_dict` does, and the quantiles."""
        counted = {f"quantiles/{name}": array for name, array in self.quantiles.state_dict().items()}
        told = {"epoch": self.epoch, "rates": asdict(self.rates) if self.rates else None}
        return {**self.network.state_dict(), **counted}, json.dumps(told)

    def load_state_dict(self, arrays: Mapping[str, NDArray], facts: str) -> None:
        """Go on from what `state_dict` of the same training returned."""
        super().load_state_dict(arrays, facts)
        self.quantiles.load_state_dict(arrays_under("quantiles", arrays))
        rates: dict[str, Any] | None = json.loads(facts)["rates"]
        self.rates = Rates(*(tuple(pair) for pair in rates.values())) if rates else None


SHOWN = {"narrow": 0.01, "typical": 0.5, "wide": 0.99}
"""Weights that `shown_weights` picks: the share of all weights whose values are spread less."""


def shown_weights(quantiles: StreamingQuantiles) -> dict[str, NDArray]:
    """Return the distributions of a few weights of a sampling, small enough to keep.

    Args:
        quantiles: of a sampling.

    Returns:
        ``levels``: (L,) values.
        ``counts``: (k,L) how often each weight of `SHOWN` was at each of them.
        ``deciles``: (k,3) its D10, D50 and D90.
        ``widths``: (L,) how many of all weights have a D90 that is so many levels above D10.
    """
    deciles = quantiles.values((0.1, 0.5, 0.9)).reshape(3, -1)
    step = quantiles.levels[1] - quantiles.levels[0]
    widths = np.rint((deciles[2] - deciles[0]) / step).astype(np.int64)
    order = np.argsort(widths, kind="stable")
    picked = [order[round(share * (len(order) - 1))] for share in SHOWN.values()]
    return {
        "levels": quantiles.levels,
        "counts": quantiles.counts(picked),
        "deciles": deciles[:, picked].T,
        "widths": np.bincount(widths, minlength=len(quantiles.levels)),
    }
