"""Train a network on two digits, let unused synapses fade while it learns, and show it noise.

Takes about ten seconds on two cores and needs no data set: 5000 digits come with the install.
"""

import numpy as np

from spikelore.continual.unused_decay import OnlineDecay
from spikelore.data import load
from spikelore.data.noise import four_test_sets
from spikelore.metrics import accuracy
from spikelore.networks.rate_lif import RateLIFConfig, RateLIFNetwork

KNOWN, UNKNOWN = (0, 1), (2, 3)
PERIOD_IMAGES = 25  # a synapse that is used at least once in so many images pays nothing
PASSES = 3


def main():
    digits = load("digits-sample")
    train = digits.train.of_classes(KNOWN)
    alternating = np.arange(len(train)).reshape(2, -1).T.ravel()  # the sample is sorted, and as many of each
    train = train.take(np.tile(alternating, PASSES))
    sets = four_test_sets(digits.test, KNOWN, UNKNOWN, count=200, mean=float(train.inputs.mean()), seed=0)
    config = RateLIFConfig.best(KNOWN, images=len(train))
    for fades in (False, True):
        network = RateLIFNetwork(config, seed=0)
        decay = OnlineDecay(tau_prune_ms=5000.0, period_ms=PERIOD_IMAGES * config.image_ms)
        network.train(train.inputs, train.labels, every_images=PERIOD_IMAGES, between=decay.tick_ if fades else None)
        right = accuracy(network.predict(sets["known"].inputs), sets["known"].labels)
        spikes = {name: int(network.count_spikes(images.inputs).sum()) for name, images in sets.items()}
        told = ", ".join(f"{name} {count}" for name, count in spikes.items())
        print(f"{'with' if fades else 'without'} decay: accuracy {100 * right:.1f} %, output spikes: {told}")


if __name__ == "__main__":
    main()
