"""Knowledge fusion by pruning (Antonov & Sukhov 2022): networks trained apart become one.

Network a learns its feature layers by STDP and its decision layer by R-STDP. Every further network keeps a's
feature layers and learns a decision layer on its own data. Then their most important features are fused. For the
``best`` preset each network consolidates its decision layer first (`spikelore.learning.template_stdp`), still on its
own data alone. The fused network may then go on learning a further data set while its most important features are
protected.

Deviations from the authors' code: a validation split is held out and the best epoch is chosen on it, never on
the test set.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from hashlib import sha256
from pathlib import Path
from string import ascii_lowercase
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from spikelore.continual import fusion, importance
from spikelore.data import Examples, Splits
from spikelore.errors import InputError, check_whole
from spikelore.experiments import parts
from spikelore.experiments.execution import Execution
from spikelore.experiments.findings import noted, told
from spikelore.experiments.parallel import Cell
from spikelore.experiments.reproduce import PRESETS, Preset
from spikelore.experiments.reproduce.sources import Drawn, Source, drawn
from spikelore.experiments.run_folder import RunFolder, versions
from spikelore.experiments.stages import Stage
from spikelore.kernels.reward_stdp import SpikeLists, decide, feature_potentials
from spikelore.learning.first_spike_training import (
    DecisionTraining,
    FeatureExamples,
    Training,
    consolidation,
    layer_training,
)
from spikelore.learning.reward_stdp import Outcome, RewardStdpConfig
from spikelore.learning.stdp import StdpConfig
from spikelore.learning.template_stdp import TemplateStdpConfig, learn_more
from spikelore.metrics import confusion_matrix
from spikelore.networks.first_spike import (
    DecisionLayerConfig,
    FirstSpikeConfig,
    FirstSpikeNetwork,
    SpikeCounts,
)
from spikelore.randomness import generator


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
        execution: how it is run.
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
    execution: Execution = field(default_factory=Execution)

    def __post_init__(self) -> None:
        if not 2 <= len(self.sources) <= 26:
            raise InputError(f"sources has {len(self.sources)} entries; fusion takes 2 to 26 networks")
        for name in (
            "train_per_class", "validation_per_class", "test_per_class",
            "epochs_layer_1", "epochs_layer_2", "epochs_decision", "further_epochs",
        ):  # fmt: skip
            check_whole(name, getattr(self, name), 1)
        if not all(0 <= share <= 1 for share in self.protected):
            raise InputError(f"protected is {list(self.protected)}; it must be shares from 0 to 1")
        if self.further is not None and "best" not in self.presets:
            raise InputError("further data is learned by the fused network of the best preset; add best to presets")


def letter(index: int) -> str:
    """Return the letter of the network at ``index``: a, b, c ..."""
    return ascii_lowercase[index]


def _load_all(config: FusionExperiment, data_dir: Path | None) -> tuple[list[Drawn], Drawn | None]:
    """Return what is drawn of each source, and of the further data if there is any."""
    images = [drawn(source, config, data_dir) for source in config.sources]
    if config.further is None:
        return images, None
    further = drawn(config.further, config, data_dir)
    known = {label for one in images for label in one.images.train.labels.tolist()}
    unknown = sorted(set(further.images.train.labels.tolist()) - known)
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


# Learning -----------------------------------------------------------------------------------------------

_ACTIVITY = "activity"


class _Training:
    """A training of network ``index``: each epoch is a line of metrics, and its end a checkpoint.

    Of decisions, one more line tells how often each unit decides an image that the network has learned from.
    """

    def __init__(
        self, training: Training, folder: RunFolder, name: str, index: int, images: int, learned: FeatureExamples | None
    ) -> None:
        self.training, self.folder, self.name, self.index, self.images = training, folder, name, index, images
        self.learned = learned
        self.state_dict, self.load_state_dict = training.state_dict, training.load_state_dict

    def steps(self) -> Iterator[tuple[str, int]]:
        """Go on to the last epoch."""
        training, owner = self.training, letter(self.index)
        stem = "templates" if self.name == "consolidation" else "network"
        title = self.name if self.name.startswith("layer") else f"{stem} {owner}"
        for metrics in training.steps():
            self.folder.append_metrics(stage=self.name, network=owner, epoch=training.epoch, **metrics)
            if self.learned is not None and training.epoch == training.epochs:
                seen, units = Scored(self.learned), Units.of(training.finish())
                wins = importance.activity(seen.winners(units), len(units.names)).astype(int).tolist()
                right = seen.outcome(units).right
                self.folder.append_metrics(stage=_ACTIVITY, network=owner, of=stem, right=right, wins=wins)
            yield f"{title}, epoch {training.epoch}", self.images
        training.finish().save(self.folder.checkpoint(f"{stem}_{owner}"))
        if self.name == "decision":
            training.network.save(self.folder.checkpoint(f"{stem}_{owner}_last"))


@dataclass(frozen=True, eq=False)
class _Learner:
    """What learns in one part's folder: a network's decisions, or the features that all share.

    Attributes:
        config: of the run.
        index: of the network; a's for the features.
        start: the network to begin with.
        images: of all sources.
        folder: the part's.
    """

    config: FusionExperiment
    index: int
    start: FirstSpikeNetwork
    images: list[Splits]
    folder: RunFolder

    def plan(self, epochs: Mapping[str, int]) -> tuple[float, list[Callable[[], Stage]]]:
        """Return the images of all epochs, and what makes each training."""
        size = len(self.images[self.index].train)
        return sum(epochs.values()) * size, [partial(self._made, name, count, size) for name, count in epochs.items()]

    def _load(self) -> FirstSpikeNetwork:
        return _network(self.folder.path, self.index)

    @cached_property
    def _examples(self) -> FeatureExamples:
        return FeatureExamples.of(self.start, self.images[self.index].train)

    def _made(self, name: str, epochs: int, size: int) -> Stage:
        config, index, images = self.config, self.index, self.images[self.index].train.inputs
        if name == "layer 1":
            training = layer_training(self.start, 1, images, epochs, config.stdp)
        elif name == "layer 2":
            training = layer_training(self._load(), 2, images, epochs, config.stdp)
        elif name == "decision":
            reward = replace(config.reward, adaptive_scale=config.later_adaptive_scale) if index else config.reward
            asked = {"validation": FeatureExamples.of(self.start, self.images[index].validation)}
            if index:
                asked["first"] = FeatureExamples.of(self.start, self.images[0].validation)
            training = DecisionTraining(self.start, self._examples, epochs, reward, asked)
        else:
            training = consolidation(self._load(), self._examples, config.consolidation, config.seed)
        learned = None if name.startswith("layer") else self._examples
        return _Training(training, self.folder, name, index, size, learned)


def _learn(
    config: FusionExperiment, part: str, index: int, features: FirstSpikeNetwork | None,
    first: NDArray[np.float32] | None, data_dir: Path | None, out: Path,
) -> dict[str, Any]:  # fmt: skip
    """Learn the features, or, on ``features``, the decisions of network ``index``, in a part's folder.

    Decisions begin with the weights ``first`` if they are given, else with random ones.
    """
    epochs = {"decision": config.epochs_decision}
    if part == _FEATURES:
        epochs = {"layer 1": config.epochs_layer_1, "layer 2": config.epochs_layer_2}
    elif "best" in config.presets:
        epochs["consolidation"] = config.consolidation.epochs

    def made(folder: RunFolder) -> tuple[float, list[Callable[[], Stage]]]:
        images = [each.images for each in _load_all(config, data_dir)[0]]
        classes = tuple(np.unique(images[index].train.labels).tolist())
        start = FirstSpikeNetwork.create(config.network, classes, config.seed)
        if features is not None:
            weights = start.unit_weights if first is None else first
            start = replace(features, unit_weights=weights, unit_classes=start.unit_classes)
        return _Learner(config, index, start, images, folder).plan(epochs)

    return parts.learn(config, out, {"part": part}, made)


def prepare() -> None:
    """Learn a few tiny images once, which loads into this process all that learning decisions needs."""
    small = FirstSpikeConfig(decision=DecisionLayerConfig(features=2))
    network, labels = FirstSpikeNetwork.create(small, (0, 1), 0), np.array([0, 1])
    spikes = generator(0, "tiny").random((2, small.layer_2.features, 4, 4)) < 0.5
    examples = FeatureExamples(SpikeLists.from_spikes(spikes), labels)
    trained = DecisionTraining(network, examples, 2, asked={"validation": examples}).finish()
    consolidated = consolidation(trained, examples).finish()
    Scored(examples).winners(Units.of(consolidated))
    images = Examples((spikes.repeat(7, axis=2).repeat(7, axis=3) * 255).astype(np.uint8)[:, 0], labels)
    FeatureExamples.of(network, images)


# Parts --------------------------------------------------------------------------------------------------

_FEATURES = "features"


def features(config: FusionExperiment, folder: RunFolder, data_dir: Path | None) -> dict[str, Cell]:
    """Return what learns the features of network a, which all share, unless it has.

    Raises:
        InputError: of the data.
    """
    sources, further = _load_all(config, data_dir)
    told(note for each in _every(sources, further) for note in each.notes)
    return parts.left(config, folder, _learn, {_FEATURES: (_FEATURES, 0, None, None)}, data_dir)


def first_decisions(config: FusionExperiment, folder: RunFolder, data_dir: Path | None) -> dict[str, Cell]:
    """Return what learns the decisions of network a, and those of the others if they need not wait for it."""
    return _decisions(config, folder, data_dir, range(1 if config.later_start == "first" else len(config.sources)))


def further_decisions(config: FusionExperiment, folder: RunFolder, data_dir: Path | None) -> dict[str, Cell]:
    """Return what learns the decisions of the others, if they had to wait for network a."""
    return _decisions(config, folder, data_dir, range(1, len(config.sources) if config.later_start == "first" else 1))


def _decisions(
    config: FusionExperiment, folder: RunFolder, data_dir: Path | None, wanted: Iterable[int]
) -> dict[str, Cell]:
    """Return what learns the decisions of those networks that have not: a's features, a new decision layer."""
    learned, starts = _network(parts.part(folder, _FEATURES), 0), {}
    for index in wanted:
        follows = index and config.later_start == "first"
        first = _network(parts.part(folder, letter(0)), 0).unit_weights if follows else None
        starts[letter(index)] = letter(index), index, learned, first
    return parts.left(config, folder, _learn, starts, data_dir)


def _network(path: Path, index: int) -> FirstSpikeNetwork:
    return FirstSpikeNetwork.load(path / "checkpoints" / f"network_{letter(index)}.safetensors")


def _every(sources: Sequence[Drawn], further: Drawn | None) -> list[Drawn]:
    return [*sources, *([further] if further else [])]


# Results ------------------------------------------------------------------------------------------------


def run(config: FusionExperiment, folder: RunFolder, data_dir: Path | None) -> dict[str, Any]:
    """Fuse and measure; write checkpoints, metrics and arrays into ``folder`` and return the results."""
    sources, further = _load_all(config, data_dir)
    everything, names = _every(sources, further), [letter(index) for index in range(len(sources))]
    folder.write_metrics(line for name in (_FEATURES, *names) for line in parts.metrics(folder, name))
    for name in names:
        parts.keep_checkpoints(folder, name)
    networks = _Networks(config, [one.images for one in sources], folder)
    return {
        "experiment": "fusion",
        "seed": config.seed,
        "seconds": parts.seconds(folder, [_FEATURES]) + parts.seconds(folder, names),
        "data": [source.label() for source in config.sources],
        "versions": versions(),
        "images_per_class": [one.facts for one in everything],
        **noted(note for one in everything for note in one.notes),
        **_measure(networks),
        **_learn_further(networks, further),
    }


class _Networks:
    """All networks in their run's folder, and the images as their decision layers see them."""

    def __init__(self, config: FusionExperiment, images: list[Splits], folder: RunFolder) -> None:
        self.config = config
        self.images = images
        self.folder = folder

    def all(self, stem: str) -> list[FirstSpikeNetwork]:
        """Return those of all sources."""
        names = [f"{stem}_{letter(index)}" for index in range(len(self.images))]
        return [FirstSpikeNetwork.load(self.folder.checkpoint(name)) for name in names]

    @cached_property
    def first(self) -> FirstSpikeNetwork:
        """Network a, whose features all share."""
        return _network(self.folder.path, 0)

    @cached_property
    def tests(self) -> list[tuple[FeatureExamples, SpikeCounts]]:
        """The test images of each source, and their spikes in one network."""
        seen = [(self.first.observed(each.test.inputs), each.test.labels) for each in self.images]
        return [(FeatureExamples(features, labels), counts) for (features, counts), labels in seen]

    def activity(self, stem: str) -> list[dict[str, Any]]:
        """How the networks of all sources decide what they have learned from."""
        lines = [line for line in self.folder.metrics() if line["stage"] == _ACTIVITY and line["of"] == stem]
        return sorted(lines, key=lambda line: line["network"])


class Scales:
    """Gains and centres by one of `spikelore.continual.fusion.SCORES`: of no unit twice."""

    def __init__(self, score: str) -> None:
        self.score = score
        self.known: dict[bytes, tuple[np.float32, np.float32]] = {}

    def __call__(
        self, weights: NDArray[np.float32], digests: Sequence[bytes]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return those of units, (F,) each."""
        if new := {digest: index for index, digest in enumerate(digests) if digest not in self.known}:
            gains, centres = fusion.scales(weights[[*new.values()]], self.score)
            self.known |= zip(new, zip(gains, centres, strict=True), strict=True)
        gains, centres = np.array([self.known[digest] for digest in digests], np.float32).T
        return gains, centres


def digested(network: FirstSpikeNetwork) -> list[bytes]:
    """Return a digest of each unit's weights."""
    return [sha256(unit).digest() for unit in np.ascontiguousarray(network.unit_weights)]


@dataclass(frozen=True, eq=False)
class Units:
    """Units as they compete: ``gain (w - centre)``, which is made only of those that are asked for.

    Attributes:
        weights: (F,C,K,K).
        gains: (F,).
        centres: (F,).
        names: of equal units the same, of others different ones.
        classes: (F,).
        padding: of the decision layer.
    """

    weights: NDArray[np.float32]
    gains: NDArray[np.float32]
    centres: NDArray[np.float32]
    names: list[bytes]
    classes: NDArray[np.int64]
    padding: int

    @classmethod
    def of(
        cls, network: FirstSpikeNetwork, score: Scales | None = None, digests: Sequence[bytes] | None = None
    ) -> Self:
        """Return those of a network, with its own gains and centres or others, and `digested` anew if not given."""
        weights, digests = network.unit_weights, digests or digested(network)
        if score is None and network.templates:
            network.follow_weights_()
        gains, centres = score(weights, digests) if score else (network.unit_gains, network.unit_centres)
        names = [b"".join(each) for each in zip(digests, map(bytes, gains), map(bytes, centres), strict=True)]
        return cls(weights, gains, centres, names, network.unit_classes, network.config.decision.padding)

    def competing(self, which: Sequence[int]) -> NDArray[np.float32]:
        """Return the weights of some as `FirstSpikeNetwork.competing_weights` does."""
        shape = (-1, 1, 1, 1)
        return (self.weights[which] - self.centres[which].reshape(shape)) * self.gains[which].reshape(shape)


class Scored:
    """Images, and how well each unit that was ever asked fits them: none is asked twice."""

    def __init__(self, examples: FeatureExamples) -> None:
        self.examples = examples
        self.fits: dict[bytes, NDArray[np.float32]] = {}

    def winners(self, units: Units) -> NDArray[np.int64]:
        """Return `FirstSpikeNetwork.winners`: a unit's score is the same whatever units stand beside it."""
        if new := {name: index for index, name in enumerate(units.names) if name not in self.fits}:
            weights = units.competing([*new.values()])
            scores = feature_potentials(self.examples.features, weights, padding=units.padding)
            self.fits |= zip(new, scores.T, strict=True)
        return decide(np.stack([self.fits[name] for name in units.names], axis=1))

    def decisions(self, units: Units) -> NDArray[np.int64]:
        """Return the decided class of each image, -1 for a silent one."""
        winners = self.winners(units)
        return np.where(winners < 0, -1, units.classes[winners])

    def outcome(self, units: Units) -> Outcome:
        """Return how they decide."""
        return Outcome.of(self.decisions(units), self.examples.labels)


_SELECTIONS = ("top fraction", "spread", "full sum", "activity", "merge", "assignment")
_TEMPLATES = "templates"


class _Bench:
    """Fuses the networks in different ways and measures each on every test set."""

    def __init__(self, networks: _Networks, stem: str, tests: list[Scored]) -> None:
        self.singles = {f"network {letter(index)}": each for index, each in enumerate(networks.all(stem))}
        self.networks = [*self.singles.values()]
        self.tests = tests
        self.config = networks.config
        self.size = self.config.size or len(self.networks[0].unit_weights)
        self.counts = [counts for _, counts in networks.tests]
        self.learned = networks.activity(stem)
        self.joined: dict[tuple[str, int], tuple[FirstSpikeNetwork, list[bytes]]] = {}
        self.scales: dict[str, Scales] = {}

    @cached_property
    def importances(self) -> dict[str, list[NDArray[np.float64]]]:
        """Of each network's units: by their activity, and all that weights tell."""
        active = [np.array(line["wins"], np.float64) for line in self.learned]
        weights = [network.unit_weights for network in self.networks]
        return {"activity": active, **{name: [*map(of, weights)] for name, of in importance.FROM_WEIGHTS.items()}}

    def network(self, how: str, score: str) -> FirstSpikeNetwork:
        """Return these fused by an importance."""
        return fusion.scaled(self._joined(how, self.size)[0], score)

    def units(self, how: str, score: str, size: int = 0) -> Units:
        """Return those of one of the networks, of all together (``bagging``), or of these fused by an importance."""
        if how in self.singles:
            return Units.of(self.singles[how])
        network, digests = self._joined(how, size or self.size)
        return Units.of(network, self.scales.setdefault(score, Scales(score)), digests)

    def _joined(self, how: str, size: int) -> tuple[FirstSpikeNetwork, list[bytes]]:
        if (how, size) not in self.joined:
            network = self._join(how, size)
            self.joined[how, size] = network, digested(network)
        return self.joined[how, size]

    def _join(self, how: str, size: int) -> FirstSpikeNetwork:
        if how == "bagging":
            return fusion.bagging(self.networks)
        if how == "assignment":
            return fusion.fuse_by_assignment(*self.networks)
        if how == "merge":
            return fusion.merge(self.networks, size=size)
        return fusion.fuse(self.networks, importances=self.importances[how], size=size)

    def row(self, preset: str, how: str, score: str, size: int = 0) -> dict[str, Any]:
        """Measure one network: a row of ``results.json``."""
        units, fused = self.units(how, score, size), how not in (*self.singles, "bagging")
        outcomes = [test.outcome(units) for test in self.tests]
        relative = len(units.names) / len(self.networks[0].unit_weights)
        return {
            "name": "fused" if fused else how,
            "preset": preset,
            "importance": how if fused else None,
            "score": score,
            **{letter(index): round(outcome.right, 5) for index, outcome in enumerate(outcomes)},
            "mean": round(float(np.mean([outcome.right for outcome in outcomes])), 5),
            "silent": round(float(np.mean([outcome.silent for outcome in outcomes])), 5),
            "features": len(units.names),
            "synops_per_image": round(float(np.mean([each.total_operations(relative) for each in self.counts]))),
        }

    def table(self, preset: Preset, how: str, score: str, others: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
        """Return a preset's rows: the networks and, where it is wanted, these joined, and fused to other sizes."""
        wanted = preset in self.config.presets
        sizes = [round(relative * self.size) for relative in self.config.curve] if wanted else []
        return {
            "rows": [self.row(preset, each, score) for each in (*self.singles, *(others if wanted else ()))],
            "curve": [self.row(preset, how, score, size) for size in sizes],
        }


def _measure(networks: _Networks) -> dict[str, Any]:
    """Fuse in every way, measure on the test sets, and keep what the figures draw.

    Networks as trained have raw scores as published; every other score is there to compare.
    """
    folder, best = networks.folder, "best" in networks.config.presets
    tests = [Scored(examples) for examples, _ in networks.tests]
    bench = _Bench(networks, "network", tests)
    same_classes = len(tests) == 2 and len({each.classes for each in bench.networks}) == 1
    selections = _SELECTIONS if same_classes else _SELECTIONS[:-1]
    others = ["bagging", *(how for how in selections if how not in ("spread", "merge"))]
    tables = [bench.table("published", "top fraction", "raw", others)]
    comparison = []
    for score in fusion.SCORES:
        comparison += [bench.row("comparison", how, score) for how in (*selections, "bagging")]
        for test in tests:
            test.fits.clear()  # by another score no unit is the same
    comparison.sort(key=lambda row: row["name"] == "bagging")
    fused = bench.network("top fraction", "raw")
    if best:
        consolidated = _Bench(networks, "templates", tests)
        tables.append(consolidated.table("best", "order", "correlation", ("bagging", "order")))
        compared = [*_SELECTIONS[:-1], "order", "bagging"]
        comparison += [consolidated.row("comparison", how, "correlation") | {"score": _TEMPLATES} for how in compared]
        fused = consolidated.network("order", "correlation")
    fused.save(folder.checkpoint("fused"))
    folder.write_arrays(_arrays(bench, fused))
    return {
        "rows": [row for table in tables for row in table["rows"]],
        "comparison": comparison,
        "curve": [row for table in tables for row in table["curve"]],
        "training": _how_learned(networks, bench),
    }


def _learn_further(networks: _Networks, further: Drawn | None) -> dict[str, Any]:
    """Let the fused network learn the further data, once for each share of features that is protected."""
    config, folder = networks.config, networks.folder
    if config.further is None or further is None:
        return {}
    fused = FirstSpikeNetwork.load(folder.checkpoint("fused"))
    budgets = fusion.equal_budgets(networks.all("templates"), len(fused.unit_weights))
    train, test = (FeatureExamples.of(fused, images) for images in (further.images.train, further.images.test))
    tests = {letter(index): examples for index, (examples, _) in enumerate(networks.tests)} | {"further": test}
    rows = []
    for share in (None, *config.protected):
        network = fused
        if share is not None:
            network = learn_more(
                fused, train.features, train.labels, config.further_epochs, config.consolidation, config.seed,
                plasticity=fusion.plasticity(budgets, share),
            )  # fmt: skip
            network.save(folder.checkpoint(f"further_{round(100 * share)}"))
        accuracies = {name: round(each.outcome(network).right, 5) for name, each in tests.items()}
        rows.append({"learned": "before" if share is None else "after", "protected": share, **accuracies})
    return {"further_data": config.further.label(), "further": rows}


def _how_learned(networks: _Networks, bench: _Bench) -> list[dict[str, Any]]:
    """How each network learned: its best epoch on validation beside its last one."""
    rows = []
    history = networks.folder.metrics()
    for index, (network, test) in enumerate(zip(bench.networks, bench.tests, strict=True)):
        epochs = [line for line in history if line["stage"] == "decision" and line["network"] == letter(index)]
        best = max(epochs, key=lambda line: line["validation"])
        last = FirstSpikeNetwork.load(networks.folder.checkpoint(f"network_{letter(index)}_last"))
        outcome = test.outcome(Units.of(network))
        rows.append(
            {
                "network": letter(index),
                "best_epoch": best["epoch"],
                "train": bench.learned[index]["right"],
                "validation": best["validation"],
                "test": outcome.right,
                "silent": outcome.silent,
                "test_last_epoch": test.outcome(Units.of(last)).right,
                "train_last_epoch": epochs[-1]["train"],
            }
        )
    return rows


def _arrays(bench: _Bench, fused: FirstSpikeNetwork) -> dict[str, NDArray]:
    """What the figures draw, by name."""
    first, joined = bench.networks[0], Units.of(fused)
    arrays: dict[str, NDArray] = {"weights_1": first.weights_1, "weights_2": first.weights_2}
    for index, ((title, network), test) in enumerate(zip(bench.singles.items(), bench.tests, strict=True)):
        name, labels, units = letter(index), test.examples.labels, Units.of(network)
        arrays[f"activity/{name}"] = importance.activity(test.winners(units), len(units.names))
        for score in ("full sum", "top fraction", "spread"):
            arrays[f"{score.replace(' ', '_')}/{name}"] = bench.importances[score][index]
        arrays[f"unit_weights/{name}"] = network.unit_weights
        arrays[f"unit_classes/{name}"] = network.unit_classes
        for who, each in ((title, units), ("fused", joined)):
            classes = tuple(np.unique(np.concatenate([each.classes, labels])).tolist())
            arrays[f"confusion/{who} on {name}"] = confusion_matrix(test.decisions(each), labels, classes)
            arrays[f"classes/{who} on {name}"] = np.array(classes, np.int64)
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
