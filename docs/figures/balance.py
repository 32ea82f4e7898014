"""What decides whether a digit and a letter network, joined by raw potentials, decide more like one or the other.

Run from the repository: ``python docs/figures/balance.py --data-dir DIR``; one to three minutes a condition on a core,
and three for the digit network. Letter networks learn under different conditions on the same frozen features. After
each epoch the balance (raw bagging and the raw fused network, on both test sets) stands beside numbers of the two
networks' weights. Nothing is chosen on a test set. ``balance.json`` has every epoch, and conditions that it has are not
learned again; ``balance.svg`` is the figure; ``--draw`` only draws it and says which number predicts the balance.
"""

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import grey_dilation, grey_erosion
from scipy.optimize import isotonic_regression

from spikelore.continual import fusion, importance
from spikelore.data import Examples, Splits
from spikelore.experiments.reproduce.fusion import FusionExperiment, Scored, Units
from spikelore.experiments.reproduce.sources import Source, drawn
from spikelore.files import write_bytes_atomic, write_text_atomic
from spikelore.learning.first_spike_training import DecisionTraining, FeatureExamples, learn_features
from spikelore.learning.reward_stdp import RewardStdpConfig
from spikelore.networks.first_spike import FirstSpikeNetwork
from spikelore.report import style

RESULTS = Path(__file__).with_suffix(".json")
PUBLISHED = {"bagging": (0.91, 0.78), "fused": (0.87, 0.75)}
"""Digits and letters of Antonov & Sukhov 2022, both raw."""

# Letters ------------------------------------------------------------------------------------------------

Images = NDArray[np.uint8]
Change = Callable[[Images, np.random.Generator], Images]


def filled(images: Images, rng: np.random.Generator | None = None, side: int = 24) -> Images:
    """Return images whose ink reaches over ``side`` pixels, centred, as the letters of EMNIST do."""
    found = np.zeros_like(images)
    for image, out in zip(images, found, strict=True):
        rows, columns = (np.flatnonzero(image.any(axis=axis)) for axis in (1, 0))
        ink = image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        height, width = (max(1, round(side * length / max(ink.shape))) for length in ink.shape)
        drawn = np.asarray(Image.fromarray(ink).resize((width, height), Image.Resampling.BICUBIC))
        top, left = (out.shape[0] - height) // 2, (out.shape[1] - width) // 2
        out[top : top + height, left : left + width] = drawn
    return found


def thick(images: Images, rng: np.random.Generator | None = None) -> Images:
    """Return images with strokes that are a pixel wider on each side."""
    return grey_dilation(images, (1, 3, 3)).astype(np.uint8)


def thin(images: Images, rng: np.random.Generator | None = None) -> Images:
    """Return images with strokes that are a pixel narrower; a letter of which little would be left stays as it is."""
    found = grey_erosion(images, (1, 2, 2)).astype(np.uint8)
    faint = found.max(axis=(1, 2)) < images.max(axis=(1, 2)) / 2
    found[faint] = images[faint]
    return found


def jittered(images: Images, rng: np.random.Generator, most: int = 2) -> Images:
    """Return images that are moved by up to ``most`` pixels, each by its own; what leaves the frame is lost."""
    padded = np.pad(images, ((0, 0), (most, most), (most, most)))
    height, width = images.shape[1:]
    moves = rng.integers(0, 2 * most + 1, (len(images), 2))
    return np.stack([each[y : y + height, x : x + width] for each, (y, x) in zip(padded, moves, strict=True)])


CHANGES: dict[str, Change] = {"filled": filled, "thick": thick, "thin": thin, "jittered": jittered}


@dataclass(frozen=True)
class Condition:
    """How the letter network learns.

    Attributes:
        data: the letters.
        changes: of the images, in order; names in `CHANGES`.
        factor: of its rates, see `spikelore.learning.reward_stdp.RewardStdpConfig`.
        start: whether it starts from random weights (``initial``) or from the digit network's (``first``).
        mislabelled: share of training labels that are drawn anew.
        epochs: passes over the letters.
    """

    data: str = "letters"
    changes: tuple[str, ...] = ()
    factor: float = 0.5
    start: str = "initial"
    mislabelled: float = 0.0
    epochs: int = 20

    @property
    def name(self) -> str:
        """All that differs from the plain letters."""
        told = [" ".join((self.data, *self.changes)), f"[{self.factor:g}]"]
        told += ["from the digits'"] if self.start == "first" else []
        told += [f"{100 * self.mislabelled:g} % mislabelled"] if self.mislabelled else []
        return " ".join(told)


CONDITIONS = (
    Condition(epochs=30),
    Condition(start="first", epochs=30),
    Condition("letters-varied", factor=1.0, epochs=50),
    Condition(changes=("filled",)),
    Condition("letters-varied"),
    Condition("letters-varied", ("filled",), epochs=50),
    Condition(factor=1.0),
    Condition("letters-varied", ("filled",), factor=1.0),
    Condition(changes=("thick",)),
    Condition(mislabelled=0.05),
    Condition(changes=("thin",)),
    Condition("letters-varied", ("filled", "jittered")),
)


def changed(images: Splits, condition: Condition, seed: int) -> Splits:
    """Return the letters of a condition."""

    def part(given: Examples) -> Examples:
        rng, pixels = np.random.default_rng(seed), given.inputs
        for name in condition.changes:
            pixels = CHANGES[name](pixels, rng)
        return Examples(pixels, given.labels)

    return Splits(**{name: part(given) for name, given in vars(images).items()})


def mislabelled(examples: FeatureExamples, share: float, seed: int) -> FeatureExamples:
    """Return examples of which a share has a label drawn anew from all of them."""
    rng, labels = np.random.default_rng(seed), examples.labels.copy()
    moved = rng.random(len(labels)) < share
    labels[moved] = rng.choice(np.unique(labels), moved.sum())
    return replace(examples, labels=labels)


# Weights ------------------------------------------------------------------------------------------------

SHARES = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0)


def numbers(network: FirstSpikeNetwork) -> dict[str, float]:
    """Return numbers of a decision layer's weights, means over its units; none needs data."""
    weights = network.unit_weights.reshape(len(network.unit_weights), -1)
    largest = {
        "mean weight" if share == 1 else f"mean of the largest {100 * share:g} %": importance.top_fraction(
            weights, share
        ).mean()
        / max(1, int(weights.shape[1] * share))
        for share in SHARES
    }
    found = {**largest, "spread": importance.spread(weights).mean()}
    return {name: round(float(value), 6) for name, value in found.items()}


# Study --------------------------------------------------------------------------------------------------


def epochs_of(
    condition: Condition, digits: FirstSpikeNetwork, digit_tests: FeatureExamples, letters: Splits, seed: int
) -> Iterator[dict[str, Any]]:
    """Learn letters in a condition, beside a digit network; yield the balance after each epoch.

    Args:
        condition: how.
        digits: the digit network.
        digit_tests: test digits as its features show them.
        letters: as they are in this condition.
        seed: root seed.
    """
    train, tests = FeatureExamples.of(digits, letters.train), [digit_tests, FeatureExamples.of(digits, letters.test)]
    start = digits
    if condition.start == "initial":
        fresh = FirstSpikeNetwork.create(digits.config, digits.classes, seed)
        start = digits.with_learned_units(fresh.unit_weights)
    reward = RewardStdpConfig(adaptive_scale=condition.factor)
    training = DecisionTraining(start, mislabelled(train, condition.mislabelled, seed), condition.epochs, reward)
    scored = [Scored(examples) for examples in tests]
    for each in scored:
        each.winners(Units.of(digits))
    asked_once = [dict(each.fits) for each in scored]
    for told in training.steps():
        network = training.network
        asked = {
            "alone": network,
            "bagging": fusion.bagging([digits, network]),
            "fused": fusion.fuse([digits, network]),
        }
        right = {name: [round(each.outcome(Units.of(one)).right, 5) for each in scored] for name, one in asked.items()}
        for each, fits in zip(scored, asked_once, strict=True):
            each.fits = dict(fits)
        yield {"epoch": training.epoch, "error": round(1 - told["train"], 5), **right, "weights": numbers(network)}


def study(digits: FirstSpikeNetwork | None, data_dir: Path | None, seed: int) -> None:
    """Learn in all conditions that the results do not have, and keep each."""
    config = FusionExperiment(seed=seed)

    def images(name: str) -> Splits:
        return drawn(Source(name), config, data_dir).images

    known = images("mnist")
    if digits is None:
        digits = learned(known, config)
    results = {"seed": seed, "digits": {"weights": numbers(digits)}, "conditions": {}}
    if RESULTS.exists():
        results = json.loads(RESULTS.read_text(encoding="utf-8"))
    tests = FeatureExamples.of(digits, known.test)
    results["digits"]["right"] = tests.outcome(digits).right
    for condition in CONDITIONS:
        if len(results["conditions"].get(condition.name, [])) < condition.epochs:
            letters, lines = changed(images(condition.data), condition, seed), []
            for line in epochs_of(condition, digits, tests, letters, seed):
                lines.append(line)
                print(condition.name, json.dumps(line), flush=True)
            results["conditions"][condition.name] = lines
            write_text_atomic(RESULTS, as_text(results))


def as_text(results: dict[str, Any]) -> str:
    """Return results as JSON with a line for each epoch."""
    conditions = [
        f"{json.dumps(name)}: [\n" + ",\n".join(map(json.dumps, lines)) + "\n]"
        for name, lines in results["conditions"].items()
    ]
    head = json.dumps({**results, "conditions": {}}).removesuffix("}}")
    return head + "\n" + ",\n".join(conditions) + "\n}}\n"


def learned(images: Splits, config: FusionExperiment) -> FirstSpikeNetwork:
    """Return the digit network, at the epoch that is best on validation images."""
    network = FirstSpikeNetwork.create(config.network, tuple(np.unique(images.train.labels).tolist()), config.seed)
    network = learn_features(network, images.train.inputs, (config.epochs_layer_1, config.epochs_layer_2), config.stdp)
    train, validation = (FeatureExamples.of(network, part) for part in (images.train, images.validation))
    return DecisionTraining(network, train, config.epochs_decision, config.reward, {"validation": validation}).finish()


# Figure -------------------------------------------------------------------------------------------------

Points = dict[str, NDArray[np.float64]]


def ratios(results: dict[str, Any], name: str) -> Points:
    """Return a number of the letter networks' weights over that of the digit network's, after each epoch."""
    known = results["digits"]["weights"][name]
    return {
        title: np.array([line["weights"][name] / known for line in lines])
        for title, lines in results["conditions"].items()
    }


def accuracies(results: dict[str, Any], what: str) -> Points:
    """Return the accuracies (epochs, 2) of digits and letters of ``bagging``, ``fused`` or the letters ``alone``."""
    return {title: np.array([line[what] for line in lines]) for title, lines in results["conditions"].items()}


def misses(results: dict[str, Any]) -> dict[str, float]:
    """Return how far each number is from predicting raw bagging, over all conditions and epochs.

    It is the root mean square distance of both accuracies to the best curves that rise (digits fall) with the ratio.
    """
    right = np.concatenate([*accuracies(results, "bagging").values()])
    found = {}
    for name in results["digits"]["weights"]:
        order = np.argsort(np.concatenate([*ratios(results, name).values()]), kind="stable")
        digits, letters = right[order].T
        curves = isotonic_regression(digits, increasing=False).x, isotonic_regression(letters).x
        found[name] = float(np.sqrt(np.mean([(digits - curves[0]) ** 2, (letters - curves[1]) ** 2])))
    return found


def nearest(results: dict[str, Any], what: str) -> tuple[str, int, list[float], float]:
    """Return condition, epoch, accuracies and greatest difference of what comes nearest to the published ones."""
    found = [
        (max(abs(np.subtract(line[what], PUBLISHED[what]))), title, line["epoch"], line[what])
        for title, lines in results["conditions"].items()
        for line in lines
    ]
    difference, title, epoch, right = min(found, key=lambda each: each[0])
    return title, epoch, right, float(difference)


def draw(results: dict[str, Any]) -> Figure:
    """Return the figure: accuracies against the number that predicts them best, and against each other."""
    off = misses(results)
    best = min(off, key=lambda name: off[name])
    figure, (left, *planes) = style.panels(3, 4.4)
    for title, x in ratios(results, best).items():
        for n, (task, y) in enumerate(zip(("digits", "letters"), accuracies(results, "bagging")[title].T, strict=True)):
            left.plot(x, y, "o-", markersize=2.5, linewidth=0.8, color=style.colour(n), label=f"{task}, raw bagging")
    for n, (task, y) in enumerate(zip(("digits", "letters"), PUBLISHED["bagging"], strict=True)):
        left.axhline(y, color=style.colour(n), linewidth=1.2, linestyle="--", label=f"{task}, published")
    left.set(title="Raw bagging against the weights", ylabel="right, test images")
    left.set_xlabel(f"{best},\nletter over digit network")
    style.percent_axis(left, "y")
    for panel, (what, (digits, letters)) in zip(planes, PUBLISHED.items(), strict=True):
        for n, (title, pairs) in enumerate(accuracies(results, what).items()):
            line = "-" if n < len(style.PALETTE) else ":"
            panel.plot(pairs[:, 1], pairs[:, 0], line, color=style.colour(n), linewidth=1.4, label=title)
            panel.plot(*pairs[-1, ::-1], "o", color=style.colour(n), label="_nolegend_")
        panel.plot([letters], [digits], "*", color=style.INK, markersize=12, linestyle="", label="published")
        panel.set(title=f"Raw {what}, epoch after epoch", xlabel="letters", ylabel="digits")
        style.percent_axis(panel, "x")
        style.percent_axis(panel, "y")
    style.legend(figure, (left, *planes))
    return figure


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, help="folder of mnist, letters and letters-varied")
    parser.add_argument("--digits", type=Path, help="checkpoint of a digit network to use instead of learning one")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--draw", action="store_true", help="only draw the figure")
    given = parser.parse_args()
    if not given.draw:
        network = FirstSpikeNetwork.load(given.digits) if given.digits else None
        study(network, given.data_dir, given.seed)
    with style.applied():
        kept = json.loads(RESULTS.read_text(encoding="utf-8"))
        write_bytes_atomic(RESULTS.with_suffix(".svg"), style.files(draw(kept))["svg"])
    for number, miss in misses(kept).items():
        print(f"{number}: predicts both accuracies to {100 * miss:.1f} points")
    for what in PUBLISHED:
        print(f"nearest to the published {what}: {nearest(kept, what)}")
