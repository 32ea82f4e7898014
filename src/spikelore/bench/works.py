"""What the four kinds of network do for a living, of any size, to be timed here and in other commits.

Run as a script, ``python -P works.py DIGITS.npz ROUNDS [NAME ...]``, it takes the times of each work with whatever
Spikelore is on the path, and prints them as JSON. For that it imports nothing of its own package, and Spikelore only
within a maker: what another commit does not have is told, and the rest is measured.
"""

import hashlib
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Work = Callable[[], Sequence[Any]]
"""Does it once, from the same state, and returns arrays of what came out."""
Maker = Callable[..., Mapping[str, Work]]
"""Returns works by name, of images (N,H,W) uint8 and their labels (N,); its other parameters are sizes."""

_BATCH = 128
_ANOTHER_API = (ImportError, AttributeError, TypeError)
"""What is raised where a commit has not what is called, or calls it otherwise."""


def first_spike(
    images: NDArray[np.uint8], labels: NDArray[np.int64], *, units: int = 200, taught: int = 2000
) -> Mapping[str, Work]:
    """Code images, learn each layer, and decide; the layers have seen ``taught`` corners of 28 x 28 pixels each."""
    from dataclasses import replace

    from spikelore.learning.reward_stdp import RewardStdpConfig, learn_epoch
    from spikelore.learning.stdp import StdpConfig, learn_layer
    from spikelore.networks.first_spike import FirstSpikeConfig, FirstSpikeNetwork

    config = FirstSpikeConfig()
    config = replace(config, decision=replace(config.decision, features=units))
    network = FirstSpikeNetwork.create(config, tuple(map(int, np.unique(labels))), seed=0)
    order = np.arange(len(images))
    rates = RewardStdpConfig().base()
    some, shown = np.resize(order[:500], taught), network.encode(images[:, :28, :28])
    network, _ = learn_layer(network, 1, shown, some, StdpConfig())
    network, _ = learn_layer(network, 2, network.layer_1_bins(shown), some, StdpConfig())
    network, _ = learn_epoch(network, network.features(shown), labels, some, rates)
    bins = network.encode(images)
    middle, features = network.layer_1_bins(bins), network.features(bins)
    return {
        "coding": lambda: [network.encode(images)],
        "layer 1": lambda: [learn_layer(network, 1, bins, order, StdpConfig())[0].weights_1],
        "layer 2": lambda: [learn_layer(network, 2, middle, order, StdpConfig())[0].weights_2],
        "layer 3": lambda: [learn_epoch(network, features, labels, order, rates)[0].unit_weights],
        "inference": lambda: [network.predict(images)],
    }


def rate_lif(images: NDArray[np.uint8], labels: NDArray[np.int64], *, neurons: int = 30) -> Mapping[str, Work]:
    """Train and test the published network, whose neurons are shared out evenly among the classes."""
    from spikelore.networks.rate_lif import RateLIFConfig, RateLIFNetwork

    classes = tuple(map(int, np.unique(labels)))
    height, width = images.shape[1:]
    config = RateLIFConfig(classes=classes, neurons_per_class=neurons // len(classes), height=height, width=width)
    tested = RateLIFNetwork(config, seed=0)
    tested.train(images[:_BATCH], labels[:_BATCH])

    def train() -> Sequence[Any]:
        network = RateLIFNetwork(config, seed=0)
        return [network.train(images, labels), network.weights]

    return {"training": train, "testing": lambda: [tested.count_spikes(images)]}


def surrogate(images: NDArray[np.uint8], labels: NDArray[np.int64], *, steps: int = 30) -> Mapping[str, Work]:
    """Teach by gradients, an epoch in batches of 128, and decide."""
    import torch

    from spikelore.learning.surrogate_gradient import adam, epoch_
    from spikelore.networks.surrogate import SurrogateConfig, SurrogateNetwork

    classes, indices = np.unique(labels, return_inverse=True)
    config = SurrogateConfig(image=(1, *images.shape[1:]), classes=len(classes), steps=steps)
    shown, targets = torch.from_numpy(images).float() / 255, torch.from_numpy(indices)

    def network() -> SurrogateNetwork:
        return SurrogateNetwork(config, torch.Generator().manual_seed(0))

    def train() -> Sequence[Any]:
        learned = network()
        epoch_(learned, shown, targets, adam(learned.parameters()), batch=_BATCH)
        return [each.detach() for each in learned.parameters()]

    @torch.no_grad()
    def infer() -> Sequence[Any]:
        decides = network()
        return [decides(part) for part in shown.split(_BATCH)]

    return {"training": train, "inference": infer}


def recurrent(images: NDArray[np.uint8], labels: NDArray[np.int64], *, steps: int = 100) -> Mapping[str, Work]:
    """Teach the published keyword network by gradients, an epoch in batches of 128, and decide.

    Recordings of 700 channels are drawn at random, with spikes in 7 % of the places, as many as there are images.
    """
    import torch

    from spikelore.learning.surrogate_gradient import adam, membrane_loss, step_
    from spikelore.networks.recurrent import RecurrentNetwork
    from spikelore.networks.recurrent_config import RecurrentConfig

    classes, indices = np.unique(labels, return_inverse=True)
    config = RecurrentConfig.published(steps=steps, classes=len(classes))
    drawn = np.random.default_rng(0).random((len(images), steps, *config.units), np.float32) < 0.07
    batches, targets = torch.from_numpy(drawn).float().split(_BATCH), torch.from_numpy(indices).split(_BATCH)

    def network() -> RecurrentNetwork:
        return RecurrentNetwork(config, torch.Generator().manual_seed(0))

    def train() -> Sequence[Any]:
        learned = network()
        optimiser = adam(each for each in learned.parameters() if each.requires_grad)
        for part, wanted in zip(batches, targets, strict=True):
            step_(membrane_loss(learned(part), wanted), optimiser)
        return [each.detach() for each in learned.parameters()]

    @torch.no_grad()
    def infer() -> Sequence[Any]:
        decides = network()
        return [decides(part) for part in batches]

    return {"training": train, "inference": infer}


MAKERS: dict[str, Maker] = {
    "first-spike": first_spike,
    "rate-lif": rate_lif,
    "surrogate": surrogate,
    "recurrent": recurrent,
}


def digest(arrays: Sequence[Any]) -> str:
    """Return a digest of arrays, their shapes and types."""
    found = hashlib.sha256()
    for each in map(np.asarray, arrays):
        found.update(f"{each.dtype} {each.shape}".encode())
        found.update(np.ascontiguousarray(each).tobytes())
    return found.hexdigest()


def best_seconds(work: Callable[[], Any], rounds: int, clock: Callable[[], float] | None = None) -> float:
    """Return the least time of some rounds in seconds, by the clock on the wall if no other is given."""
    clock = clock or time.perf_counter
    spent = []
    for _ in range(rounds):
        begun = clock()
        work()
        spent.append(clock() - begun)
    return min(spent)


def measured(
    makers: Mapping[str, Maker], images: NDArray[np.uint8], labels: NDArray[np.int64], rounds: int
) -> dict[str, dict[str, Any]]:
    """Return by name ``seconds`` and ``result`` of each work, or ``missing`` and why; a first round does not count."""
    found: dict[str, dict[str, Any]] = {}
    for kind, make in makers.items():
        try:
            works = make(images, labels)
        except _ANOTHER_API as error:
            found[kind] = {"missing": f"{type(error).__name__}: {error}"}
            continue
        for name, work in works.items():
            try:
                result = digest(work())
                found[f"{kind} {name}"] = {"seconds": best_seconds(work, rounds), "result": result}
            except _ANOTHER_API as error:
                found[f"{kind} {name}"] = {"missing": f"{type(error).__name__}: {error}"}
    return found


if __name__ == "__main__":
    file, rounds, *names = sys.argv[1:]
    digits = np.load(file)
    chosen = {name: MAKERS[name] for name in names or MAKERS}
    print(json.dumps(measured(chosen, digits["images"], digits["labels"], int(rounds))))
