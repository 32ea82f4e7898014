"""Unsupervised learning of the first-spike network's feature layers, layer by layer."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from spikelore.errors import InputError, check_fields
from spikelore.kernels import DEFAULT_BACKEND, stdp
from spikelore.shapes import FirstSpikeBins, as_order

if TYPE_CHECKING:
    from spikelore.networks.first_spike import FirstSpikeNetwork


@dataclass(frozen=True)
class StdpConfig:
    """STDP rates that double while learning; the defaults are the published ones.

    Attributes:
        ltp: potentiation rate to start from.
        ltd: depression rate to start from.
        double_every: images after which the potentiation rate doubles.
        ltp_limit: largest potentiation rate.
        ltd_ratio: depression rate over potentiation rate after the first doubling.
    """

    ltp: float = 0.004
    ltd: float = -0.003
    double_every: int = 500
    ltp_limit: float = 0.15
    ltd_ratio: float = -0.75

    def __post_init__(self) -> None:
        check_fields(self, "stdp.")
        if self.double_every < 1:
            raise InputError(
                f"stdp.double_every is {self.double_every}; it must be a whole number of images, 1 or more"
            )
        if not (0 < self.ltp <= self.ltp_limit and self.ltd <= 0 and self.ltd_ratio <= 0):
            raise InputError("stdp rates need 0 < ltp <= ltp_limit, ltd <= 0 and ltd_ratio <= 0")

    def rates(self, first: int, count: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the (LTP, LTD) rates of images ``first .. first + count - 1`` (0 = the first ever seen).

        The ``double_every``-th image already learns with the doubled rate, as in the authors' code.
        """
        doublings = (np.arange(first, first + count) + 1) // self.double_every
        # beyond 64 doublings the limit holds for any positive start
        growth = np.float32(2) ** np.minimum(doublings, 64).astype(np.float32)
        ltp = np.minimum(np.float32(self.ltp) * growth, np.float32(self.ltp_limit)).astype(np.float32)
        ltd = np.where(doublings == 0, np.float32(self.ltd), ltp * np.float32(self.ltd_ratio))
        return ltp, ltd.astype(np.float32)


def learn_layer(
    network: "FirstSpikeNetwork",
    layer: Literal[1, 2],
    bins: FirstSpikeBins,
    order: NDArray[np.int64],
    config: StdpConfig,
    *,
    seen: int = 0,
    backend: str = DEFAULT_BACKEND,
) -> tuple["FirstSpikeNetwork", float]:
    """Train one feature layer on ``bins[order]`` and return the network and the mean number of winners.

    Args:
        network: to start from; not changed.
        layer: 1 or 2.
        bins: the layer's input, (N,C,H,W) int8: `FirstSpikeNetwork.encode` for layer 1,
            `FirstSpikeNetwork.layer_1_bins` for layer 2.
        order: (M,) which image comes when.
        config: rates.
        seen: images this layer has learned from before; the rate schedule goes on from there.
        backend: ``numba_cpu`` or ``reference``.

    Raises:
        InputError: another layer, input that is not (N,C,H,W) int8 of as many channels as the layer has, an order of
            images that are not there, or a negative number of images seen.
    """
    from spikelore.networks.first_spike import checked_bins

    if layer not in (1, 2):
        raise InputError(f"layer is {layer!r}, expected 1 or 2, the feature layers; choose one")
    if seen < 0:
        raise InputError(f"seen is {seen}, expected 0 or more; give the number of images it learned from")
    network.check()
    settings = network.config.layer_1 if layer == 1 else network.config.layer_2
    name = "weights_1" if layer == 1 else "weights_2"
    bins = checked_bins(bins, getattr(network, name), network.config.coding.total_bins)
    order = as_order(order, len(bins))
    ltp, ltd = config.rates(seen, len(order))
    weights, winners = stdp.train(
        bins, order, getattr(network, name), padding=settings.padding, threshold=settings.threshold,
        total_bins=network.config.coding.total_bins, winners=settings.winners,
        radius=settings.inhibition_radius, ltp=ltp, ltd=ltd, backend=backend,
    )  # fmt: skip
    images_seen = network.images_seen.copy()
    images_seen[layer - 1] = seen + len(order)
    return replace(network, **{name: weights, "images_seen": images_seen}), float(
        (winners[:, :, 0] >= 0).sum(axis=1).mean()
    )
