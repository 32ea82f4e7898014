"""Nine ways to keep a first-spike network from forgetting (Antonov, Sviatov & Sukhov 2022), and ours.

A network learns task 1 (digits), then task 2 (letters) on the same outputs, in each of the ways of
`spikelore.continual.ways`. Ways that begin alike share one network of task 1, which is learned first; then the ways are
learned side by side. Both tasks are asked after each epoch of task 2.

Deviations from the authors' code: a validation split is held out, and the epoch is chosen on task 2's validation images
instead of its test images (``choose: test`` is their choice); task 1's test images are as many in all ways; the bars of
pseudo-rehearsal are drawn as its docstring says.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from spikelore.continual.ways import (
    FirstTask,
    Forgetting,
    FrozenLarge,
    Langevin,
    LateralInhibition,
    ProtectedTemplates,
    PseudoRehearsal,
    RateNoise,
    Reminder,
    Way,
    mixed,
)
from spikelore.data import Examples, Splits
from spikelore.data.examples import concatenated
from spikelore.errors import InputError, check_fields, check_whole
from spikelore.experiments import parts
from spikelore.experiments.execution import Execution
from spikelore.experiments.findings import noted, told
from spikelore.experiments.parallel import Cell
from spikelore.experiments.reproduce import Preset
from spikelore.experiments.reproduce.sources import Drawn, Source, drawn
from spikelore.experiments.run_folder import RunFolder, versions
from spikelore.experiments.stages import Stage
from spikelore.experiments.typed import plain
from spikelore.files import load_tensors, save_tensors
from spikelore.learning.first_spike_training import (
    DecisionTraining,
    FeatureExamples,
    Training,
    consolidation,
    further_templates,
    layer_training,
)
from spikelore.learning.langevin import LangevinSampling, shown_weights
from spikelore.learning.reward_stdp import Bounds, RewardStdpConfig
from spikelore.learning.stdp import StdpConfig
from spikelore.learning.template_stdp import TemplateStdpConfig
from spikelore.metrics.weight_moves import STILL, by_size
from spikelore.networks.first_spike import FirstSpikeConfig, FirstSpikeNetwork


@dataclass(frozen=True)
class WaySettings:
    """The settings of every way, see `spikelore.continual.ways`.

    Attributes:
        forgetting: no lateral inhibition.
        inhibition: neighbours of a winner may not win.
        pseudo_rehearsal: images that the old network names.
        reminder_few: a few stored images, again and again.
        reminder_many: more of them.
        noise: noise of the rates.
        frozen: large weights do not move.
        langevin: bounds for each weight.
        joint: all old images.
        templates: ours, nothing stored.
        templates_60: ours with six images of each class.
        templates_30kb: ours with 30 KB of black and white images.
    """

    forgetting: Forgetting = field(default_factory=Forgetting)
    inhibition: LateralInhibition = field(default_factory=LateralInhibition)
    pseudo_rehearsal: PseudoRehearsal = field(default_factory=PseudoRehearsal)
    reminder_few: Reminder = field(default_factory=lambda: Reminder(0.0025))
    reminder_many: Reminder = field(default_factory=lambda: Reminder(0.1))
    noise: RateNoise = field(default_factory=RateNoise)
    frozen: FrozenLarge = field(default_factory=FrozenLarge)
    langevin: Langevin = field(default_factory=Langevin)
    joint: Reminder = field(default_factory=lambda: Reminder(1.0))
    templates: ProtectedTemplates = field(default_factory=ProtectedTemplates)
    templates_60: ProtectedTemplates = field(default_factory=lambda: ProtectedTemplates(stored=6, gain=1.05))
    templates_30kb: ProtectedTemplates = field(default_factory=lambda: ProtectedTemplates(stored=30, bits=1, gain=1.03))


_WAYS = tuple(each.name for each in fields(WaySettings))
Choice = Literal["validation", "test", "last"]


@dataclass(frozen=True)
class LocalExperiment:
    """Everything that decides the result; the defaults are the published sizes.

    Attributes:
        tasks: what is learned first and then; the classes of the second take the outputs of the first's, in order.
        seed: root seed of weights, splits and order.
        train_per_class: most training images of a class (fewer where the data has fewer).
        validation_per_class: images of a class held out of the training set.
        test_per_class: test images of a class.
        epochs_layer_1: passes over each task's images for layer 1.
        epochs_layer_2: passes for layer 2.
        epochs_decision: passes over the first task's images for the decision layer.
        epochs_second: passes over the second task's.
        network: sizes and constants.
        stdp: rates of the feature layers.
        reward: rates of the first task's decision layer.
        later_adaptive_scale: ``reward.adaptive_scale`` in the second task.
        consolidation: rates of templates.
        choose: epoch of the second task that counts: the one that decides most of its ``validation`` images rightly, of
            its ``test`` images as the authors do, or the ``last`` one.
        ways: those that are run, by their names in ``settings``.
        settings: of each way.
        execution: how it is run.
    """

    tasks: tuple[Source, Source] = (Source("mnist"), Source("letters"))
    seed: int = 0
    train_per_class: int = 2400
    validation_per_class: int = 200
    test_per_class: int = 400
    epochs_layer_1: int = 2
    epochs_layer_2: int = 4
    epochs_decision: int = 50
    epochs_second: int = 100
    network: FirstSpikeConfig = field(default_factory=FirstSpikeConfig)
    stdp: StdpConfig = field(default_factory=StdpConfig)
    reward: RewardStdpConfig = field(default_factory=RewardStdpConfig)
    later_adaptive_scale: float = 0.5
    consolidation: TemplateStdpConfig = field(default_factory=lambda: TemplateStdpConfig(13, 0.05, 0.05))
    choose: Choice = "validation"
    ways: tuple[str, ...] = _WAYS
    settings: WaySettings = field(default_factory=WaySettings)
    execution: Execution = field(default_factory=Execution)

    def __post_init__(self) -> None:
        check_fields(self)
        for name in (
            "train_per_class", "validation_per_class", "test_per_class",
            "epochs_layer_1", "epochs_layer_2", "epochs_decision", "epochs_second",
        ):  # fmt: skip
            check_whole(name, getattr(self, name), 1)
        known = ", ".join(_WAYS)
        if not self.ways or len(set(self.ways)) < len(self.ways) or not {*self.ways} <= {*_WAYS}:
            raise InputError(f"ways are {list(self.ways)}, expected some of {known}, each once; correct them")
        named = Counter(self.way(name).name for name in self.ways)
        if twice := [name for name, count in named.items() if count > 1]:
            raise InputError(f"two of the ways are {twice[0]!r}, expected different ones; change one of them")

    def way(self, name: str) -> Way:
        """Return a way by its name in ``settings``."""
        return getattr(self.settings, name)

    def first(self, name: str) -> FirstTask:
        """Return what a way begins from."""
        return self.way(name).first(FirstTask(self.network, self.epochs_decision))

    def shared(self) -> list[FirstTask]:
        """Return what several of the ways begin from."""
        counts = Counter(self.first(name) for name in self.ways)
        return [task for task, count in counts.items() if count > 1]


@dataclass(frozen=True, eq=False)
class _Tasks:
    """Both tasks' images with the labels of the outputs."""

    drawn: tuple[Drawn, Drawn]

    @cached_property
    def images(self) -> tuple[Splits, Splits]:
        """Those of task 1, and those of task 2 with its labels."""
        (first, second), known = (each.images for each in self.drawn), self.classes
        own = np.unique(second.train.labels)

        def moved(part: Examples) -> Examples:
            return part.changed(labels=known[np.searchsorted(own, part.labels)])

        return first, Splits(**{name: moved(part) for name, part in vars(second).items()})

    @property
    def classes(self) -> NDArray[np.int64]:
        """The outputs, ascending."""
        return np.unique(self.drawn[0].images.train.labels)


def _load(config: LocalExperiment, data_dir: Path | None) -> _Tasks:
    """Return both tasks' images.

    Raises:
        InputError: of the data, two tasks that do not have as many classes or the same size of images, or a radius
            larger than a layer's map.
    """
    first, second = (drawn(source, config, data_dir) for source in config.tasks)
    classes = [len(np.unique(each.images.train.labels)) for each in (first, second)]
    if classes[0] != classes[1]:
        raise InputError(
            f"{config.tasks[0].label()} has {classes[0]} classes and {config.tasks[1].label()} has {classes[1]}, "
            "expected as many, since both are learned on the same outputs; name as many classes"
        )
    shapes = [each.images.train.inputs.shape[1:] for each in (first, second)]
    if shapes[0] != shapes[1]:
        raise InputError(
            f"{config.tasks[0].label()} has images of {shapes[0][0]} x {shapes[0][1]} pixels and "
            f"{config.tasks[1].label()} of {shapes[1][0]} x {shapes[1][1]}, expected one size; resize them"
        )
    for name in config.ways:
        config.first(name).network.check_radii(shapes[0], f"{name}: ")
        config.way(name).images_stored(first.images.train)
    tasks, every = _Tasks((first, second)), config.settings.langevin.record_every
    if "langevin" in config.ways and every > (count := len(first.images.train)):
        raise InputError(
            f"langevin.record_every is {every} of {count} images, which leaves quantiles of no records, expected at "
            f"most {count}; record more often"
        )
    FirstSpikeNetwork.create(config.network, tuple(tasks.classes.tolist()), config.seed)
    return tasks


def check(config: LocalExperiment, data_dir: Path | None) -> None:
    """Refuse, before anything is learned, data that the run could not use.

    Raises:
        InputError: as `spikelore.experiments.reproduce.sources.drawn` says, or the tasks do not fit each other or the
            network.
    """
    _load(config, data_dir)


# Learning -----------------------------------------------------------------------------------------------

_FIRST = ("layer 1 of task 1", "layer 2 of task 1", "decision of task 1")
_AT_FIRST = (*_FIRST, "sampling", "layer 1", "consolidation")
"""Stages that begin from what task 1 has left."""
_ASKED = ("decision", "templates")
"""Stages in which both tasks are asked after each epoch."""
_CONSOLIDATED = "consolidated"
"""The checkpoint from which a way with consolidation begins the second task; the others begin from ``first``."""
_SHOWN = "sampled/"
"""What the names of the distributions of a few weights in the checkpoint ``bounds`` begin with."""


class _Stage:
    """A training in its part's folder: each epoch is a line of metrics, and its end a checkpoint."""

    def __init__(self, learner: "_Learner", name: str, training: Training) -> None:
        self.learner, self.name, self.training = learner, name, training
        self.state_dict, self.load_state_dict = training.state_dict, training.load_state_dict

    def steps(self) -> Iterator[tuple[str, int]]:
        """Go on to the last epoch."""
        training, folder = self.training, self.learner.folder
        for metrics in training.steps():
            folder.append_metrics(stage=self.name, epoch=training.epoch, **metrics)
            yield f"{self.learner.title}: {self.name}, epoch {training.epoch}", 1
        last = self.name in _ASKED and self.learner.config.choose == "last"
        network = training.network if last else training.finish()
        if isinstance(training, LangevinSampling):
            self.learner.keep_bounds(training)
        else:
            network.save(folder.checkpoint("first" if self.name in _FIRST else "network"))
        if self.name == "consolidation":
            network.save(folder.checkpoint(_CONSOLIDATED))


@dataclass(frozen=True, eq=False)
class _Learner:
    """What learns in one part's folder: task 1, or in a way task 2, or both.

    The checkpoint ``first`` knows task 1 alone, ``network`` is what has learned task 2 so far.
    """

    config: LocalExperiment
    first: FirstTask
    way: Way
    tasks: _Tasks
    folder: RunFolder
    title: str

    def stages(self, names: Sequence[str]) -> list[Callable[[], Stage]]:
        """Return what makes each of the named stages when it is its turn."""
        return [partial(self._stage, name) for name in names]

    def epochs(self, name: str) -> int:
        """Return how many epochs a stage has."""
        config = self.config
        if isinstance(self.way, Langevin | ProtectedTemplates) and name in ("sampling", "templates"):
            return self.way.epochs
        of = {"layer 1": config.epochs_layer_1, "layer 2": config.epochs_layer_2, "decision": config.epochs_second}
        of |= dict(zip(_FIRST, (config.epochs_layer_1, config.epochs_layer_2, self.first.epochs), strict=True))
        return of.get(name, config.consolidation.epochs)

    def keep_bounds(self, sampling: LangevinSampling) -> None:
        """Keep the bounds that a sampling gives."""
        bounds = self.way.bounds(sampling.network, sampling.quantiles)
        assert bounds is not None
        kept = dict(zip(("lower", "upper"), bounds, strict=True))
        kept |= {f"{_SHOWN}{name}": each for name, each in shown_weights(sampling.quantiles).items()}
        save_tensors(self.folder.checkpoint("bounds"), kept, {})

    def _bounds(self, network: FirstSpikeNetwork) -> Bounds | None:
        if "sampling" in self.way.stages:
            found, _ = load_tensors(self.folder.checkpoint("bounds"))
            return found["lower"], found["upper"]
        return self.way.bounds(network, None)

    def _load(self, checkpoint: str) -> FirstSpikeNetwork:
        return FirstSpikeNetwork.load(self.folder.checkpoint(checkpoint))

    @cached_property
    def _learned(self) -> Examples:
        """The second task's training images, and what is learned beside them."""
        first, second = self.tasks.images
        beside = self.way.images_beside(first.train, self._load("first"), self.config.seed)
        return mixed(second.train, beside, self.config.seed)

    def _stage(self, name: str) -> _Stage:
        config, epochs, known = self.config, self.epochs(name), self.tasks.images[0]
        if name == _FIRST[0]:
            classes = tuple(self.tasks.classes.tolist())
            network = FirstSpikeNetwork.create(self.first.network, classes, config.seed)
        else:
            network = self._load("first" if name in _AT_FIRST else "network")
        if name.startswith("layer"):
            layer = 1 if name.startswith("layer 1") else 2
            images = known.train if name in _FIRST else self._learned
            seen = 0 if name in _FIRST else epochs * len(known.train)
            training = layer_training(network, layer, images.inputs, epochs, config.stdp, seen=seen)
        elif name == _FIRST[2]:
            asked = {part: FeatureExamples.of(network, getattr(known, part)) for part in ("validation", "test")}
            training = DecisionTraining(
                network, FeatureExamples.of(network, known.train), epochs, config.reward, asked,
                patience=self.first.patience, noise=self.first.noise, seed=config.seed,
            )  # fmt: skip
        elif name == "decision":
            noise, scale = self.way.rates(config.later_adaptive_scale)
            training = DecisionTraining(
                network, FeatureExamples.of(network, self._learned), epochs,
                replace(config.reward, adaptive_scale=scale), self._asked(network), noise=noise, seed=config.seed,
                bounds=self._bounds(network),
            )  # fmt: skip
        elif name == "sampling":
            assert isinstance(self.way, Langevin)
            training = LangevinSampling(
                network, FeatureExamples.of(network, known.train), epochs, record_every=self.way.record_every,
                deviation=self.way.deviation, config=config.reward, seed=config.seed,
            )  # fmt: skip
        elif name == "consolidation":
            training = consolidation(
                network, FeatureExamples.of(network, known.train), config.consolidation, config.seed
            )
        else:
            assert isinstance(self.way, ProtectedTemplates)
            new = self.tasks.images[1].train
            beside = self.way.images_beside(known.train, network, config.seed)
            training = further_templates(
                network, FeatureExamples.of(network, concatenated([new, beside])), epochs, config.consolidation,
                config.seed, self.way.plasticity(network), self._asked(network),
                warning=np.repeat([False, True], (len(new), len(beside))) if len(beside) else None, gain=self.way.gain,
                revive=self.way.revive,
            )  # fmt: skip
        return _Stage(self, name, training)

    def _asked(self, network: FirstSpikeNetwork) -> dict[str, FeatureExamples]:
        """Return the sets that are decided after each epoch; the one that chooses, if any does, is the first."""
        sets = {
            f"{task}_{part}": FeatureExamples.of(network, getattr(images, part))
            for task, images in zip(("digits", "letters"), self.tasks.images, strict=True)
            for part in ("validation", "test")
        }
        return dict(sorted(sets.items(), key=lambda each: each[0] != f"letters_{self.config.choose}"))


def _learn(
    config: LocalExperiment, first: FirstTask, way: str | None, start: FirstSpikeNetwork | None,
    data_dir: Path | None, out: Path,
) -> dict[str, Any]:  # fmt: skip
    """Learn task 1, unless a network to start from is given, and task 2 in a way, if one is named."""

    def made(folder: RunFolder) -> tuple[float, list[Callable[[], Stage]]]:
        learner = _Learner(config, first, config.way(way) if way else Way(), _load(config, data_dir), folder, title)
        if start is not None:
            start.save(folder.checkpoint("first"))
        names = [*(_FIRST if start is None else ()), *(learner.way.stages if way else ())]
        return sum(map(learner.epochs, names)), learner.stages(names)

    title = way or "task 1"
    return parts.learn(config, out, {"part": title, "first": plain(first)}, made, apart=("ways",))


# Parts --------------------------------------------------------------------------------------------------


def begins(config: LocalExperiment, folder: RunFolder, data_dir: Path | None) -> dict[str, Cell]:
    """Return what learns the networks of task 1 that several ways begin from, as far as they have not been learned.

    Raises:
        InputError: of the data.
    """
    told(note for each in _load(config, data_dir).drawn for note in each.notes)
    wanted = {name: (task, None, None) for name, task in _shared(config).items()}
    return parts.left(config, folder, _learn, wanted, data_dir)


def ways(config: LocalExperiment, folder: RunFolder, data_dir: Path | None) -> dict[str, Cell]:
    """Return what learns each way that has not been learned; those that begin from task 1 themselves come first."""
    shared = {task: name for name, task in _shared(config).items()}
    wanted = {}
    for way in sorted(config.ways, key=lambda name: config.first(name) in shared):
        task = config.first(way)
        path = parts.part(folder, shared.get(task, "")) / "checkpoints" / "first.safetensors"
        wanted[way] = (task, way, FirstSpikeNetwork.load(path) if task in shared else None)
    return parts.left(config, folder, _learn, wanted, data_dir)


def _shared(config: LocalExperiment) -> dict[str, FirstTask]:
    return {f"task_1{f'-{n}' if n > 1 else ''}": task for n, task in enumerate(config.shared(), start=1)}


# Results ------------------------------------------------------------------------------------------------


def run(config: LocalExperiment, folder: RunFolder, data_dir: Path | None) -> dict[str, Any]:
    """Gather what all parts gave into ``folder`` and return the results."""
    tasks = _load(config, data_dir)
    names = [*_shared(config), *config.ways]
    lines = {name: parts.metrics(folder, name) for name in names}
    folder.write_metrics({"part": name, **line} for name, each in lines.items() for line in each)
    moves = {name: _moves(config.way(name), parts.part(folder, name) / "checkpoints") for name in config.ways}
    folder.write_arrays({f"{config.way(name).name}/{key}": each for name in moves for key, each in moves[name].items()})
    return {
        "experiment": "local",
        "seed": config.seed,
        "seconds": parts.seconds(folder, names),
        "data": [source.label() for source in config.tasks],
        "versions": versions(),
        "images_per_class": [each.facts for each in tasks.drawn],
        **noted(note for each in tasks.drawn for note in each.notes),
        "rows": [_row(config, name, lines[name], tasks, config.choose) for name in config.ways],
        "choices": [
            {"choice": choice, **_row(config, name, lines[name], tasks, choice)}
            for name in config.ways
            for choice in get_args(Choice)
        ],
        "task_1": [_first_row(config, name, lines) for name in config.ways],
        "moves": [_moves_row(config.way(name), kept) for name, kept in moves.items() if kept],
    }


def _row(
    config: LocalExperiment, name: str, lines: Sequence[Mapping[str, Any]], tasks: _Tasks, choice: str
) -> dict[str, Any]:
    """Return a way's row: both tasks' test images at the epoch that counts."""
    way, epochs = config.way(name), [line for line in lines if line["stage"] in _ASKED]
    found = epochs[-1] if choice == "last" else max(epochs, key=lambda line: line[f"letters_{choice}"])
    digits, letters = found["digits_test"], found["letters_test"]
    return {
        "name": way.name,
        "preset": way.preset,
        "digits": round(digits, 5),
        "letters": round(letters, 5),
        "mean": round((digits + letters) / 2, 5),
        "stored_images": len(way.images_stored(tasks.images[0].train)),
        "stored_bytes": way.bytes_stored(tasks.images[0].train),
        "epoch": found["epoch"],
    }


def _first_row(config: LocalExperiment, name: str, lines: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """Return how the network that a way begins from had learned task 1."""
    shared = {task: part for part, task in _shared(config).items()}
    part = shared.get(config.first(name), name)
    epochs = [line for line in lines[part] if line["stage"] == _FIRST[2]]
    best = max(epochs, key=lambda line: line["validation"])
    return {
        "name": config.way(name).name,
        "digits": round(best["test"], 5),
        "epoch": best["epoch"],
        "epochs": len(epochs),
    }


def _moves(way: Way, checkpoints: Path) -> dict[str, NDArray]:
    """Return how far a way's weights moved in the second task, and the values of a few in a sampling of the first.

    Nothing if the part was learned before such networks were kept.
    """
    begun = checkpoints / f"{_CONSOLIDATED if 'consolidation' in way.stages else 'first'}.safetensors"
    if not begun.exists():
        return {}
    before, after = (FirstSpikeNetwork.load(path) for path in (begun, checkpoints / "network.safetensors"))
    layers = [(before.weights_1, after.weights_1), (before.weights_2, after.weights_2)]
    stayed = [(np.abs(new - old) < STILL).mean() for old, new in layers]
    arrays = {"features_stayed": np.array(stayed), **by_size(before.unit_weights, after.unit_weights)}
    if "sampling" in way.stages:
        found, _ = load_tensors(checkpoints / "bounds.safetensors")
        arrays |= {name: each for name, each in found.items() if name.startswith(_SHOWN)}
    return arrays


def _moves_row(way: Way, arrays: Mapping[str, NDArray]) -> dict[str, Any]:
    """Return which weights stayed as they were in the second task, and how far those of layer 3 moved."""
    one, two = arrays["features_stayed"].tolist()
    stayed, moved = arrays["stayed"], arrays["moved"]
    shares = {"layer_1": one, "layer_2": two, "layer_3": stayed.mean(), "largest": stayed[-1]}
    return {
        "name": way.name,
        "preset": way.preset,
        **{f"{name}_stayed": round(float(share), 5) for name, share in shares.items()},
        "layer_3_moved": round(float(moved.mean()), 5),
        "largest_moved": round(float(moved[-1]), 5),
    }


def at_scale(
    scale: Literal["quick", "paper"], *, preset: Preset | None = None, choose: Choice | None = None, seed: int = 0
) -> LocalExperiment:
    """Return the published experiment at a scale.

    Args:
        scale: ``paper`` has the published sizes on mnist and letters; ``quick`` ends within two minutes and learns 5-9
            after 0-4 on the digits that a dependency ships.
        preset: whose ways are run: the ``published`` ones, or ours; both if not given.
        choose: the epoch that counts, see `LocalExperiment`; ``validation`` if not given.
        seed: root seed.
    """
    paper = LocalExperiment(seed=seed, choose=choose or "validation")
    ways = tuple(name for name in _WAYS if preset in (None, paper.way(name).preset))
    if scale == "paper":
        return replace(paper, ways=ways)
    ours = ProtectedTemplates(epochs=6, gain=1.0, revive=False)
    settings = WaySettings(
        forgetting=Forgetting(epochs=20, patience=8), noise=RateNoise(epochs=15),
        langevin=Langevin(epochs=4, record_every=25, deviation=0.002), templates=ours,
        templates_60=replace(ours, stored=12), templates_30kb=replace(ours, stored=60, bits=1),
    )  # fmt: skip
    return replace(
        paper, tasks=(Source("digits-sample", (0, 1, 2, 3, 4)), Source("digits-sample", (5, 6, 7, 8, 9))),
        train_per_class=150, validation_per_class=40, test_per_class=100, epochs_layer_1=3,
        epochs_layer_2=5, epochs_decision=12, epochs_second=10, stdp=StdpConfig(double_every=150),
        consolidation=TemplateStdpConfig(), ways=ways, settings=settings,
    )  # fmt: skip
