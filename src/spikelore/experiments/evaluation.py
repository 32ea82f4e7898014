"""Trained networks on a dataset's test set: those of a run, or a checkpoint."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from spikelore.data import load
from spikelore.errors import InputError
from spikelore.experiments import config_file
from spikelore.experiments.execution import place_
from spikelore.experiments.run_folder import read_as_left
from spikelore.metrics import accuracy, silence
from spikelore.networks import checkpoint


def checkpoints(path: Path) -> list[Path]:
    """Return the checkpoints of a run folder's networks, or the one that is named.

    Raises:
        InputError: there is none.
    """
    if not path.exists():
        raise InputError(
            f"{path} does not exist, expected a run folder or a checkpoint (.safetensors); correct the path"
        )
    found = sorted(path.glob("checkpoints/*.safetensors")) if path.is_dir() else [path]
    files = [one for one in found if one.name != "state.safetensors"]
    if not files:
        raise InputError(f"{path} holds no checkpoints; give a run folder or a .safetensors file")
    return files


def evaluate(
    path: Path, data: str | None, data_dir: Path | None, classes: Sequence[int] = (), device: str = "cpu"
) -> tuple[str, list[dict[str, Any]]]:
    """Return what was asked in words, and a row for each network.

    Args:
        path: a run folder or a checkpoint.
        data: name of the dataset; not needed where a run decides on its own.
        data_dir: folder of datasets.
        classes: only images of these are asked; all if none is given.
        device: where networks that gradients teach decide, as torch names it.

    Raises:
        InputError: no such folder or file, no network in it, no dataset, no such class in it, or no such device.
    """
    if (path / "config.yaml").exists():
        config = config_file.read(path / "config.yaml")
        measure = config_file.KINDS[config_file.kind_of(config)].evaluate
        if measure is not None:
            asked = f" of classes {', '.join(map(str, classes))}" if classes else ""
            config = config_file.on_device(config, device)
            with read_as_left(path):
                return f"{path.name}: test images{asked}", measure(config, path, data, data_dir, classes)
    files = checkpoints(path)
    if data is None:
        raise InputError("no dataset is named, expected one of: spikelore data list; name it with --data")
    dataset = load(data, data_dir)
    test = dataset.test.of_classes(dataset.kept(classes)) if classes else dataset.test
    rows = []
    for file in files:
        network = checkpoint.load(file)
        place_(network, device)
        decisions = network.predict(test.inputs)
        values = {"accuracy": accuracy(decisions, test.labels), "silent": silence(decisions)}
        rows.append({"checkpoint": file.stem, **values})
    return f"{data}: {len(test)} test images", rows
