"""A folder of image files, one sub-folder a class, becomes a dataset that keeps its class names.

The rules, in the order in which they are applied to every image:

1. The first frame counts, turned upright as its EXIF data say.
2. Colours become grey by luminance, 0.299 R + 0.587 G + 0.114 B; 16-bit grey levels are divided by 257.
3. Transparent parts are laid on white if what is visible in the whole dataset is dark on average, else on black.
4. It is scaled, up or down and with antialiasing, to the largest size that keeps its aspect ratio and fits.
5. All images of the dataset are inverted, or none: the background must be 0, so they are where the median over all
   images of the median of their border pixels is above 127.
6. It is centred, and the rest is filled with the median of its own border pixels.
"""

import hashlib
import re
import shutil
import tempfile
import unicodedata
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from spikelore.data import pictures
from spikelore.data.download import STEMS, data_folder, find_files
from spikelore.data.examples import Examples, class_counts
from spikelore.data.idx import write_idx
from spikelore.data.pictures import Picture, Pixels
from spikelore.data.registry import CLASS_NAMES, KNOWN
from spikelore.errors import InputError, SpikeloreError, printable
from spikelore.files import read_json, write_json_atomic
from spikelore.shapes import as_images, as_labels

Invert = Literal["auto", "yes", "no"]
Part = Literal["train", "test"]

RECORD = "import.json"
"""What a dataset was imported with, so that it can be imported again with more classes."""

_OWN = (*(f"{stem}.gz" for stem in STEMS), CLASS_NAMES, RECORD)
_TRAIN, _VALIDATION, _TEST = {"train", "training"}, {"val", "valid", "validation"}, {"test", "testing"}
_NO_IMAGES = {".ds_store", "thumbs.db", "desktop.ini"}
_NPZ = ("x_train", "y_train", "x_test", "y_test")
_MOST_TOLD = 3


@dataclass
class _Settings:
    """What decides how a file becomes an image of the dataset."""

    size: tuple[int, int] | None = None
    invert: Invert = "auto"
    test_share: float = 0.2
    seed: int = 0
    background: str = ""
    """What transparent parts are laid on; empty until it is decided."""


@dataclass
class Imported:
    """What was imported.

    Attributes:
        path: the dataset's folder.
        class_names: label to name.
        counts: ``train`` and ``test`` to the number of images of each label.
        inverted: whether all images were inverted.
        lines: the same and what was left out, as sentences for people.
    """

    path: Path
    class_names: dict[int, str]
    counts: dict[Part, dict[int, int]]
    inverted: bool
    lines: list[str] = field(default_factory=list)


def import_images(
    source: Path | str,
    name: str | None = None,
    *,
    data_dir: Path | str | None = None,
    size: int | tuple[int, int] | None = None,
    invert: Invert | None = None,
    test_share: float | None = None,
    seed: int | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Imported:
    """Make a dataset of image files and return what was done.

    ``source`` holds one sub-folder a class, or such folders under ``train`` and ``test`` (or ``val``; a ``val`` beside
    a ``test`` joins the train set). It may also be an ``.npz`` file with ``x_train``, ``y_train``, ``x_test`` and
    ``y_test``. Folders that are all whole numbers are the labels; others are numbered from 0 in natural order
    (``2`` before ``10``). Where there is no test folder, a file is a test image if a hash of its content says so; each
    class gets at least one of each. The dataset is there whole or not at all.

    Imported again under the same name, with all its classes and more, a dataset keeps its numbers, and each file stays
    where it was: the new classes come after the old ones. The other options must then stay as they were, so they need
    not be given.

    Args:
        source: the folder.
        name: of the dataset; the folder's name if not given.
        data_dir: where datasets lie, else the folder in ``SPIKELORE_DATA``, else the user's cache.
        size: rows and columns, or one number for both; 28 if not given (for ``.npz``: as they are).
        invert: ``yes``, ``no``, or by the module's rule 5; ``auto`` if not given.
        test_share: share of each class for testing, above 0 and below 1; 0.2 if not given.
        seed: of the hash; 0 if not given.
        say: called with a line before a long work.

    Raises:
        InputError: no folder of images a class, fewer than two classes, a class with one image, an option that has no
            meaning or differs from the earlier import, a name that is taken.
        SpikeloreError: the dataset cannot be written; what was there is as before.
    """
    source = Path(source).expanduser()
    of_arrays = source.is_file() and source.suffix == ".npz"
    if not of_arrays:
        _check_source(source)
    name = unicodedata.normalize("NFC", _own_name(source) if name is None else name)
    _check_name(name)
    folder = (data_folder(data_dir) / name).resolve()
    earlier = _earlier(folder)
    settings = _settings(earlier, folder, size, invert, test_share, seed)
    found = _of_arrays(source, settings) if of_arrays else _of_files(source, settings, earlier, say)
    written = {**vars(settings), "inverted": found.imported.inverted, "held": found.held}
    _install(folder, found, written)
    found.imported.path = folder
    return found.imported


@dataclass
class _Found:
    """A dataset before it is written."""

    train: Examples
    test: Examples
    imported: Imported
    held: dict[str, dict[str, Part]] = field(default_factory=dict)
    """Class to content hash to part, of images that a small class needs in the part."""


def _own_name(source: Path) -> str:
    return source.stem if source.is_file() else source.resolve().name


def _check_name(name: str) -> None:
    wrong = not name or name.startswith(".") or any(not c.isprintable() or c in "/\\:" for c in name)
    if wrong:
        raise InputError(f"a dataset cannot be named {name!r}, expected a plain folder name; give one with --name")
    if name.lower() in KNOWN:
        raise InputError(f"{name!r} is the name of a known dataset, expected another; give one with --name")


def _earlier(folder: Path) -> dict[str, Any]:
    """Return what an earlier import recorded, with its class names; empty where there is no such folder."""
    if not folder.exists():
        return {}
    try:
        record = read_json(folder / RECORD, "the record of an import")
        names = read_json(folder / CLASS_NAMES, "the names of classes")
        size = record["size"]
        return {
            "size": tuple(size) if size else None,
            "invert": "yes" if record["inverted"] else "no",
            "test_share": float(record["test_share"]),
            "seed": int(record["seed"]),
            "background": str(record["background"]),
            "held": dict(record["held"]),
            "labels": {str(each): int(label) for label, each in names.items()},
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{folder} is there already and was not made by `spikelore data import`, expected no such folder; give "
            "another --name"
        ) from error


def _settings(earlier: Mapping[str, Any], folder: Path, size: Any, invert: Any, share: Any, seed: Any) -> _Settings:
    given = {
        "size": (size, size) if isinstance(size, int) else None if size is None else tuple(size),
        "invert": None if invert == "auto" else invert,
        "test_share": share,
        "seed": seed,
    }
    given = {option: value for option, value in given.items() if value is not None}
    for option, value in given.items():
        if earlier and earlier[option] != value:
            raise InputError(
                f"{folder} was imported with {option} {earlier[option]}, not {value}; leave the option out to add "
                "classes, or give another --name"
            )
    settings = _Settings(**(given | {key: earlier[key] for key in earlier if key in vars(_Settings())}))
    if settings.size and (len(settings.size) != 2 or not all(1 <= side <= 4096 for side in settings.size)):
        raise InputError(f"size is {settings.size}, expected rows and columns from 1 to 4096; 28x28 is usual")
    if settings.invert not in ("auto", "yes", "no"):
        raise InputError(f"invert is {settings.invert!r}, expected auto, yes or no; choose one")
    if not 0 < settings.test_share < 1:
        raise InputError(f"test_share is {settings.test_share}, expected above 0 and below 1; 0.2 is usual")
    return settings


# Files ------------------------------------------------------------------------------------------------------------


def _of_files(source: Path, settings: _Settings, earlier: Mapping[str, Any], say: Callable[[str], None]) -> _Found:
    settings.size = settings.size or (28, 28)
    parts, notes = _layout(source)
    names = sorted({name for classes in parts.values() for name in classes}, key=_natural)
    gone = [name for name in earlier.get("labels", {}) if name not in names]
    if gone:
        raise InputError(
            f"{source} has no folder for class {printable(gone[0])!r}, which the dataset has, expected all its classes "
            "and more; add the folder or give another --name"
        )
    if len(names) < 2:
        raise InputError(
            f"{source} has images of one class only, {printable(names[0])!r}, expected a sub-folder for each of two or "
            "more classes; add one"
        )
    labels = _numbers(names, earlier.get("labels", {}))
    total = sum(len(files) for classes in parts.values() for files in classes.values())
    say(f"reading {total} files in {len(names)} classes ...")
    reads: dict[Part, list[tuple[int, Picture]]] = {"train": [], "test": []}
    held, left = dict(earlier.get("held", {})), _LeftOut()
    for name in sorted(names, key=labels.__getitem__):
        read: dict[str, list[Picture]] = {}
        for part, classes in parts.items():
            read[part] = list(_distinct(classes.get(name, []), settings.size, left))
        if "all" in read:
            read = _divided(name, read["all"], settings, held)
        for part in ("train", "test"):
            if not read.get(part):
                count = sum(map(len, read.values()))
                raise InputError(
                    f"class {printable(name)!r} has {count} image{'s' * (count != 1)} that can be read and none "
                    f"for the {part} set, expected one or more in each; add images or remove the folder{left.first()}"
                )
            reads[part] += [(labels[name], one) for one in read[part]]
    everything = [one for pairs in reads.values() for _, one in pairs]
    settings.background = background = settings.background or pictures.transparent_background(everything)
    greys = {part: [(label, one.laid_on(background)) for label, one in pairs] for part, pairs in reads.items()}
    border = pictures.border_level(grey for pairs in greys.values() for _, grey in pairs)
    inverted = _is_inverted(settings.invert, border)
    train, test = (_stacked(greys[part], settings.size, inverted) for part in ("train", "test"))
    rows, columns = settings.size
    lines = [
        *notes,
        f"scaled to fit {rows} x {columns} (aspect ratio kept, antialiased, centred), grey by luminance",
        *([f"transparent parts laid on {background}"] if background else []),
        _told_inversion(inverted, settings.invert, border, bool(earlier)),
        *_shared(reads),
        *left.lines(),
    ]
    numbered = {labels[name]: name for name in names}
    return _Found(train, test, _imported(numbered, train, test, inverted, lines), held)


def _shared(reads: Mapping[Part, list[tuple[int, Picture]]]) -> list[str]:
    """Say how many images are in more than one class."""
    classes: dict[bytes, set[int]] = {}
    for label, one in (pair for pairs in reads.values() for pair in pairs):
        classes.setdefault(one.digest, set()).add(label)
    shared = sum(len(labels) > 1 for labels in classes.values())
    return [f"{shared} image{'s are' if shared > 1 else ' is'} in more than one class"] if shared else []


def _layout(source: Path) -> tuple[dict[str, dict[str, list[Path]]], list[str]]:
    """Return part (``train`` and ``test``, or ``all``) to class to files, and what is to be said of it."""
    notes: list[str] = []
    folders = _folders(source)
    while len(folders) == 1 and not _images_in(source) + _images_in(folders[0]) and _folders(folders[0]):
        source, folders = folders[0], _folders(folders[0])
        notes.append(f"the classes were found in {source}")
    by_kind = {
        kind: [one for one in folders if one.name.lower() in names]
        for kind, names in (("train", _TRAIN), ("validation", _VALIDATION), ("test", _TEST))
    }
    divided = bool(by_kind["train"]) and bool(by_kind["validation"] or by_kind["test"])
    if not divided:
        classes: dict[str, list[Path]] = {}
        for one in folders:
            classes.setdefault(unicodedata.normalize("NFC", one.name), []).extend(_files(one))
        parts = {"all": {name: files for name, files in classes.items() if files}}
        empty = [name for name, files in classes.items() if not files]
    else:
        test = by_kind["test"] or by_kind["validation"]
        train = by_kind["train"] + (by_kind["validation"] if by_kind["test"] else [])
        parts, empty = {}, []
        for part, roots in (("train", train), ("test", test)):
            parts[part] = {}
            for one in (folder for root in roots for folder in _folders(root)):
                files = _files(one)
                empty += [] if files else [f"{one.parent.name}/{one.name}"]
                if files:
                    parts[part].setdefault(unicodedata.normalize("NFC", one.name), []).extend(files)
        taken = ", ".join(
            f"{root.name} for {part}" for part, roots in (("training", train), ("testing", test)) for root in roots
        )
        notes.append(f"the folders are divided already: {taken}")
        others = [one.name for one in folders if one not in train + test]
        notes += [f"left out the folder {printable(one)!r} beside them" for one in others]
    if not any(parts.values()):
        raise _no_images(source, folders)
    notes += [f"left out the folder {printable(name)!r}: no files" for name in empty]
    loose = _images_in(source)
    if loose:
        notes.append(f"left out {len(loose)} files that are in no class folder, such as {printable(loose[0].name)!r}")
    return parts, notes


def _check_source(source: Path) -> None:
    if not source.exists():
        raise InputError(
            f"{source} does not exist, expected a folder with a sub-folder of images a class; correct the path"
        )
    if not source.is_dir():
        archive = source.suffix in (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar") or zipfile.is_zipfile(source)
        remedy = "unpack it and name the folder" if archive else "name the folder"
        kind = "an archive" if archive else "a file"
        raise InputError(f"{source} is {kind}, expected a folder with a sub-folder of images a class; {remedy}")
    if any(find_files(source).values()):
        raise InputError(
            f"{source} holds IDX files, so it is a dataset already, expected sub-folders of images; put it into the "
            f"data folder, or name it by --data-dir {source.parent}"
        )


def _no_images(source: Path, folders: list[Path]) -> InputError:
    loose = _images_in(source)
    if loose and not folders:
        return InputError(
            f"{source} holds {len(loose)} files, such as {printable(loose[0].name)!r}, and no sub-folder, expected one "
            "a class; put the images of each class into a folder of its name"
        )
    found = f"{len(folders)} empty sub-folders" if folders else "nothing to read"
    return InputError(f"{source} holds {found}, expected a sub-folder of images a class; name another folder")


def _hidden(path: Path) -> bool:
    return path.name.startswith((".", "__MACOSX")) or path.name.lower() in _NO_IMAGES


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted((one for one in folder.iterdir() if not _hidden(one)), key=lambda one: _natural(one.name))
    except OSError as error:
        raise InputError(
            f"cannot read {folder} ({error.strerror}), expected a folder of images; check its permissions"
        ) from error


def _folders(folder: Path) -> list[Path]:
    return [one for one in _entries(folder) if one.is_dir()]


def _images_in(folder: Path) -> list[Path]:
    return [one for one in _entries(folder) if not one.is_dir()]


def _files(folder: Path, within: frozenset[Path] = frozenset()) -> list[Path]:
    """Return every file below ``folder``, in natural order; a link to a folder above it is not followed."""
    real = folder.resolve()
    if real in within:
        return []
    files: list[Path] = []
    for one in _entries(folder):
        files += _files(one, within | {real}) if one.is_dir() else [one]
    return files


def _natural(name: str) -> tuple[list[Any], str]:
    """Return a key that sorts ``2`` before ``10``."""
    pieces = re.split(r"([0-9]+)", name.casefold())
    return [int(piece) if n % 2 else piece for n, piece in enumerate(pieces)], name


def _numbers(names: list[str], earlier: Mapping[str, int]) -> dict[str, int]:
    """Return the label of each class: as before, its own number, or the next one."""
    own = {name: int(name) for name in names if re.fullmatch("[0-9]{1,10}", name)}
    if len(own) == len(names) and max(own.values()) < 2**31 and all(own[name] == earlier[name] for name in earlier):
        twice = [name for name in names if [*own.values()].count(own[name]) > 1]
        if twice:
            raise InputError(
                f"folders {' and '.join(twice[:2])} are the same number, expected one folder a class; join them"
            )
        return own
    new = [name for name in names if name not in earlier]
    first = max(earlier.values(), default=-1) + 1
    return dict(earlier) | {name: first + n for n, name in enumerate(new)}


class _LeftOut:
    """Files that were left out, by reason."""

    def __init__(self) -> None:
        self.reasons: dict[str, list[Path]] = {}

    def add(self, path: Path, reason: str) -> None:
        self.reasons.setdefault(reason, []).append(path)

    def lines(self) -> list[str]:
        found = []
        for reason, paths in self.reasons.items():
            shown = ", ".join(printable(f"{one.parent.name}/{one.name}") for one in paths[:_MOST_TOLD])
            more = f" and {len(paths) - _MOST_TOLD} more" if len(paths) > _MOST_TOLD else ""
            found.append(f"left out {len(paths)} file{'s' * (len(paths) > 1)}, {reason}: {shown}{more}")
        return found

    def first(self) -> str:
        return f" ({self.lines()[0]})" if self.reasons else ""


def _distinct(files: list[Path], size: tuple[int, int], left: _LeftOut) -> Iterator[Picture]:
    """Yield what can be read, each content once."""
    seen: set[bytes] = set()
    for path in files:
        read = pictures.read(path, size)
        if isinstance(read, str):
            left.add(path, read)
            continue
        if read.digest in seen:
            left.add(path, "the same file as another of its class")
            continue
        seen.add(read.digest)
        yield read


def _stacked(greys: list[tuple[int, Pixels]], size: tuple[int, int], inverted: bool) -> Examples:
    images = np.empty((len(greys), *size), np.uint8)
    for frame, (_, grey) in zip(images, greys, strict=True):
        frame[:] = pictures.framed(255 - grey if inverted else grey, size)
    return Examples(images, np.array([label for label, _ in greys], np.int64))


def _is_inverted(asked: Invert, border: float) -> bool:
    return asked == "yes" or (asked == "auto" and border > 127)


def _told_inversion(inverted: bool, asked: Invert, border: float, again: bool) -> str:
    done = "inverted" if inverted else "not inverted"
    if asked != "auto":
        return f"{done}, as {'before' if again else 'asked'} (the median of the border pixels is {border:.0f})"
    return f"{done}: the median of the border pixels is {border:.0f}, and the background must be dark"


def _divided(
    name: str, reads: list[Picture], settings: _Settings, held: dict[str, dict[str, Part]]
) -> dict[str, list[Picture]]:
    """Return train and test images of a class by a hash of their content; what a small class needs is remembered."""
    mine = held.get(name, {})

    def place(one: Picture) -> float:
        digest = hashlib.sha256(f"{settings.seed} ".encode() + one.digest).digest()
        return int.from_bytes(digest[:8], "big") / 2**64

    def part(one: Picture) -> Part:
        drawn: Part = "test" if place(one) < settings.test_share else "train"
        return mine.get(one.digest.hex(), drawn)

    divided: dict[str, list[Picture]] = {
        each: [one for one in reads if part(one) == each] for each in ("train", "test")
    }
    if len(reads) > 1:
        parts: tuple[tuple[Part, Part, Callable], ...] = (("test", "train", min), ("train", "test", max))
        for wanted, other, nearest in parts:
            if not divided[wanted]:
                moved = nearest(divided[other], key=place)
                held.setdefault(name, {})[moved.digest.hex()] = wanted
                return _divided(name, reads, settings, held)
    return divided


# Arrays -----------------------------------------------------------------------------------------------------------


def _of_arrays(source: Path, settings: _Settings) -> _Found:
    """Return the dataset in an ``.npz`` file as Keras' ``mnist.npz`` is one."""
    try:
        with np.load(source, allow_pickle=False) as file:
            missing = [key for key in _NPZ if key not in file.files]
            if missing:
                raise InputError(
                    f"{source} has no array {missing[0]}, only {', '.join(file.files[:8]) or 'none'}, expected "
                    f"{', '.join(_NPZ)}; save the four with np.savez"
                )
            arrays = {key: file[key] for key in _NPZ}
    except InputError:
        raise
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{source} cannot be read as .npz ({error}), expected arrays without pickle; save it again"
        ) from error
    parts = {}
    for part in ("train", "test"):
        images = as_images(arrays[f"x_{part}"], f"x_{part}")
        parts[part] = Examples(images, as_labels(arrays[f"y_{part}"], len(images), f"y_{part}"))
    if settings.size:
        parts = {part: _rescaled(each, settings.size) for part, each in parts.items()}
    everything = np.concatenate([each.inputs for each in parts.values()])
    border = pictures.border_level(everything)
    inverted = _is_inverted(settings.invert, border)
    if inverted:
        parts = {part: Examples(255 - each.inputs, each.labels) for part, each in parts.items()}
    train, test = parts["train"], parts["test"]
    if (
        set(class_counts(train.labels)) != set(class_counts(test.labels))
        or train.inputs.shape[1:] != test.inputs.shape[1:]
    ):
        kinds = [f"{one.inputs.shape[1:]} of classes {[*class_counts(one.labels)]}" for one in (train, test)]
        raise InputError(f"{source} has train images {kinds[0]} and test images {kinds[1]}, expected the same in both")
    names = {label: str(label) for label in class_counts(train.labels)}
    rows, columns = train.inputs.shape[1:]
    lines = [f"images of {rows} x {columns}", _told_inversion(inverted, settings.invert, border, False)]
    settings.size = (rows, columns)
    return _Found(train, test, _imported(names, train, test, inverted, lines))


def _rescaled(images: Examples, size: tuple[int, int]) -> Examples:
    pairs = zip(images.inputs, images.labels.tolist(), strict=True)
    return _stacked([(label, pictures.scaled(image, size)) for image, label in pairs], size, False)


# Writing ----------------------------------------------------------------------------------------------------------


def _imported(names: dict[int, str], train: Examples, test: Examples, inverted: bool, lines: list[str]) -> Imported:
    counts: dict[Part, dict[int, int]] = {"train": class_counts(train.labels), "test": class_counts(test.labels)}
    classes = [
        f"label {label} = {printable(name)}: {counts['train'][label]} train, {counts['test'][label]} test images"
        for label, name in sorted(names.items())
    ]
    return Imported(Path(), names, counts, inverted, [*classes, *lines])


def _install(folder: Path, found: _Found, record: dict[str, Any]) -> None:
    """Write the dataset beside its place, then move it there; what else lies in the folder goes with it."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".import-") as temporary:
            fresh, old = Path(temporary) / "fresh", Path(temporary) / "old"
            fresh.mkdir()
            for n, part in enumerate((found.train, found.test)):
                labels = part.labels
                narrow = np.uint8 if labels.max() < 256 else np.int32
                write_idx(fresh / f"{STEMS[2 * n]}.gz", part.inputs)
                write_idx(fresh / f"{STEMS[2 * n + 1]}.gz", labels.astype(narrow))
            names = found.imported.class_names
            write_json_atomic(fresh / CLASS_NAMES, {str(label): names[label] for label in sorted(names)})
            write_json_atomic(fresh / RECORD, record)
            if folder.exists():
                for other in folder.iterdir():
                    if other.name not in _OWN and other.is_dir() and not other.is_symlink():
                        shutil.copytree(other, fresh / other.name, symlinks=True)
                    elif other.name not in _OWN:
                        shutil.copy2(other, fresh / other.name, follow_symlinks=False)
                folder.rename(old)
            try:
                fresh.rename(folder)
            except OSError:
                if old.exists():
                    old.rename(folder)
                raise
    except OSError as error:
        raise SpikeloreError(
            f"could not write the dataset to {folder}: {error.strerror}; what was there is as before: free some space, "
            "or choose a folder that you may write to with --data-dir or SPIKELORE_DATA"
        ) from error
