"""A network of one's own in NumPy, naive: 80.6 % of digits two after two; with 30 KB of stored images 75.5 %."""

import numpy as np

import spikelore as sl


class NearestMean(sl.Network):
    """Decides for the class whose mean spike counts are nearest; an image averaged twice draws a mean towards it."""

    name, classes, input_shape = "nearest mean", (), ()

    def __init__(self, classes, input_shape):
        self.input_shape, self.sums, self.images = tuple(input_shape), np.zeros((0, *input_shape)), np.zeros(0)
        self.grow_(classes)

    def grow_(self, classes):
        self.classes = (*self.classes, *classes)
        self.sums = np.concatenate([self.sums, np.zeros((len(classes), *self.input_shape))])
        self.images = np.append(self.images, np.zeros(len(classes)))

    def spikes(self, inputs):
        return inputs.astype(np.int64) * 8 // 255  # what an integrate-and-fire neuron a pixel sends in 8 steps

    def learn_(self, inputs, labels):
        np.add.at(self.sums, columns := [self.classes.index(label) for label in labels], self.spikes(inputs))
        np.add.at(self.images, columns, 1)

    def class_scores(self, inputs):
        means = self.sums / np.maximum(self.images, 1)[:, None, None]
        return -np.array([((means - each) ** 2).sum((1, 2)) for each in self.spikes(inputs)], np.float32)

    def cost(self, inputs):
        spikes = float(self.spikes(inputs).sum()) / len(inputs)
        return sl.Cost(spikes, accumulates=spikes * len(self.classes))


if __name__ == "__main__":
    stream = sl.split_stream("digits-sample", [(0, 1), (2, 3), (4, 5), (6, 7), (8, 9)])
    for method in (sl.Naive(), sl.Replay(sl.Memory(bytes=30_000))):
        accuracy = sl.run(stream, NearestMean.for_stream(stream), method, seed=0).average_accuracy
        print(f"{method.name}: {100 * accuracy:.1f} %")
