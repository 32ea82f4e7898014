"""Run the fusion experiment on your own images: two folders of IDX files, one for each network.

The folders made here stand for yours; see docs/data.md for the format. Writes a run folder with a report.

    python examples/fuse_own_data.py [OUT]
"""

import sys
import tempfile
from pathlib import Path

import numpy as np

from spikelore import report
from spikelore.data import load, write_idx
from spikelore.experiments.config_file import execute
from spikelore.experiments.reproduce.fusion import FusionExperiment, Source
from spikelore.networks.first_spike import DecisionLayerConfig, FirstSpikeConfig


def write_dataset(folder, train, test):
    """Write (images, labels) of a training and a test set as a dataset of four IDX files."""
    folder.mkdir(parents=True)
    for stem, (images, labels) in (("train", train), ("t10k", test)):
        write_idx(folder / f"{stem}-images-idx3-ubyte.gz", images)
        write_idx(folder / f"{stem}-labels-idx1-ubyte.gz", labels.astype(np.uint8))


def main(out):
    digits = load("digits-sample")
    with tempfile.TemporaryDirectory() as temporary:
        data_dir = Path(temporary)
        for name, classes in (("mine", [1, 2, 3]), ("yours", [4, 5, 6])):
            parts = []
            for images in (digits.train, digits.test):
                wanted = np.isin(images.labels, classes)
                parts.append((images.inputs[wanted], images.labels[wanted]))
            write_dataset(data_dir / name, *parts)

        experiment = FusionExperiment(
            sources=(Source("mine"), Source("yours")),
            # 150 decision features divide among three classes
            network=FirstSpikeConfig(decision=DecisionLayerConfig(features=150)),
            train_per_class=200,
            validation_per_class=20,
            test_per_class=50,
            epochs_layer_1=10,
            epochs_layer_2=20,
            epochs_decision=10,
        )
        results = execute(experiment, out, data_dir)
    for row in results["rows"]:
        if row["preset"] == "best":
            print(f"{row['name']}: {row['features']} features, mine {row['a']:.1%}, yours {row['b']:.1%}")
    print(report.write(out))


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/own-data"))
