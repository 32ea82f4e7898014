"""One task from all of its training images: digits by local rules alone, no gradient anywhere.

Layers 1 and 2 learn by STDP, the 200 units of the decision layer first by reward, then as templates with a wide margin.

    python examples/whole_task.py [DATASET] [SEED]

With mnist in the data folder, `python examples/whole_task.py mnist` learns all 60000 digits; those that come with the
install end at 95 %, after half a minute.
"""

import sys

from spikelore.data import load
from spikelore.learning.first_spike_training import DecisionTraining, FeatureExamples, learn_features
from spikelore.learning.template_stdp import TemplateStdpConfig, consolidate
from spikelore.networks.first_spike import FirstSpikeConfig, FirstSpikeNetwork
from spikelore.randomness import generator

FOR_FEATURES = 24000  # as many images as published; further ones change these layers little


def main(name, seed):
    data = load(name)
    train = data.train.take(generator(seed, "order").permutation(len(data.train)))
    network = FirstSpikeNetwork.create(FirstSpikeConfig(), data.classes, seed)
    network = learn_features(network, train.inputs[:FOR_FEATURES])
    examples = FeatureExamples.of(network, train)
    network = DecisionTraining(network, examples, epochs=3).finish()
    # chosen on 5000 held-out images: twice the default's rate and margin, and every unit competes for every image
    wide = TemplateStdpConfig(epochs=13, rate=0.05, margin=0.05, nested=(1.0,))
    network = consolidate(network, examples.features, examples.labels, wide, seed=seed)
    print(f"{name}: {(network.predict(data.test.inputs) == data.test.labels).mean():.2%} of the test images")


if __name__ == "__main__":
    main(*sys.argv[1:2] or ["digits-sample"], int(*sys.argv[2:3] or [0]))
