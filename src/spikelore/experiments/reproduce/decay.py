"""Use it or lose it (Antonov and Sukhov, Neuroinformatics 2024): synapses that are not used fade.

A rate-coded network learns some classes once without decay and once with it, and then answers four sets of
images of one mean intensity: white and blurred noise, digits of its classes and digits of others. Simple
ways to take as many weights away are measured beside it.

Deviations from the authors' code: validation images are held out, on which settings may be chosen; test
images start from one state each and are drawn in the proportions of the test set.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spikelore.continual.unused_decay import (
    OnlineDecay,
    WeightDecay,
    decay_unused_,
    faded_share,
    prune_random_,
    prune_smallest_,
)
from spikelore.data import Examples, findings, load, split
from spikelore.data.noise import four_test_sets
from spikelore.errors import InputError, check_whole
from spikelore.experiments import parts
from spikelore.experiments.execution import Execution
from spikelore.experiments.findings import named, noted, of_rates, told
from spikelore.experiments.parallel import Cell
from spikelore.experiments.reproduce import PRESETS, Preset, label
from spikelore.experiments.run_folder import RunFolder, versions
from spikelore.experiments.stages import Stage
from spikelore.metrics import accuracy, silence
from spikelore.networks.rate_lif import RateLIFConfig, RateLIFNetwork
from spikelore.randomness import generator

PUBLISHED_CLASSES, PUBLISHED_UNKNOWN = (7, 4, 6), (9, 2, 1)
_PERIOD_IMAGES = 25
_SAVE_IMAGES = 500
_BINS = 20


@dataclass(frozen=True)
class DecaySetting:
    """How unused synapses fade.

    Attributes:
        tau_prune_ms: time constant; 5 x classes x 500 ms as published.
        strength: the coefficient k, 1 as published.
        period_images: images between two ticks of the decay while the network learns; None for decay once,
            after training, as the published code does.
    """

    tau_prune_ms: float = 7500.0
    strength: float = 1.0
    period_images: int | None = None

    def __post_init__(self) -> None:
        OnlineDecay(tau_prune_ms=self.tau_prune_ms, period_ms=1.0, strength=self.strength)
        if self.period_images is not None and self.period_images < 1:
            raise InputError(
                f"period_images is {self.period_images}, expected at least 1; give null for decay once, after training"
            )


@dataclass(frozen=True)
class Setting:
    """What a preset stands for.

    Attributes:
        network: sizes and constants; its classes are the known ones.
        decay: how unused synapses fade.
    """

    network: RateLIFConfig
    decay: DecaySetting


@dataclass(frozen=True)
class DecayExperiment:
    """Everything that decides the result; the defaults are the published sizes.

    Attributes:
        data: name of a dataset: a folder of the data directory, or one of ``spikelore data list``.
        unknown: classes that the network never learns and is asked about; none for no such test set.
        seed: root seed of weights, delays, spike trains, splits and noise.
        train_per_class: training images a class.
        validation_per_class: images a class held out of the training set.
        test_images: images of each test set.
        epochs: passes over the training images.
        presets: which of the two to run.
        published: as the authors' code does it.
        best: our own.
        l2_tau_ms: time constants of the L2-like baseline, each a training of its own.
        execution: how it is run.
    """

    data: str = "mnist"
    unknown: tuple[int, ...] = PUBLISHED_UNKNOWN
    seed: int = 0
    train_per_class: int = 5000
    validation_per_class: int = 400
    test_images: int = 1500
    epochs: int = 1
    presets: tuple[Preset, ...] = PRESETS
    published: Setting = field(default_factory=lambda: Setting(RateLIFConfig.published(), DecaySetting()))
    best: Setting = field(
        default_factory=lambda: Setting(RateLIFConfig.best(), DecaySetting(period_images=_PERIOD_IMAGES))
    )
    l2_tau_ms: tuple[float, ...] = (2e6, 6e6, 2e7)
    execution: Execution = field(default_factory=Execution)

    def __post_init__(self) -> None:
        for name in ("train_per_class", "validation_per_class", "test_images", "epochs"):
            check_whole(name, getattr(self, name), 1)
        if not self.presets or len(set(self.presets)) != len(self.presets):
            raise InputError(f"presets are {list(self.presets)}; name one or both of {', '.join(PRESETS)}, each once")
        known = [list(self.setting(preset).network.classes) for preset in self.presets]
        if any(classes != known[0] for classes in known):
            raise InputError(
                f"the presets' networks have classes {' and '.join(map(str, known))}; give both the same, or run "
                "one preset"
            )
        for tau in self.l2_tau_ms:
            WeightDecay(tau_ms=tau)

    def setting(self, preset: Preset) -> Setting:
        """Return what a preset stands for."""
        return self.published if preset == "published" else self.best

    @property
    def classes(self) -> tuple[int, ...]:
        """The known classes."""
        return self.setting(self.presets[0]).network.classes


class _Data(NamedTuple):
    """The images; ``facts`` is their entry in ``images_per_class`` of the results, ``notes`` what to know of them."""

    train: Examples
    validation: Examples
    sets: dict[str, Examples]
    facts: dict[str, Any]
    notes: list[str]


def _load(config: DecayExperiment, data_dir: Path | None) -> _Data:
    dataset = load(config.data, data_dir)
    dataset.kept(config.classes + config.unknown)
    drawn = split(
        dataset, train_per_class=config.train_per_class, validation_per_class=config.validation_per_class,
        classes=config.classes, seed=config.seed,
    )  # fmt: skip
    mean = float(drawn.train.inputs.mean())
    if not 0 < mean <= 127.5:
        raise InputError(
            f"the training images of {config.data} have the mean grey level {mean:.1f}, expected above 0 and at most "
            f"127.5, which noise can have; {'; '.join(findings(dataset)) or 'choose darker images'}"
        )
    sets = four_test_sets(
        dataset.test, config.classes, config.unknown, count=config.test_images, mean=mean, seed=config.seed
    )
    facts = {
        "data": label(config.data, config.classes), "train": config.train_per_class,
        "validation": config.validation_per_class, **named(dataset),
    }  # fmt: skip
    networks = dict.fromkeys(config.setting(preset).network for preset in config.presets)
    for each in networks:
        each.check_images(drawn.train.inputs)
    notes = [*findings(dataset), *(n for each in networks for n in of_rates(config.data, drawn.train.inputs, each))]
    return _Data(drawn.train, drawn.validation, {str(name): each for name, each in sets.items()}, facts, notes)


def check(config: DecayExperiment, data_dir: Path | None) -> None:
    """Refuse, before anything is learned, data that the run could not use.

    Raises:
        InputError: no such dataset, a class that it lacks, or too few images.
    """
    _load(config, data_dir)


Ticking = OnlineDecay | WeightDecay | None


def _trainings(config: DecayExperiment) -> dict[str, tuple[Setting, Ticking]]:
    """Return what each network is and what works on it while it learns, by the name of its checkpoint."""
    found: dict[str, tuple[Setting, Ticking]] = {}
    for preset in config.presets:
        setting = config.setting(preset)
        decay, image_ms = setting.decay, setting.network.image_ms
        found[f"{preset}_without"] = setting, None
        if decay.period_images:
            period_ms = decay.period_images * image_ms
            found[f"{preset}_with"] = (
                setting,
                OnlineDecay(tau_prune_ms=decay.tau_prune_ms, period_ms=period_ms, strength=decay.strength),
            )
        found |= {f"{preset}_l2_{tau:g}": (setting, WeightDecay(tau_ms=tau)) for tau in config.l2_tau_ms}
    return found


class _Training:
    """A network that learns, and the decay that works on it meanwhile."""

    def __init__(
        self, name: str, setting: Setting, ticking: Ticking, config: DecayExperiment, train: Examples,
        folder: RunFolder,
    ) -> None:  # fmt: skip
        self.name, self.ticking, self.train, self.folder = name, ticking, train, folder
        self.network = RateLIFNetwork(setting.network, seed=config.seed)
        self.period_images = setting.decay.period_images or _PERIOD_IMAGES
        self.images = config.epochs * len(train)

    def state_dict(self) -> tuple[dict[str, NDArray], str]:
        """Return the network and the time of the last tick."""
        return {**self.network.state_dict(), **(self.ticking.state_dict() if self.ticking else {})}, ""

    def load_state_dict(self, arrays: Mapping[str, NDArray], facts: str) -> None:
        """Go on from what `state_dict` returned."""
        del facts
        self.network.load_state_dict(arrays)
        if self.ticking:
            self.ticking.load_state_dict(arrays)

    def steps(self) -> Iterator[tuple[str, int]]:
        """Pass over the images again and again; a line of metrics after every few, a checkpoint at the end."""
        network, train, largest = self.network, self.train, self.network.config.weight_max
        while (first := network.images_seen) < self.images:
            stop = min(self.images, first + _SAVE_IMAGES - first % _SAVE_IMAGES)
            pick = np.arange(first, stop) % len(train)
            counts = network.train(
                train.inputs[pick], train.labels[pick], every_images=self.period_images,
                between=self.ticking.tick_ if self.ticking else None,
            )  # fmt: skip
            decided = network.decide(counts)
            self.folder.append_metrics(
                training=self.name,
                images=stop,
                train=accuracy(decided, train.labels[pick]),
                silent=silence(decided),
                spikes_per_image=float(counts.sum(1).mean()),
                mean_weight=float(network.weights.mean()),
                faded=faded_share(network.weights, largest),
                histogram=np.histogram(network.weights, _BINS, (0.0, largest))[0].tolist(),
            )
            yield self.name.replace("_", ", "), stop - first
        network.save(self.folder.checkpoint(self.name))


def _learn(config: DecayExperiment, name: str, data_dir: Path | None, out: Path) -> dict[str, Any]:
    """Train one network in a part's folder."""

    def made(folder: RunFolder) -> tuple[float, list[Callable[[], Stage]]]:
        train = _load(config, data_dir).train
        training = partial(_Training, name, *_trainings(config)[name], config, train, folder)
        return config.epochs * len(train), [training]

    return parts.learn(config, out, {"part": name}, made)


def trainings(config: DecayExperiment, folder: RunFolder, data_dir: Path | None) -> dict[str, Cell]:
    """Return what trains each network that has not been trained."""
    told(_load(config, data_dir).notes)
    return parts.left(config, folder, _learn, {name: (name,) for name in _trainings(config)}, data_dir)


def run(config: DecayExperiment, folder: RunFolder, data_dir: Path | None) -> dict[str, Any]:
    """Measure the trained networks; write checkpoints, metrics and arrays; return the results."""
    data, names = _load(config, data_dir), [*_trainings(config)]
    folder.write_metrics(line for name in names for line in parts.metrics(folder, name))
    for name in names:
        parts.keep_checkpoints(folder, name)
    return {
        "experiment": "decay",
        "seed": config.seed,
        "seconds": parts.seconds(folder, names),
        "data": [label(config.data, config.classes), *([label("unknown", config.unknown)] if config.unknown else [])],
        "versions": versions(),
        "images_per_class": [data.facts],
        **noted(data.notes),
        **_measure(config, data, folder),
    }


def _networks(config: DecayExperiment, preset: Preset, folder: RunFolder) -> dict[str, RateLIFNetwork]:
    """Return a preset's networks by what was done to them; the second one is the preset's own decay."""
    setting = config.setting(preset)
    decay, largest = setting.decay, setting.network.weight_max

    def trained(name: str) -> RateLIFNetwork:
        return RateLIFNetwork.load(folder.checkpoint(f"{preset}_{name}"))

    without = trained("without")
    once, smallest, random = without.copy(), without.copy(), without.copy()
    decay_unused_(once, tau_prune_ms=decay.tau_prune_ms, strength=decay.strength)
    if decay.period_images:
        own = {"unused decay, online": trained("with"), "unused decay, once": once}
    else:
        once.save(folder.checkpoint(f"{preset}_with"))
        own = {"unused decay, once": once}
    sparse, already = (faded_share(network.weights, largest) for network in (next(iter(own.values())), without))
    prune_smallest_(smallest, sparse)
    rest = max(0.0, sparse - already) / (1 - already) if already < 1 else 0.0
    prune_random_(random, rest, generator(config.seed, "decay", "random pruning", preset))
    shrunk = {f"L2-like, {tau / 1000:g} s": trained(f"l2_{tau:g}") for tau in config.l2_tau_ms}
    return {"none": without, **own, "smallest pruned": smallest, "random pruned": random, **shrunk}


def _method(preset: Preset, name: str, network: RateLIFNetwork, data: _Data) -> dict[str, Any]:
    """Measure one network on every set."""
    counts = {each: network.count_spikes(images.inputs) for each, images in data.sets.items()}
    decided = network.decide(counts["known"])
    held_out = network.decide(network.count_spikes(data.validation.inputs))
    return {
        "preset": preset,
        "method": name,
        "accuracy": round(accuracy(decided, data.sets["known"].labels), 5),
        "validation": round(accuracy(held_out, data.validation.labels), 5),
        "unrecognised": round(silence(decided), 5),
        "faded": round(faded_share(network.weights, network.config.weight_max), 5),
        "spikes": {each: int(spikes.sum()) for each, spikes in counts.items()},
    }


def _measure(config: DecayExperiment, data: _Data, folder: RunFolder) -> dict[str, Any]:
    """Ask every network about every set, and keep what the figures draw."""
    methods, rows, shares, arrays = [], [], [], {}
    for preset in config.presets:
        networks = _networks(config, preset, folder)
        measured = [_method(preset, name, network, data) for name, network in networks.items()]
        without, with_decay = measured[:2]
        methods += measured
        for name, before in without["spikes"].items():
            after = with_decay["spikes"][name]
            rows.append(
                {
                    "preset": preset,
                    "method": with_decay["method"],
                    "set": name,
                    "spikes_without": before,
                    "spikes_with": after,
                    "left": round(after / before, 6) if before else None,
                }
            )
        shares += [
            {"preset": preset, "decay": when, "accuracy": one["accuracy"], "unrecognised": one["unrecognised"]}
            for when, one in (("without", without), ("with", with_decay))
        ]
        arrays |= _arrays(preset, networks["none"], networks[with_decay["method"]], data)
    folder.write_arrays(arrays)
    return {
        "rows": rows,
        "accuracy_without": shares[-2]["accuracy"],
        "accuracy_with": shares[-1]["accuracy"],
        "accuracy": shares,
        "methods": methods,
    }


def _arrays(preset: Preset, without: RateLIFNetwork, faded: RateLIFNetwork, data: _Data) -> dict[str, NDArray]:
    """What the figures draw, by name: weights, and one known and one noise image as the network sees them."""
    known = data.sets["known"]
    arrays = {f"{preset}/classes": faded.neuron_classes, f"{preset}/shape": np.array(known.inputs.shape[1:])}
    arrays[f"{preset}/fired"] = faded.count_spikes(known.inputs).sum(0)
    for when, network in (("without", without), ("with", faded)):
        arrays[f"{preset}/weights/{when}"] = network.weights.copy()
        for name in ("known", "white"):
            seen = network.record(data.sets[name].inputs[0])
            for key, values in seen._asdict().items():
                arrays[f"{preset}/{name}/{when}/{key}"] = values
    arrays[f"{preset}/label"] = known.labels[:1]
    return arrays


def at_scale(
    scale: Literal["quick", "paper"], *, classes: Sequence[int] | None = None, unknown: Sequence[int] | None = None,
    preset: Preset | None = None, seed: int = 0,
) -> DecayExperiment:  # fmt: skip
    """Return the published experiment at a scale.

    Args:
        scale: ``paper`` has the published sizes, on mnist; ``quick`` ends within a minute, on the digits that a
            dependency ships, passed over several times.
        classes: what the network learns; 7, 4, 6 if not given.
        unknown: what it is asked about besides; 9, 2, 1, less what it learns, if not given.
        preset: the one to run; both if not given.
        seed: root seed.
    """
    known = PUBLISHED_CLASSES if classes is None else tuple(classes)
    asked = tuple(label for label in PUBLISHED_UNKNOWN if label not in known) if unknown is None else tuple(unknown)
    sizes: dict[str, Any] = {}
    if scale == "quick":
        sizes = {
            "data": "digits-sample", "train_per_class": 350, "validation_per_class": 50, "epochs": 4, "l2_tau_ms": (),
        }  # fmt: skip
    images = len(known) * sizes.get("train_per_class", 5000) * sizes.get("epochs", 1)
    test_per_class = 500 if scale == "paper" else 100
    tau = 5 * len(known) * 500.0
    return DecayExperiment(
        unknown=asked,
        seed=seed,
        test_images=test_per_class * min(len(known), len(asked) or len(known)),
        presets=(preset,) if preset else PRESETS,
        published=Setting(RateLIFConfig.published(known), DecaySetting(tau)),
        best=Setting(RateLIFConfig.best(known, images=images), DecaySetting(tau, period_images=_PERIOD_IMAGES)),
        **sizes,
    )
