"""Speed of the first-spike network, with its results checked in the same run.

Images a second beside SpykeTorch's, measured on two cores of one machine and given in ``PEER``; ratios hold
only on a machine like it, the checks everywhere.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from spikelore.data import load
from spikelore.errors import InputError, SpikeloreError
from spikelore.experiments.run_folder import versions
from spikelore.kernels import reward_stdp, stdp
from spikelore.learning.reward_stdp import RewardStdpConfig
from spikelore.learning.stdp import StdpConfig, learn_layer
from spikelore.networks.first_spike import FirstSpikeConfig, FirstSpikeNetwork

PEER = {"coding": 1380, "layer 1": 340, "layer 2": 146, "layer 3": 88, "inference": 109}
"""SpykeTorch, images a second on two cores."""
_CHECKED = 3


def _rate(action: Callable[[], Any], images: int, repeats: int = 3) -> float:
    action()
    times = []
    for _ in range(repeats):
        begun = time.perf_counter()
        action()
        times.append(time.perf_counter() - begun)
    return images / min(times)


def _same(name: str, fast: np.ndarray, readable: np.ndarray) -> None:
    if not np.array_equal(fast, readable):
        raise SpikeloreError(f"bench: {name} of the fast kernel differ from the reference; its speed does not count")


def first_spike(images: int, seed: int) -> dict[str, Any]:
    """Measure coding, learning of each layer, and inference from pixels to decision.

    Args:
        images: images a measurement, at least 16.
        seed: of the network.
    """
    if images < 16:
        raise InputError(f"--images is {images}; measure at least 16")
    dataset = load("digits-sample")
    pick = np.random.default_rng(seed).permutation(len(dataset.train))[: min(images, len(dataset.train))]
    sample = dataset.train.take(pick)
    count = len(sample)
    order = np.arange(count)
    network = FirstSpikeNetwork.create(FirstSpikeConfig(), dataset.classes, seed)
    warm = np.resize(order, 6000)
    bins = network.encode(sample.images)
    network, _ = learn_layer(network, 1, bins, warm, StdpConfig())
    middle = network.layer_1_bins(bins)
    network, _ = learn_layer(network, 2, middle, warm, StdpConfig())
    features = network.features(bins)
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
    _same("bins", bins[first], network.encode(sample.images[first], backend="reference"))
    for layer in (1, 2):
        _same(f"winners of layer {layer}", learn(layer, first)[1], learn(layer, first, "reference")[1])
    _same("winners of layer 3", reward(first)[1], reward(first, "reference")[1])
    _same("decisions", network.predict(sample.images[first]), network.decide(
        network.features(bins[first], backend="reference"), backend="reference"))  # fmt: skip
    rates = {
        "coding": _rate(lambda: network.encode(sample.images), count),
        "layer 1": _rate(lambda: learn(1, order), count),
        "layer 2": _rate(lambda: learn(2, order), count),
        "layer 3": _rate(lambda: reward(order), count),
        "inference": _rate(lambda: network.predict(sample.images), count),
    }
    return {
        "bench": "first-spike",
        "images": count,
        "checked": "bins, winners and decisions equal the reference's",
        "versions": versions(),
        "rows": [
            {
                "work": name,
                "images_per_second": round(rate, 1),
                "spyketorch_images_per_second": PEER[name],
                "ratio": round(rate / PEER[name], 1),
            }
            for name, rate in rates.items()
        ],
    }
