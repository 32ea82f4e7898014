"""A network of one's own in NumPy: the class whose mean spike counts are nearest. It inherits from nothing.

Average accuracy of digits two after two, naive: 80.6 %; with 30 KB of stored images: 75.5 %, since to average an image
twice draws a mean towards it.
"""

from copy import deepcopy

import numpy as np

import spikelore as sl
from spikelore.networks.protocol import Cost


class NearestMean:
    """Decides for the class whose mean spike counts are nearest."""

    name = "nearest mean"

    def __init__(self, classes, input_shape):
        self.classes, self.input_shape = (), tuple(input_shape)
        self.sums, self.images = np.zeros((0, *self.input_shape)), np.zeros(0)
        self.grow_(classes)

    @classmethod
    def for_stream(cls, stream, seed=0):
        return cls(stream.classes, stream.tasks[0].train.images.shape[1:])

    def spikes(self, inputs):
        return inputs.astype(np.int64) * 8 // 255  # what an integrate-and-fire neuron a pixel sends in 8 steps

    def learn_(self, inputs, labels):
        columns = [self.classes.index(label) for label in labels]
        np.add.at(self.sums, columns, self.spikes(inputs))
        np.add.at(self.images, columns, 1)

    def class_scores(self, inputs):
        means = self.sums / np.maximum(self.images, 1)[:, None, None]
        return -np.array([((means - each) ** 2).sum((1, 2)) for each in self.spikes(inputs)], np.float32)

    def predict(self, inputs, among=()):
        columns = [n for n, label in enumerate(self.classes) if label in (among or self.classes)]
        return np.array(self.classes)[columns][self.class_scores(inputs)[:, columns].argmax(axis=1)]

    def cost(self, inputs):
        spikes = float(self.spikes(inputs).sum()) / len(inputs)
        return Cost(spikes, accumulates=spikes * len(self.classes))

    def grow_(self, classes):
        self.classes = (*self.classes, *classes)
        self.sums = np.concatenate([self.sums, np.zeros((len(classes), *self.input_shape))])
        self.images = np.concatenate([self.images, np.zeros(len(classes))])

    def copy(self):
        return deepcopy(self)

    def state_dict(self):
        return {"sums": self.sums, "images": self.images}

    def load_state_dict(self, state):
        self.sums, self.images = state["sums"].copy(), state["images"].copy()


def main():
    stream = sl.split_stream("digits-sample", [(0, 1), (2, 3), (4, 5), (6, 7), (8, 9)])
    for method in (sl.Naive(), sl.Replay(sl.Memory(bytes=30_000))):
        result = sl.run(stream, NearestMean.for_stream(stream), method, seed=0)
        print(f"{method.name}: {100 * result.average_accuracy:.1f} %")


if __name__ == "__main__":
    main()
