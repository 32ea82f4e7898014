"""Spoken keywords that come one after another, as recordings of spikes, with memories of spikes.

It is a study (`spikelore.experiments.reproduce.study`) whose cells are recurrent networks with memories on streams of
recordings: the published protocol of Dequino et al. 2024 (arXiv 2407.03111) with its faults as switches, and ours.
Beside the rows it leaves what its figures are drawn of: some recordings, and the spikes of each layer over time.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from spikelore import plain_yaml
from spikelore.coding.event_images import EventImages, event_images
from spikelore.data.events import Events
from spikelore.experiments import shipped
from spikelore.experiments.execution import Execution
from spikelore.experiments.job import Job
from spikelore.experiments.network_settings import network_class
from spikelore.experiments.parallel import Cell
from spikelore.experiments.reproduce import study
from spikelore.experiments.reproduce.study import StudyExperiment, check
from spikelore.experiments.run_folder import RunFolder
from spikelore.experiments.stream_settings import Datasets
from spikelore.experiments.typed import made
from spikelore.files import load_tensors, save_tensors

__all__ = ["KeywordsExperiment", "at_scale", "check", "parts", "run"]

Preset = Literal["published", "best"]
PRESETS: tuple[Preset, ...] = ("published", "best")
_SHOWN = 3
"""Recordings that are drawn."""
_WATCHED = 100
"""Recordings that spikes of layers are counted on."""
_LAYERS = "layers.safetensors"
_LISTS = ("networks", "methods", "streams", "further")


@dataclass(frozen=True)
class KeywordsExperiment(StudyExperiment):
    """A study of recordings; see `StudyExperiment`."""

    experiment: ClassVar[str] = "keywords"


def parts(config: KeywordsExperiment, folder: RunFolder, data_dir: Path | None) -> dict[str, Cell]:
    """Return the cells that are left to do, also those that failed.

    Raises:
        InputError: a dataset or a class that is not there.
    """
    return study.parts(config, folder, data_dir, _learn)


def _learn(job: Job, datasets: Datasets, execution: Execution, path: Path) -> dict[str, Any]:
    return study.learn(job, datasets, execution, path, partial(_watch_layers, job, datasets))


def _watch_layers(job: Job, datasets: Datasets, path: Path) -> None:
    """Leave the spikes of each layer over time, means over test recordings of the network that decides."""
    if job.method.name != "joint":
        return
    network: Any = network_class(job.network).load(path / "checkpoints" / "network.safetensors")
    test = job.load(datasets).tasks[0].test
    if not (isinstance(test.inputs, Events) and hasattr(network, "layer_inputs")):
        return
    entered = network.layer_inputs(network.to_input(test.inputs[:_WATCHED]))
    kept = {name: each for name, each in entered.items() if name.startswith(("hidden.", "heads.0"))}
    counts = {f"layers/{n}": each.detach().sum(2).mean(1).numpy() for n, each in enumerate(kept.values())}
    save_tensors(path / _LAYERS, counts, {"network": network.name})


def run(config: KeywordsExperiment, folder: RunFolder, data_dir: Path | None) -> dict[str, Any]:
    """Gather every cell's row, leave what the figures are drawn of, and return the results."""
    results = study.run(config, folder, data_dir)
    arrays = _recordings(config, data_dir)
    for cell in config.cells():
        layers = folder.path / "parts" / cell.folder / _LAYERS
        if layers.exists() and "layers/0" not in arrays:
            arrays |= load_tensors(layers)[0]
    if arrays:
        folder.write_arrays(arrays)
    return results


def _recordings(config: KeywordsExperiment, data_dir: Path | None) -> dict[str, NDArray]:
    """Return test recordings of the first stream, one a class: times, units and label; of a camera its surface."""
    datasets = Datasets(data_dir)
    job = next((cell.job for cell in config.cells() if cell.job), None)
    tests = [task.test for task in job.load(datasets).tasks] if job else []
    found: dict[str, NDArray] = {}
    shown = [(test, label) for test in tests if isinstance(test.inputs, Events) for label in np.unique(test.labels)]
    for n, (test, label) in enumerate(shown[:_SHOWN]):
        one: Events = test.inputs[[int(np.argmax(test.labels == label))]]
        found |= {
            f"recordings/{n}/times_ms": (one.times_us / 1000).astype(np.float32),
            f"recordings/{n}/units": one.units.astype(np.int32),
            f"recordings/{n}/label": np.array([label], np.int64),
        }
        if len(one.unit_shape) == 3:
            found[f"recordings/{n}/surface"] = event_images(one, EventImages("time surface"))[0]
    return found


def at_scale(
    scale: Literal["quick", "paper"], *, preset: Preset | None = None, data: str | None = None, seed: int = 0
) -> KeywordsExperiment:
    """Return the experiment at a scale.

    Args:
        scale: ``quick`` ends within two minutes on two cores, on digits that a dependency ships, their pixels as
            spikes; ``paper`` is of recordings of speech.
        preset: at the scale ``paper`` the one whose rows are wanted; both if not given.
        data: name of the recordings at that scale: ``spoken-digits`` if not given, ``shd`` (with its twenty classes and
            twelve speakers), or others with classes 0 to 9 and speakers 0 to 4.
        seed: root seed.
    """
    if scale == "quick":
        return replace(made(KeywordsExperiment, _values("keywords_quick")), seed=seed)
    wanted = [_values(f"keywords_{each}") for each in ((preset,) if preset else PRESETS)]
    values = {name: value for each in wanted for name, value in each.items()}
    for each in wanted:
        own = {what: [one["name"] for one in each[what]] for what in ("methods", "networks")}
        each["streams"] = [{**own, **stream} for stream in each["streams"]]  # crossed with those of its preset
    values |= {name: [one for each in wanted for one in each[name]] for name in _LISTS}
    if data:
        values["streams"] = [{**each, "data": data} for each in values["streams"]]
    if data == "shd":
        values["streams"] = [_on_shd(each) for each in values["streams"]]
        values["networks"] = [_for_shd(each) for each in values["networks"]]
    return replace(made(KeywordsExperiment, values), seed=seed)


def _values(name: str) -> dict[str, Any]:
    values = plain_yaml.read(shipped.FOLDER / f"{name}.yaml")
    return {name: value for name, value in values.items() if name != "experiment"}


_SHD_CLASSES = 20
_SHD_SPEAKERS = (0, 1, 2, 3, 6, 7, 8, 9, 10, 11)
"""Those of its training set."""


_LONGER = 14 / 6
"""How much longer SHD's recordings are: the published bins are of 14 ms."""


def _for_shd(network: Mapping[str, Any]) -> dict[str, Any]:
    """Return a network for recordings of 0.6 s as one for those of 1.4 s, in as many bins."""
    of_time = {name: value * _LONGER for name, value in network["network"].items() if name.endswith("_ms")}
    return {**network, "network": {**network["network"], **of_time}}


def _on_shd(stream: Mapping[str, Any]) -> dict[str, Any]:
    """Return a stream of ten classes and five speakers as one of SHD's."""
    settings = dict(stream["stream"])
    groups = settings.get("groups", [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9]])
    if settings.get("kind") == "grouped":
        settings["groups"] = [_SHD_SPEAKERS[:-1], _SHD_SPEAKERS[-1:]]
    elif len(groups[0]) > 2:  # all but as many classes as come later, each with a task of its own
        later = len(groups) - 1
        first = _SHD_CLASSES - later
        settings["groups"] = [list(range(first)), *([label] for label in range(first, _SHD_CLASSES))]
    elif len(groups) > 1:
        settings["groups"] = [[label, label + 1] for label in range(0, _SHD_CLASSES, 2)]
    return {**stream, "stream": settings}
