"""Rewarded learning of the first-spike network's decision layer, with rates that follow its success."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spikelore.kernels import DEFAULT_BACKEND, reward_stdp
from spikelore.kernels.reward_stdp import KnownPotentials, Rates, SpikeLists
from spikelore.metrics import accuracy, silence
from spikelore.networks.first_spike import FirstSpikeNetwork
from spikelore.shapes import Labels, Weights, as_labels, as_order, as_shares

Bounds = tuple[Weights, Weights]
"""(F,C,K,K) each, the least and the largest value of each weight; a weight with equal ones is frozen."""


@dataclass(frozen=True)
class RewardStdpConfig:
    """Base rates of rewarded learning; the defaults are the published ones.

    Attributes:
        reward_on: change of an input that spiked, when the decision was right.
        reward_off: change of an input that did not.
        punish_on: change of an input that spiked, when the decision was wrong.
        punish_off: change of an input that did not.
        adaptive_scale: factor of the shares in `adapt`: 1 for the published digits, 0.5 for the letters.
    """

    reward_on: float = 0.004
    reward_off: float = -0.003
    punish_on: float = -0.004
    punish_off: float = 0.0005
    adaptive_scale: float = 1.0

    def base(self) -> Rates:
        """Return the rates of the first epoch."""
        return Rates((self.reward_on, self.reward_off), (self.punish_on, self.punish_off))

    def adapt(self, right: float, wrong: float) -> Rates:
        """Return the rates after an epoch with these shares of right and wrong decisions.

        Rewards shrink with success and punishments grow with it:
        reward pair x wrong x adaptive_scale, punish pair x right x adaptive_scale.
        """
        reward, punish = wrong * self.adaptive_scale, right * self.adaptive_scale
        return Rates(
            (self.reward_on * reward, self.reward_off * reward),
            (self.punish_on * punish, self.punish_off * punish),
        )


def noisy(rates: Rates, deviation: float, images: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return rates of each image (M,2,2): each is drawn around its value r with the deviation ``deviation`` times |r|.

    Source: "noise" of Antonov, Sviatov & Sukhov 2022 (doi 10.1016/j.neunet.2022.09.003).
    """
    table = rates.table()
    drawn = rng.standard_normal((images, 2, 2), np.float32)
    return (table + np.float32(deviation) * np.abs(table) * drawn).astype(np.float32)


@dataclass(frozen=True)
class Outcome:
    """Shares of right, wrong and silent decisions; they add up to 1."""

    right: float
    wrong: float
    silent: float

    @classmethod
    def of(cls, decisions: Labels, labels: Labels) -> "Outcome":
        """Count decisions (-1 = silent) against labels."""
        right, silent = accuracy(decisions, labels), silence(decisions)
        return cls(right, 1.0 - right - silent, silent)


def learn_epoch(
    network: FirstSpikeNetwork,
    features: SpikeLists,
    labels: Labels,
    order: NDArray[np.int64],
    rates: Rates | NDArray[np.float32],
    *,
    plasticity: NDArray[np.float32] | None = None,
    bounds: Bounds | None = None,
    known: KnownPotentials | None = None,
    backend: str = DEFAULT_BACKEND,
) -> tuple[FirstSpikeNetwork, Outcome]:
    """Train the decision layer on the images ``order`` and return the network and how it decided meanwhile.

    Args:
        network: to start from; not changed. Raw potentials compete while it learns.
        features: from `FirstSpikeNetwork.features`.
        labels: (N,) class of each image.
        order: (M,) which image comes when.
        rates: of this epoch, or (M,2,2) of each of its images, as from `noisy`.
        plasticity: (F,) in 0..1, factor of each feature's rates (0 protects it); all 1 if not given.
        bounds: of each weight; those of the network's configuration if not given.
        known: from earlier epochs on ``features``, and for later ones; changes nothing but how long it takes.
        backend: ``numba_cpu`` or ``reference``.

    Raises:
        InputError: not one label an image, an order of images that are not there, or no plasticity as above.
    """
    network.check()
    labels, order = as_labels(labels, len(features)), as_order(order, len(features))
    if plasticity is not None:
        plasticity = as_shares(plasticity, len(network.unit_classes), "plasticity")
    decision = network.config.decision
    lower, upper = bounds or (decision.lower, decision.upper)
    weights, winners, _ = reward_stdp.train(
        features, order, labels, network.unit_weights, network.unit_classes, padding=decision.padding,
        rates=rates, lower=lower, upper=upper, plasticity=plasticity, known=known, backend=backend,
    )  # fmt: skip
    winner = winners[:, 0].astype(np.int64)
    decisions = np.where(winner < 0, -1, network.unit_classes[winner])
    return network.with_learned_units(weights), Outcome.of(decisions, labels[order])
