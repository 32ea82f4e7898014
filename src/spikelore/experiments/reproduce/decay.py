"""Use it or lose it (Antonov and Sukhov, Neuroinformatics 2024): synapses that are not used fade.

A rate-coded network learns some classes once without decay and once with it, and then answers four sets of
images of one mean intensity: white and blurred noise, digits of its classes and digits of others. Simple
ways to take as many weights away are measured beside it.

Deviations from the authors' code: validation images are held out, on which settings may be chosen; test
images start from one state each and are drawn in the proportions of the test set.
"""

from collections.abc import Iterator, Mapping, Sequence
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
from spikelore.data import LabelledImages, findings, load, split
from spikelore.data.noise import four_test_sets
from spikelore.errors import InputError
from spikelore.experiments.findings import named, of_rates, told
from spikelore.experiments.reproduce import PRESETS, Preset
from spikelore.experiments.run_folder import RunFolder, versions
from spikelore.experiments.stages import Stages
from spikelore.metrics import accuracy, silence
from spikelore.networks.rate_lif import RateLIFConfig, RateLIFNetwork
from spikelore.progress import shown
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

    def __post_init__(self) -> None:
        for name in ("train_per_class", "validation_per_class", "test_images", "epochs"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}; it must be at least 1")
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


class _Training(NamedTuple):
    """One pass of training; its network goes to a checkpoint of its name."""

    name: str
    network: RateLIFConfig
    period_images: int
    ticking: OnlineDecay | WeightDecay | None


class _Data(NamedTuple):
    train: LabelledImages
    validation: LabelledImages
    sets: dict[str, LabelledImages]
    facts: dict[str, Any]
    """Its entry in ``images_per_class`` of the results."""
    notes: list[str]


def _l2_name(tau_ms: float) -> str:
    return f"L2-like, {tau_ms / 1000:g} s"


def _trainings(config: DecayExperiment) -> list[_Training]:
    found = []
    for preset in config.presets:
        network, decay = config.setting(preset).network, config.setting(preset).decay
        period = decay.period_images or _PERIOD_IMAGES
        found.append(_Training(f"{preset}_without", network, period, None))
        if decay.period_images:
            online = OnlineDecay(
                tau_prune_ms=decay.tau_prune_ms, period_ms=period * network.image_ms, strength=decay.strength
            )
            found.append(_Training(f"{preset}_with", network, period, online))
        for tau in config.l2_tau_ms:
            found.append(_Training(f"{preset}_l2_{tau:g}", network, period, WeightDecay(tau_ms=tau)))
    return found


def _load(config: DecayExperiment, data_dir: Path | None) -> _Data:
    dataset = load(config.data, data_dir)
    dataset.kept(config.classes + config.unknown)
    drawn = split(
        dataset, train_per_class=config.train_per_class, validation_per_class=config.validation_per_class,
        classes=config.classes, seed=config.seed,
    )  # fmt: skip
    mean = float(drawn.train.images.mean())
    if not 0 < mean <= 127.5:
        raise InputError(
            f"the training images of {config.data} have the mean grey level {mean:.1f}, expected above 0 and at most "
            f"127.5, which noise can have; {'; '.join(findings(dataset)) or 'choose darker images'}"
        )
    sets = four_test_sets(
        dataset.test, config.classes, config.unknown, count=config.test_images, mean=mean, seed=config.seed
    )
    networks = dict.fromkeys(config.setting(preset).network for preset in config.presets)
    facts = {
        "data": _label(config.data, config.classes), "train": config.train_per_class,
        "validation": config.validation_per_class, **named(dataset),
    }  # fmt: skip
    return _Data(
        drawn.train,
        drawn.validation,
        {str(name): images for name, images in sets.items()},
        facts,
        [*findings(dataset), *(note for each in networks for note in of_rates(config.data, drawn.train.images, each))],
    )


def check(config: DecayExperiment, data_dir: Path | None) -> None:
    """Refuse, before anything is learned, data that the run could not use.

    Raises:
        InputError: no such dataset, a class that it lacks, or too few images.
    """
    _load(config, data_dir)


class _Stage:
    """A network in training, and the decay that works on it meanwhile."""

    def __init__(self, training: _Training, seed: int, train: LabelledImages, total: int, folder: RunFolder) -> None:
        self.training, self.train, self.total, self.folder = training, train, total, folder
        self.network = RateLIFNetwork(training.network, seed=seed)

    def state_dict(self) -> tuple[dict[str, NDArray], str]:
        """Return what a resumed run needs."""
        ticking = self.training.ticking
        return {**self.network.state_dict(), **(ticking.state_dict() if ticking else {})}, ""

    def load_state_dict(self, arrays: Mapping[str, NDArray], facts: str) -> None:
        """Go on from what `state_dict` returned."""
        del facts
        self.network.load_state_dict(arrays)
        if self.training.ticking:
            self.training.ticking.load_state_dict(arrays)

    def steps(self) -> Iterator[tuple[str, int]]:
        """Pass over the images again and again, up to the total; the network goes to a checkpoint."""
        network, ticking, train = self.network, self.training.ticking, self.train
        while (first := network.images_seen) < self.total:
            stop = min(self.total, first + _SAVE_IMAGES - first % _SAVE_IMAGES)
            pick = np.arange(first, stop) % len(train)
            counts = network.train(
                train.images[pick],
                train.labels[pick],
                every_images=self.training.period_images,
                between=ticking.tick_ if ticking else None,
            )
            decided, largest = network.decide(counts), network.config.weight_max
            self.folder.append_metrics(
                training=self.training.name,
                images=stop,
                train=accuracy(decided, train.labels[pick]),
                silent=silence(decided),
                spikes_per_image=float(counts.sum(1).mean()),
                mean_weight=float(network.weights.mean()),
                faded=faded_share(network.weights, largest),
                histogram=np.histogram(network.weights, _BINS, (0.0, largest))[0].tolist(),
            )
            yield self.training.name.replace("_", ", "), stop - first
        network.save(self.folder.checkpoint(self.training.name))


def run(config: DecayExperiment, folder: RunFolder, data_dir: Path | None) -> dict[str, Any]:
    """Train with and without decay, measure; write checkpoints, metrics and arrays; return the results."""
    stages = Stages(folder)
    data = _load(config, data_dir)
    facts = {"images_per_class": [data.facts], **told(data.notes)}
    total = config.epochs * len(data.train)
    trainings = [partial(_Stage, each, config.seed, data.train, total, folder) for each in _trainings(config)]
    with shown(len(trainings) * total, stages.done) as meter:
        stages.run(trainings, meter.advance)
        meter.advance("measuring", 0)
        results = _measure(config, data, folder)
    return {
        "experiment": "decay",
        "seed": config.seed,
        "seconds": round(stages.seconds, 1),
        "data": [_label(config.data, config.classes), *([_label("unknown", config.unknown)] if config.unknown else [])],
        "versions": versions(),
        **facts,
        **results,
    }


def _label(name: str, classes: Sequence[int]) -> str:
    return f"{name} {','.join(map(str, classes))}"


def _networks(config: DecayExperiment, preset: Preset, folder: RunFolder) -> dict[str, RateLIFNetwork]:
    """Return a preset's networks by what was done to them; the second one is the preset's own decay."""
    setting = config.setting(preset)
    decay = setting.decay

    def trained(name: str) -> RateLIFNetwork:
        return RateLIFNetwork.load(folder.checkpoint(f"{preset}_{name}"))

    without = trained("without")
    once = without.copy()
    decay_unused_(once, tau_prune_ms=decay.tau_prune_ms, strength=decay.strength)
    if decay.period_images:
        found = {"none": without, "unused decay, online": trained("with"), "unused decay, once": once}
    else:
        once.save(folder.checkpoint(f"{preset}_with"))
        found = {"none": without, "unused decay, once": once}
    largest = setting.network.weight_max
    sparse, already = (faded_share(network.weights, largest) for network in (list(found.values())[1], without))
    smallest, random = without.copy(), without.copy()
    prune_smallest_(smallest, sparse)
    rest = max(0.0, sparse - already) / (1 - already) if already < 1 else 0.0
    prune_random_(random, rest, generator(config.seed, "decay", "random pruning", preset))
    found |= {"smallest pruned": smallest, "random pruned": random}
    return found | {_l2_name(tau): trained(f"l2_{tau:g}") for tau in config.l2_tau_ms}


def _method(preset: Preset, name: str, network: RateLIFNetwork, data: _Data) -> dict[str, Any]:
    """Measure one network on every set."""
    counts = {each: network.count_spikes(images.images) for each, images in data.sets.items()}
    decided = network.decide(counts["known"])
    return {
        "preset": preset,
        "method": name,
        "accuracy": round(accuracy(decided, data.sets["known"].labels), 5),
        "validation": round(
            accuracy(network.decide(network.count_spikes(data.validation.images)), data.validation.labels), 5
        ),
        "unrecognised": round(silence(decided), 5),
        "faded": round(faded_share(network.weights, network.config.weight_max), 5),
        "spikes": {each: int(spikes.sum()) for each, spikes in counts.items()},
    }


def _measure(config: DecayExperiment, data: _Data, folder: RunFolder) -> dict[str, Any]:
    """Ask every network about every set, and keep what the figures draw."""
    methods, rows, shares, arrays = [], [], [], {}
    for preset in config.presets:
        networks = _networks(config, preset, folder)
        plain, faded = list(networks.values())[:2]
        measured = [_method(preset, name, network, data) for name, network in networks.items()]
        without, with_decay = measured[:2]
        methods += measured
        for name in data.sets:
            before, after = without["spikes"][name], with_decay["spikes"][name]
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
        arrays |= _arrays(preset, plain, faded, data)
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
    arrays = {f"{preset}/classes": faded.neuron_classes, f"{preset}/shape": np.array(known.images.shape[1:])}
    arrays[f"{preset}/fired"] = faded.count_spikes(known.images).sum(0)
    for when, network in (("without", without), ("with", faded)):
        arrays[f"{preset}/weights/{when}"] = network.weights.copy()
        for name in ("known", "white"):
            seen = network.record(data.sets[name].images[0])
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
