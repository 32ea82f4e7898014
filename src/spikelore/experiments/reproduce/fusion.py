"""Knowledge fusion by pruning (Antonov & Sukhov 2022): networks trained apart become one.

Network a learns its feature layers by STDP and its decision layer by R-STDP. Every further network keeps a's
feature layers and learns a decision layer on its own data. Then their most important features are fused. For the
``best`` preset each network consolidates its decision layer first (`spikelore.learning.template_stdp`), still on its
own data alone. The fused network may then go on learning a further data set while its most important features are
protected.

Deviations from the authors' code: a validation split is held out and the best epoch is chosen on it, never on
the test set.
"""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from spikelore.continual import fusion, importance
from spikelore.data import LabelledImages, class_counts, findings, load, split
from spikelore.errors import InputError
from spikelore.experiments.findings import named, of_first_spikes, told
from spikelore.experiments.reproduce import PRESETS, Preset
from spikelore.experiments.run_folder import RunFolder, versions
from spikelore.kernels.reward_stdp import Rates, SpikeLists
from spikelore.learning.reward_stdp import Outcome, RewardStdpConfig, learn_epoch
from spikelore.learning.stdp import StdpConfig, learn_layer
from spikelore.learning.template_stdp import TemplateStdpConfig, learn_more
from spikelore.learning.template_stdp import learn_epoch as consolidate_epoch
from spikelore.metrics import confusion_matrix
from spikelore.networks.first_spike import FirstSpikeConfig, FirstSpikeNetwork, SpikeCounts
from spikelore.progress import Meter, shown
from spikelore.shapes import Labels


@dataclass(frozen=True)
class Source:
    """One network's data.

    Attributes:
        data: name of a dataset: a folder of the data directory, or one of ``spikelore data list``.
        classes: the labels to use; all if not given.
    """

    data: str
    classes: tuple[int, ...] | None = None

    def label(self) -> str:
        """Return a short name for tables."""
        return self.data if self.classes is None else f"{self.data} {','.join(map(str, self.classes))}"


@dataclass(frozen=True)
class FusionExperiment:
    """Everything that decides the result; the defaults are the published sizes.

    Attributes:
        sources: data of network a, b, ...; two or more.
        seed: root seed of weights, splits and order.
        train_per_class: most training images of a class (fewer where the data has fewer).
        validation_per_class: images of a class held out of the training set.
        test_per_class: test images of a class.
        epochs_layer_1: passes over the first data set for layer 1.
        epochs_layer_2: passes over it for layer 2.
        epochs_decision: passes over each data set for its decision layer.
        network: sizes and constants of every network.
        stdp: rates of the feature layers.
        reward: rates of the first network's decision layer.
        later_adaptive_scale: ``reward.adaptive_scale`` of the other networks.
        later_start: decision weights the other networks start from: the ``initial`` random ones, as the
            authors' code does, or network a's learned ones (``first``), as the paper's text reads.
        consolidation: rates of the templates of the ``best`` preset.
        further: data that the ``best`` fused network goes on learning, of classes it knows; nothing if not given.
        further_epochs: passes over it.
        protected: shares of the fused network's features, the most important ones, that stay as they are
            meanwhile; one trial each.
        size: features of the fused network; 0 for the size of one network.
        curve: sizes of the fused network, relative to one network, in the budget curve.
        presets: whose rows the results have, beside those of the single networks.
    """

    sources: tuple[Source, ...] = (Source("mnist"), Source("letters"))
    seed: int = 0
    train_per_class: int = 2400
    validation_per_class: int = 200
    test_per_class: int = 400
    epochs_layer_1: int = 2
    epochs_layer_2: int = 4
    epochs_decision: int = 50
    network: FirstSpikeConfig = field(default_factory=FirstSpikeConfig)
    stdp: StdpConfig = field(default_factory=StdpConfig)
    reward: RewardStdpConfig = field(default_factory=RewardStdpConfig)
    later_adaptive_scale: float = 0.5
    later_start: Literal["initial", "first"] = "initial"
    consolidation: TemplateStdpConfig = field(default_factory=TemplateStdpConfig)
    further: Source | None = None
    further_epochs: int = 4
    protected: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75)
    size: int = 0
    curve: tuple[float, ...] = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0)
    presets: tuple[Preset, ...] = PRESETS

    def __post_init__(self) -> None:
        if not 2 <= len(self.sources) <= 26:
            raise InputError(f"sources has {len(self.sources)} entries; fusion takes 2 to 26 networks")
        for name in ("train_per_class", "validation_per_class", "test_per_class"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}; it must be at least 1")
        for name in ("epochs_layer_1", "epochs_layer_2", "epochs_decision", "further_epochs"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if not all(0 <= share <= 1 for share in self.protected):
            raise InputError(f"protected is {list(self.protected)}; it must be shares from 0 to 1")
        if self.further is not None and "best" not in self.presets:
            raise InputError("further data is learned by the fused network of the best preset; add best to presets")


@dataclass(frozen=True, eq=False)
class _Set:
    """A split as the decision layer sees it."""

    features: SpikeLists
    labels: Labels

    def outcome(self, network: FirstSpikeNetwork) -> Outcome:
        return Outcome.of(network.decide(self.features), self.labels)


def letter(index: int) -> str:
    """Return the letter of the network at ``index``: a, b, c ..."""
    return "abcdefghijklmnopqrstuvwxyz"[index]


@dataclass(frozen=True, eq=False)
class _Drawn:
    """One source's images.

    ``facts`` is its entry in ``images_per_class`` of the results, ``notes`` what to know before a network learns it.
    """

    train: LabelledImages
    validation: LabelledImages
    test: LabelledImages
    facts: dict[str, Any]
    notes: list[str]


def _load(source: Source, config: FusionExperiment, data_dir: Path | None) -> _Drawn:
    """Draw one source's images, as many of each class; blank images are refused."""
    dataset = load(source.data, data_dir)
    classes = dataset.classes if source.classes is None else source.classes
    missing = sorted(set(classes) - set(dataset.classes))
    if missing:
        raise InputError(f"{source.data} has no class {missing[0]}; it has {list(dataset.classes)}")
    smallest, available = _smallest(dataset.train, classes)
    train = min(config.train_per_class, available - config.validation_per_class)
    if train < 1:
        raise InputError(
            f"{source.data} has {available} training images of its smallest class, {smallest}, which leaves none "
            f"beside validation_per_class={config.validation_per_class}; lower that"
        )
    smallest_test, available_test = _smallest(dataset.test, classes)
    test = min(config.test_per_class, available_test)
    drawn = split(
        dataset, train_per_class=train, validation_per_class=config.validation_per_class,
        test_per_class=test, classes=classes, seed=config.seed,
    )  # fmt: skip
    for name, images in (("train", drawn.train), ("validation", drawn.validation), ("test", drawn.test)):
        blank = np.flatnonzero(~images.images.any(axis=(1, 2)))
        if len(blank):
            raise InputError(
                f"{source.data} ({name}): {len(blank)} blank image(s), the first with label "
                f"{images.labels[blank[0]]}; an image without a lit pixel makes no spike, so remove it"
            )
    name = source.label()
    notes = [*findings(dataset), *of_first_spikes(source.data, drawn.train, config.network.coding)]
    if train < config.train_per_class:
        notes.append(
            f"{name}: class {smallest} has {available} training images, so its network trains on {train} of each class "
            f"(train_per_class is {config.train_per_class}), beside {config.validation_per_class} for validation"
        )
    if test < config.test_per_class:
        notes.append(
            f"{name}: class {smallest_test} has {available_test} test images, so {test} of each class are tested "
            f"(test_per_class is {config.test_per_class})"
        )
    facts = {"data": name, "train": train, "validation": config.validation_per_class, "test": test, **named(dataset)}
    return _Drawn(drawn.train, drawn.validation, drawn.test, facts, notes)


def _smallest(images: LabelledImages, classes: Sequence[int]) -> tuple[int, int]:
    """Return the class with the fewest images, and their number."""
    counts = class_counts(images.labels)
    return min(((one, counts.get(one, 0)) for one in classes), key=lambda pair: pair[1])


def _load_all(config: FusionExperiment, data_dir: Path | None) -> tuple[list[_Drawn], _Drawn | None]:
    """Return what is drawn of each source, and of the further data if there is any."""
    images = [_load(source, config, data_dir) for source in config.sources]
    if config.further is None:
        return images, None
    further = _load(config.further, config, data_dir)
    known = {label for one in images for label in one.train.labels.tolist()}
    unknown = sorted(set(further.train.labels.tolist()) - known)
    if unknown:
        raise InputError(
            f"further is {config.further.label()} with class {unknown[0]}, which no network knows, expected some of "
            f"{', '.join(map(str, sorted(known)))}; name its classes"
        )
    return images, further


def check(config: FusionExperiment, data_dir: Path | None) -> None:
    """Refuse, before anything is learned, data that the run could not use.

    Raises:
        InputError: no such dataset, a class that it or every network lacks, too few images, or blank ones.
    """
    _load_all(config, data_dir)


_CURRENT = "current/"
_BEST = "best/unit_weights"


@dataclass
class _Progress:
    """Where training stands: enough to go on from, bit for bit."""

    network: FirstSpikeNetwork
    best: NDArray[np.float32]
    rates: Rates
    stage: int = 0
    epoch: int = 0
    best_validation: float = -1.0
    best_epoch: int = 0
    seconds: float = 0.0

    def save(self, folder: RunFolder) -> None:
        arrays = {_CURRENT + name: array for name, array in self.network.state_dict().items()}
        folder.save_state(
            {**arrays, _BEST: self.best},
            {
                "stage": self.stage,
                "epoch": self.epoch,
                "best_validation": self.best_validation,
                "best_epoch": self.best_epoch,
                "seconds": self.seconds,
                "rates": asdict(self.rates),
            },
        )

    @classmethod
    def load(cls, folder: RunFolder, fresh: FirstSpikeNetwork, rates: Rates) -> "_Progress":
        state = folder.load_state()
        if state is None:
            return cls(network=fresh, best=fresh.unit_weights, rates=rates)
        arrays, progress = state
        saved = {name.removeprefix(_CURRENT): array for name, array in arrays.items() if name != _BEST}
        kept = progress.pop("rates")
        return cls(
            network=replace(fresh, **saved),
            best=arrays[_BEST],
            rates=Rates(tuple(kept["reward"]), tuple(kept["punish"])),
            **progress,
        )


def _next_stage(progress: _Progress, network: FirstSpikeNetwork, rates: Rates) -> None:
    progress.network, progress.best, progress.rates = network, network.unit_weights, rates
    progress.stage, progress.epoch = progress.stage + 1, 0
    progress.best_validation, progress.best_epoch = -1.0, 0


def _learn_features(
    progress: _Progress, config: FusionExperiment, images: LabelledImages, folder: RunFolder, meter: Meter
) -> None:
    """Stages 0 and 1: the two feature layers of network a, without labels."""
    waves = progress.network.encode(images.images)
    order = np.arange(len(images))
    stages: tuple[tuple[Literal[1, 2], int], ...] = ((1, config.epochs_layer_1), (2, config.epochs_layer_2))
    for layer, epochs in stages:
        if progress.stage >= layer:
            continue
        inputs = waves if layer == 1 else progress.network.layer_1_bins(waves)
        while progress.epoch < epochs:
            begun = time.monotonic()
            progress.network, winners = learn_layer(
                progress.network, layer, inputs, order, config.stdp, seen=progress.epoch * len(images)
            )
            progress.epoch += 1
            progress.seconds += time.monotonic() - begun
            folder.append_metrics(stage=f"layer {layer}", network="a", epoch=progress.epoch, winners=winners)
            progress.save(folder)
            meter.advance(f"layer {layer}, epoch {progress.epoch}", len(images))
        _next_stage(progress, progress.network, config.reward.base())
        progress.save(folder)


def _learn_decisions(
    progress: _Progress, config: FusionExperiment, index: int, sets: list[dict[str, _Set]], folder: RunFolder,
    meter: Meter,
) -> None:  # fmt: skip
    """Stage 2 + index: the decision layer of one network; its best epoch goes to a checkpoint."""
    name = letter(index)
    reward = config.reward
    if index:
        reward = replace(reward, adaptive_scale=config.later_adaptive_scale)
    train = sets[index]["train"]
    order = np.arange(len(train.labels))
    while progress.epoch < config.epochs_decision:
        begun = time.monotonic()
        progress.network, outcome = learn_epoch(progress.network, train.features, train.labels, order, progress.rates)
        progress.rates = reward.adapt(outcome.right, outcome.wrong)
        progress.epoch += 1
        validation = sets[index]["validation"].outcome(progress.network)
        if validation.right > progress.best_validation:
            progress.best_validation, progress.best_epoch = validation.right, progress.epoch
            progress.best = progress.network.unit_weights
        forgotten = {"first": sets[0]["validation"].outcome(progress.network).right} if index else {}
        progress.seconds += time.monotonic() - begun
        folder.append_metrics(
            stage="decision", network=name, epoch=progress.epoch, train=outcome.right,
            silent=outcome.silent, validation=validation.right, **forgotten,
        )  # fmt: skip
        progress.save(folder)
        meter.advance(f"network {name}, epoch {progress.epoch}", len(order))
    last, best = progress.network, replace(progress.network, unit_weights=progress.best)
    best.save(folder.checkpoint(f"network_{name}"))
    last.save(folder.checkpoint(f"network_{name}_last"))


def _consolidate(
    progress: _Progress, config: FusionExperiment, index: int, train: _Set, folder: RunFolder, meter: Meter
) -> None:
    """Stage 2 + networks + index: the templates of one network, to a checkpoint."""
    name = letter(index)
    if progress.epoch == 0:
        progress.network = FirstSpikeNetwork.load(folder.checkpoint(f"network_{name}"))
    while progress.epoch < config.consolidation.epochs:
        begun = time.monotonic()
        progress.network, right = consolidate_epoch(
            progress.network, train.features, train.labels, progress.epoch, config.consolidation, config.seed
        )
        progress.epoch += 1
        progress.seconds += time.monotonic() - begun
        folder.append_metrics(stage="consolidation", network=name, epoch=progress.epoch, train=right)
        progress.save(folder)
        meter.advance(f"templates {name}, epoch {progress.epoch}", len(train.labels))
    progress.network.save(folder.checkpoint(f"templates_{name}"))


def _new_decisions(config: FusionExperiment, index: int, first: FirstSpikeNetwork, classes: tuple[int, ...]):
    """Return the network that source ``index`` starts from: a's features, a new decision layer."""
    fresh = FirstSpikeNetwork.create(config.network, classes, config.seed)
    weights = first.unit_weights if config.later_start == "first" and index else fresh.unit_weights
    return replace(first, unit_weights=weights, unit_classes=fresh.unit_classes)


def run(config: FusionExperiment, folder: RunFolder, data_dir: Path | None) -> dict[str, Any]:
    """Train, fuse, measure; write checkpoints, metrics and arrays into ``folder`` and return the results."""
    begun = time.monotonic()
    images, further = _load_all(config, data_dir)
    everything = [*images, *([further] if further else [])]
    facts = {"images_per_class": [one.facts for one in everything], **told(n for one in everything for n in one.notes)}
    classes = [tuple(np.unique(one.train.labels).tolist()) for one in images]
    fresh = FirstSpikeNetwork.create(config.network, classes[0], config.seed)
    progress = _Progress.load(folder, fresh, config.reward.base())
    earlier = progress.seconds
    stages = _stages(config, [len(one.train) for one in images])
    with shown(sum(size * epochs for size, epochs in stages), _work_done(progress, stages)) as meter:
        _learn_features(progress, config, images[0].train, folder, meter)
        sets = [
            {
                name: _Set(progress.network.features(progress.network.encode(part.images)), part.labels)
                for name, part in (("train", one.train), ("validation", one.validation), ("test", one.test))
            }
            for one in images
        ]
        counts = [progress.network.count_spikes(one.test.images) for one in images]
        del images, everything
        for index in range(len(sets)):
            if progress.stage > 2 + index:
                continue
            if progress.epoch == 0:
                progress.network = _new_decisions(config, index, progress.network, classes[index])
            _learn_decisions(progress, config, index, sets, folder, meter)
            _next_stage(progress, FirstSpikeNetwork.load(folder.checkpoint("network_a")), config.reward.base())
            progress.save(folder)
        for index in range(len(sets) if "best" in config.presets else 0):
            if progress.stage > 2 + len(sets) + index:
                continue
            _consolidate(progress, config, index, sets[index]["train"], folder, meter)
            _next_stage(progress, FirstSpikeNetwork.load(folder.checkpoint("network_a")), config.reward.base())
            progress.save(folder)
        meter.advance("fusing and measuring", 0)
        results = _measure(config, sets, counts, folder)
        results |= _learn_further(config, sets, further, folder)
    return {
        "experiment": "fusion",
        "seed": config.seed,
        "seconds": round(earlier + time.monotonic() - begun, 1),
        "data": [source.label() for source in config.sources],
        "versions": versions(),
        **facts,
        **results,
    }


def _stages(config: FusionExperiment, sizes: list[int]) -> list[tuple[int, int]]:
    """Return (images, epochs) of each stage in order."""
    stages = [(sizes[0], config.epochs_layer_1), (sizes[0], config.epochs_layer_2)]
    stages += [(size, config.epochs_decision) for size in sizes]
    return stages + [(size, config.consolidation.epochs) for size in sizes if "best" in config.presets]


def _work_done(progress: _Progress, stages: list[tuple[int, int]]) -> int:
    work = sum(size * epochs for size, epochs in stages[: progress.stage])
    return work + (stages[progress.stage][0] * progress.epoch if progress.stage < len(stages) else 0)


_SELECTIONS = ("top fraction", "spread", "full sum", "activity", "merge", "assignment")


class _Bench:
    """Fuses the networks in different ways and measures each on every test set."""

    def __init__(
        self,
        config: FusionExperiment,
        networks: list[FirstSpikeNetwork],
        sets: list[dict[str, _Set]],
        counts: list[SpikeCounts],
    ):
        self.networks = networks
        self.counts = counts
        self.tests = [each["test"] for each in sets]
        self.size = config.size or len(networks[0].unit_weights)
        self.active = [
            importance.activity(net.winners(each["train"].features), len(net.unit_classes))
            for net, each in zip(networks, sets, strict=True)
        ]
        same_classes = all(net.classes == networks[0].classes for net in networks)
        self.selections = _SELECTIONS if len(networks) == 2 and same_classes else _SELECTIONS[:-1]

    def sizes(self, curve: tuple[float, ...]) -> list[int]:
        """Return the sizes of the budget curve, in features."""
        return [round(relative * self.size) for relative in curve]

    def row(self, name: str, network: FirstSpikeNetwork, preset: str, selection: str | None, score: str) -> dict:
        """Measure one network: a row of ``results.json``."""
        outcomes = [test.outcome(network) for test in self.tests]
        relative = len(network.unit_weights) / len(self.networks[0].unit_weights)
        return {
            "name": name,
            "preset": preset,
            "importance": selection,
            "score": score,
            **{letter(n): round(outcome.right, 5) for n, outcome in enumerate(outcomes)},
            "mean": round(float(np.mean([outcome.right for outcome in outcomes])), 5),
            "silent": round(float(np.mean([outcome.silent for outcome in outcomes])), 5),
            "features": len(network.unit_weights),
            "synops_per_image": round(float(np.mean([each.total_operations(relative) for each in self.counts]))),
        }

    def fuse(self, selection: str, score: str, size: int | None = None) -> FirstSpikeNetwork:
        """Fuse the networks by one importance and one score."""
        if selection == "assignment":
            return fusion.fuse_by_assignment(*self.networks, score=score)
        if selection == "merge":
            return fusion.merge(self.networks, size=size or self.size, score=score)
        importances = self.active if selection == "activity" else selection
        return fusion.fuse(self.networks, importances=importances, size=size or self.size, score=score)


_TEMPLATES = "templates"


def _load_networks(stem: str, count: int, folder: RunFolder) -> list[FirstSpikeNetwork]:
    return [FirstSpikeNetwork.load(folder.checkpoint(f"{stem}_{letter(n)}")) for n in range(count)]


def _measure(
    config: FusionExperiment, sets: list[dict[str, _Set]], counts: list[SpikeCounts], folder: RunFolder
) -> dict[str, Any]:
    """Fuse in every way, measure on the test sets, and keep what the figures draw."""
    networks = _load_networks("network", len(sets), folder)
    bench = _Bench(config, networks, sets, counts)
    fused = bench.fuse("top fraction", "raw")
    measured = _published(bench, config)
    if "best" in config.presets:
        consolidated = _Bench(config, _load_networks("templates", len(sets), folder), sets, counts)
        fused = consolidated.fuse("order", "correlation")
        for part, rows in _best(consolidated, config).items():
            measured[part] += rows
    fused.save(folder.checkpoint("fused"))
    folder.write_arrays(_arrays(networks, fused, bench))
    singles = [row for row in measured["rows"] if row["name"].startswith("network ")]
    measured["rows"] = [row for row in measured["rows"] if row in singles or row["preset"] in config.presets]
    measured["curve"] = [row for row in measured["curve"] if row["preset"] in config.presets]
    return {**measured, "training": _training(networks, sets, folder)}


def _published(bench: _Bench, config: FusionExperiment) -> dict[str, list[dict[str, Any]]]:
    """Rows of the networks as trained: raw scores as published, and every other score to compare."""
    singles = [bench.row(f"network {letter(n)}", net, "published", None, "raw") for n, net in enumerate(bench.networks)]
    compared = {
        (selection, score): bench.row("fused", bench.fuse(selection, score), "comparison", selection, score)
        for score in fusion.SCORES
        for selection in bench.selections
    }
    ensembles = {
        score: bench.row("bagging", fusion.bagging(bench.networks, score=score), "comparison", None, score)
        for score in fusion.SCORES
    }
    published = [selection for selection in bench.selections if selection not in ("spread", "merge")]
    joined = [ensembles["raw"], *(compared[selection, "raw"] for selection in published)]
    return {
        "rows": [*singles, *(row | {"preset": "published"} for row in joined)],
        "comparison": [*compared.values(), *ensembles.values()],
        "curve": [
            bench.row("fused", bench.fuse("top fraction", "raw", size), "published", "top fraction", "raw")
            for size in bench.sizes(config.curve)
        ],
    }


def _best(bench: _Bench, config: FusionExperiment) -> dict[str, list[dict[str, Any]]]:
    """Rows of the consolidated networks."""
    how = ("best", "order", "correlation")
    bagging = fusion.bagging(bench.networks, score="correlation")
    rows = [
        *(bench.row(f"network {letter(n)}", net, "best", None, "correlation") for n, net in enumerate(bench.networks)),
        bench.row("bagging", bagging, "best", None, "correlation"),
        bench.row("fused", bench.fuse("order", "correlation"), *how),
    ]
    others = [selection for selection in bench.selections if selection != "assignment"]
    compared = [
        bench.row("fused", bench.fuse(selection, "correlation"), "comparison", selection, _TEMPLATES)
        for selection in others
    ]
    same = {"preset": "comparison", "score": _TEMPLATES}
    return {
        "rows": rows,
        "comparison": [*compared, rows[-1] | same, rows[-2] | same],
        "curve": [
            bench.row("fused", bench.fuse("order", "correlation", size), *how) for size in bench.sizes(config.curve)
        ],
    }


def _learn_further(
    config: FusionExperiment, sets: list[dict[str, _Set]], further: _Drawn | None, folder: RunFolder
) -> dict[str, Any]:
    """Let the fused network learn the further data, once for each share of features that is protected."""
    if config.further is None or further is None:
        return {}
    networks = _load_networks("templates", len(sets), folder)
    fused = FirstSpikeNetwork.load(folder.checkpoint("fused"))
    budgets = fusion.equal_budgets(networks, len(fused.unit_weights))
    train, test = further.train, further.test
    features = fused.features(fused.encode(train.images))
    tests = {letter(n): each["test"] for n, each in enumerate(sets)}
    tests["further"] = _Set(fused.features(fused.encode(test.images)), test.labels)
    rows = []
    for share in (None, *config.protected):
        network = fused
        if share is not None:
            network = learn_more(
                fused, features, train.labels, config.further_epochs, config.consolidation, config.seed,
                plasticity=fusion.plasticity(budgets, share),
            )  # fmt: skip
            network.save(folder.checkpoint(f"further_{round(100 * share)}"))
        accuracies = {name: round(each.outcome(network).right, 5) for name, each in tests.items()}
        rows.append({"learned": "before" if share is None else "after", "protected": share, **accuracies})
    return {"further_data": config.further.label(), "further": rows}


def _training(
    networks: list[FirstSpikeNetwork], sets: list[dict[str, _Set]], folder: RunFolder
) -> list[dict[str, Any]]:
    """How each network learned: its best epoch on validation beside its last one."""
    rows = []
    history = folder.metrics()
    for n, (network, each) in enumerate(zip(networks, sets, strict=True)):
        epochs = [line for line in history if line["stage"] == "decision" and line["network"] == letter(n)]
        best = max(epochs, key=lambda line: line["validation"])
        last = FirstSpikeNetwork.load(folder.checkpoint(f"network_{letter(n)}_last"))
        test = each["test"].outcome(network)
        rows.append(
            {
                "network": letter(n),
                "best_epoch": best["epoch"],
                "train": each["train"].outcome(network).right,
                "validation": best["validation"],
                "test": test.right,
                "silent": test.silent,
                "test_last_epoch": each["test"].outcome(last).right,
                "train_last_epoch": epochs[-1]["train"],
            }
        )
    return rows


def _arrays(networks: list[FirstSpikeNetwork], fused: FirstSpikeNetwork, bench: _Bench) -> dict[str, NDArray]:
    """What the figures draw, by name."""
    arrays: dict[str, NDArray] = {"weights_1": networks[0].weights_1, "weights_2": networks[0].weights_2}
    for n, (network, test) in enumerate(zip(networks, bench.tests, strict=True)):
        name = letter(n)
        decided = network.winners(test.features)
        arrays[f"activity/{name}"] = importance.activity(decided, len(network.unit_classes))
        arrays[f"full_sum/{name}"] = importance.full_sum(network.unit_weights)
        arrays[f"top_fraction/{name}"] = importance.top_fraction(network.unit_weights)
        arrays[f"spread/{name}"] = importance.spread(network.unit_weights)
        arrays[f"unit_weights/{name}"] = network.unit_weights
        arrays[f"unit_classes/{name}"] = network.unit_classes
        for title, each in ((f"network {name}", network), ("fused", fused)):
            decisions = each.decide(test.features)
            classes = tuple(np.unique(np.concatenate([each.unit_classes, test.labels])).tolist())
            arrays[f"confusion/{title} on {name}"] = confusion_matrix(decisions, test.labels, classes)
            arrays[f"classes/{title} on {name}"] = np.array(classes, np.int64)
    return arrays


def at_scale(
    scale: Literal["quick", "paper"], *, data_a: str | None = None, data_b: str | None = None,
    preset: Preset | None = None, seed: int = 0,
) -> FusionExperiment:  # fmt: skip
    """Return the published experiment at a scale.

    Args:
        scale: ``paper`` has the published sizes; ``quick`` ends within a minute or two and, without
            ``data_a`` and ``data_b``, joins a 0-4 and a 5-9 network on the digits that a dependency ships.
        data_a: dataset of network a; mnist at paper scale if not given.
        data_b: dataset of network b; letters at paper scale if not given.
        preset: the one whose rows are wanted; both if not given.
        seed: root seed.
    """
    presets = (preset,) if preset else PRESETS
    if scale == "paper":
        sources = (Source(data_a or "mnist"), Source(data_b or "letters"))
        return FusionExperiment(sources=sources, seed=seed, presets=presets)
    if data_a is None and data_b is None:
        sources = (Source("digits-sample", (0, 1, 2, 3, 4)), Source("digits-sample", (5, 6, 7, 8, 9)))
    elif data_a is None or data_b is None:
        raise InputError("give both --data-a and --data-b, or neither")
    else:
        sources = (Source(data_a), Source(data_b))
    return FusionExperiment(
        sources=sources, seed=seed, presets=presets, train_per_class=350, validation_per_class=50, test_per_class=100,
        epochs_layer_1=4, epochs_layer_2=8, epochs_decision=20,
    )  # fmt: skip
