"""Speed of the first-spike network, with its results checked in the same run."""

from collections.abc import Callable
from typing import Any

import numpy as np

from spikelore.bench.digits import digits_for_kernels
from spikelore.bench.rounds import best_of_rounds
from spikelore.errors import SpikeloreError
from spikelore.experiments.run_folder import versions
from spikelore.kernels import reward_stdp, stdp
from spikelore.learning.reward_stdp import RewardStdpConfig, learn_epoch
from spikelore.learning.stdp import StdpConfig, learn_layer
from spikelore.networks.first_spike import FirstSpikeConfig, FirstSpikeNetwork

_CHECKED = 3


def _same(name: str, fast: np.ndarray, readable: np.ndarray) -> None:
    if not np.array_equal(fast, readable):
        raise SpikeloreError(f"bench: {name} of the fast kernel differ from the reference; its speed does not count")


def first_spike(images: int, seed: int) -> dict[str, Any]:
    """Measure coding, learning of each layer, and inference from pixels to decision.

    Args:
        images: images a measurement, at least 16.
        seed: of the network.

    Raises:
        InputError: too few images, or Numba must not compile.
        SpikeloreError: answers are not those of the reference.
    """
    sample = digits_for_kernels(images, seed)
    count = len(sample)
    order = np.arange(count)
    network = FirstSpikeNetwork.create(FirstSpikeConfig(), tuple(range(10)), seed)
    warm = np.resize(order, 6000)
    bins = network.encode(sample.inputs)
    network, _ = learn_layer(network, 1, bins, warm, StdpConfig())
    middle = network.layer_1_bins(bins)
    network, _ = learn_layer(network, 2, middle, warm, StdpConfig())
    features = network.features(bins)
    network, _ = learn_epoch(network, features, sample.labels, warm, RewardStdpConfig().base())
    ltp, ltd = StdpConfig().rates(6000, count)
    layers = {
        1: (bins, network.config.layer_1, network.weights_1),
        2: (middle, network.config.layer_2, network.weights_2),
    }

    def learn(layer: int, part: np.ndarray, backend: str = "numba_cpu"):
        inputs, config, weights = layers[layer]
        return stdp.train(
            inputs, part, weights, padding=config.padding, threshold=config.threshold, total_bins=15,
            winners=config.winners, radius=config.inhibition_radius, ltp=ltp[: len(part)], ltd=ltd[: len(part)],
            backend=backend,
        )  # fmt: skip

    def reward(part: np.ndarray, backend: str = "numba_cpu"):
        return reward_stdp.train(
            features, part, sample.labels, network.unit_weights, network.unit_classes, padding=2,
            rates=RewardStdpConfig().base(), backend=backend,
        )  # fmt: skip

    first = order[:_CHECKED]
    _same("bins", bins[first], network.encode(sample.inputs[first], backend="reference"))
    for layer in (1, 2):
        _same(f"winners of layer {layer}", learn(layer, first)[1], learn(layer, first, "reference")[1])
    _same("winners of layer 3", reward(first)[1], reward(first, "reference")[1])
    _same("decisions", network.predict(sample.inputs[first]), network.decide(
        network.features(bins[first], backend="reference"), backend="reference"))  # fmt: skip
    ours: dict[str, Callable[[], Any]] = {
        "coding": lambda: network.encode(sample.inputs),
        "layer 1": lambda: learn(1, order),
        "layer 2": lambda: learn(2, order),
        "layer 3": lambda: reward(order),
        "inference": lambda: network.predict(sample.inputs),
    }
    rows = []
    for name, action in ours.items():
        spent = best_of_rounds(action)
        rows.append({"work": name, "images_per_second": round(count / spent, 1)})
    return {
        "bench": "first-spike",
        "images": count,
        "checked": "bins, winners and decisions equal the reference's",
        "versions": versions(),
        "rows": rows,
    }
