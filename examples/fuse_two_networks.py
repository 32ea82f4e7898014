"""Train two networks on different digits, fuse them without their data, and ask the fused one about all digits.

Takes about ten seconds on two cores and needs no data set: 5000 digits come with the install.
"""

from spikelore.continual.fusion import bagging, fuse
from spikelore.data import load, split
from spikelore.learning.first_spike_training import DecisionTraining, FeatureExamples, consolidation, learn_features
from spikelore.metrics import accuracy
from spikelore.networks.first_spike import FirstSpikeConfig, FirstSpikeNetwork


def learn_decisions(network, images):
    """Learn the decision layer from right and wrong answers, then turn it into templates in order of importance."""
    examples = FeatureExamples.of(network, images)
    return consolidation(DecisionTraining(network, examples, epochs=10).finish(), examples).finish()


def part(classes):
    """Return training and test images of some digits."""
    drawn = split(
        load("digits-sample"), train_per_class=200, validation_per_class=1, test_per_class=50, classes=classes, seed=0
    )
    return drawn.train, drawn.test


def main():
    low, high = (0, 1, 2, 3, 4), (5, 6, 7, 8, 9)
    (train_low, test_low), (train_high, test_high) = part(low), part(high)

    first = FirstSpikeNetwork.create(FirstSpikeConfig(), classes=low, seed=0)
    first = learn_features(first, train_low.inputs, epochs=(8, 16))
    # networks can be fused if they share their feature layers: the second takes over the first one's
    second = first.with_units(first.unit_weights, first.unit_classes + 5)
    first = learn_decisions(first, train_low)
    second = learn_decisions(second, train_high)

    # fused is as large as one of them, bagging as large as both
    fused = fuse([first, second], importances="order", score="correlation")
    ensemble = bagging([first, second], score="correlation")
    for name, network in (("0-4", first), ("5-9", second), ("bagging", ensemble), ("fused", fused)):
        scores = [accuracy(network.predict(test.inputs), test.labels) for test in (test_low, test_high)]
        shares = ", ".join(f"{100 * score:.1f} %" for score in scores)
        print(f"{name}: {len(network.unit_weights)} units, accuracy on 0-4 and 5-9: {shares}")


if __name__ == "__main__":
    main()
