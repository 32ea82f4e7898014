"""Ten classes, two after two, each image shown once, none stored, nothing told of tasks, and no gradient: local rules.

STDP teaches the first layer of a first-spike network by the first images; then forty units a class learn its spikes by
a Hebbian rule. The same images shuffled show what the order costs.

    python examples/no_stored_image.py [DATASET] [SEED]

With mnist in the data folder, `python examples/no_stored_image.py mnist` learns 60000 digits in some two minutes.
"""

import sys

import spikelore as sl

BY_TWO = [(0, 1), (2, 3), (4, 5), (6, 7), (8, 9)]


def main(dataset, seed):
    for order, tasks in (("two after two", BY_TWO), ("shuffled", [tuple(range(10))])):
        stream = sl.split_stream(dataset, tasks, scenario="task-free")
        network = sl.FirstSpikeNetwork.for_stream(stream, seed=seed, split=1)
        result = sl.run(stream, network, sl.NearestSubspace(), seed=seed)
        print(f"{dataset}, {order}: {result.average_accuracy:.2%}, {result.memory_bytes} bytes")


if __name__ == "__main__":
    main(*sys.argv[1:2] or ["digits-sample"], int(*sys.argv[2:3] or [0]))
