"""What an experiment says of its images before it starts: on stderr, and as ``notes`` in ``results.json``."""

import sys
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import numpy as np

from spikelore.coding.rank_order import RankOrderConfig, encode
from spikelore.data import Dataset, Events, Examples, class_counts, findings
from spikelore.data.findings import sample
from spikelore.networks.rate_lif import RateLIFConfig
from spikelore.shapes import Images

_ENCODED = 100
_USUAL_DRIVE_HZ = 33.3 * 784 * 0.25
"""Input rate of all pixels together that the rate-coded network was made for: MNIST's mean at the published rate."""
_LEAST_DRIVE, _MOST_DRIVE = 1 / 4, 4


def looked_at(dataset: Dataset) -> list[str]:
    """Return `findings` of a dataset, and how first-spike coding sees its images."""
    if isinstance(dataset.train.inputs, Events):
        return findings(dataset)
    return [*findings(dataset), *of_first_spikes(dataset.name, dataset.train, RankOrderConfig())]


def of_first_spikes(name: str, images: Examples, coding: RankOrderConfig) -> list[str]:
    """Return a sentence if some of the images make no spike in a first-spike network's input."""
    shown = sample(images, _ENCODED)
    silent = _silent(shown.tobytes(), shown.shape, coding)
    if not silent:
        return []
    return [
        f"{name}: {silent} of {len(shown)} images looked at make no spike in first-spike coding (their contrast is too "
        "low or they are too small), so nothing is learned from them; stretch their grey levels to 0 to 255"
    ]


@lru_cache(maxsize=16)  # a run asks before it starts and for its results
def _silent(pixels: bytes, shape: tuple[int, ...], coding: RankOrderConfig) -> int:
    """Return how many images make no spike."""
    images = np.frombuffer(pixels, np.uint8).reshape(shape)
    # the definition: as quick for so few, and nothing is compiled for it
    return int((encode(images, coding, backend="reference") == coding.total_bins).all(axis=(1, 2, 3)).sum())


def of_rates(name: str, images: Images, network: RateLIFConfig) -> list[str]:
    """Return a sentence if the images drive a rate-coded network far less or more than it was made for."""
    drive = float(images.mean()) * images[0].size * network.rate_hz_per_level
    share = drive / _USUAL_DRIVE_HZ
    if _LEAST_DRIVE <= share <= _MOST_DRIVE:
        return []
    rate = network.rate_hz_per_level
    change, fault = ("raise", "stay silent") if share < 1 else ("lower", "all fire")
    return [
        f"{name}: at rate_hz_per_level {rate:g} all pixels together spike {drive:,.0f} times a second, {share:.2g} x "
        f"what the network was made for, so its neurons may {fault}; {change} it to about {rate / share:.2g}"
    ]


def told(sentences: Iterable[str]) -> dict[str, Any]:
    """Print each sentence once on stderr and return them as `noted` does."""
    entry = noted(sentences)
    for note in entry.get("notes", ()):
        sys.stderr.write(f"note: {note}\n")
    return entry


def noted(sentences: Iterable[str]) -> dict[str, Any]:
    """Return each sentence once as the entry ``notes``; without any, no entry."""
    notes = list(dict.fromkeys(sentences))
    return {"notes": notes} if notes else {}


def named(dataset: Dataset) -> dict[str, Any]:
    """Return the entry ``class_names`` of a dataset whose classes have names: label, as text, to name."""
    names = {str(label): name for label, name in dataset.names.items()}
    return {"class_names": names} if any(label != name for label, name in names.items()) else {}


def per_class(images: Examples) -> dict[str, int]:
    """Return how many images each class has: label, as text, to count."""
    return {str(label): count for label, count in class_counts(images.labels).items()}
