"""Folders of recordings, in whichever of the known formats they are."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spikelore.data import dvs_gesture, heidelberg, nmnist
from spikelore.data.examples import Dataset, Examples, class_counts
from spikelore.data.recordings import sensor_of
from spikelore.errors import InputError

_HEIDELBERG_NAME = re.compile(r"(?P<of>.*)_(?P<part>train|test|valid)\.(h5|hdf5)", re.IGNORECASE)
_PARTS = ("train", "test", "valid")

Read = Callable[[Path, tuple[int, ...]], tuple[Examples, dict[int, str]]]


@dataclass(frozen=True)
class EventFolder:
    """Recordings that were found in a folder.

    Attributes:
        folder: where they are.
        kind: their format, for people.
        parts: ``train``, ``test`` and perhaps ``valid`` to where each is.
        usual: shape of the sensor where the folder tells none.
        read: reads one part.
        count: counts one part's recordings; of gestures, its files.
    """

    folder: Path
    kind: str
    parts: dict[str, Path]
    usual: tuple[int, ...]
    read: Read
    count: Callable[[Path], int]

    def counts(self) -> tuple[int, int]:
        """Return how many recordings the train and the test set have; reads none.

        Raises:
            InputError: a part is not there, or cannot be read.
        """
        self._require()
        return self.count(self.parts["train"]), self.count(self.parts["test"])

    def load(self, name: str) -> Dataset:
        """Read all parts.

        Raises:
            InputError: a part is not there or broken, or a class is in one of them only.
        """
        self._require()
        shape = sensor_of(self.folder, self.usual)
        read = {part: self.read(path, shape) for part, path in self.parts.items()}
        train, test = read["train"][0], read["test"][0]
        for part, (examples, _) in read.items():
            if not len(examples):
                raise InputError(f"{self.parts[part]} has no recording, expected one or more; put them there")
            other = test if part == "train" else train
            for label in sorted(set(class_counts(examples.labels)) - set(class_counts(other.labels))):
                raise InputError(
                    f"{self.folder} has recordings of class {label} in its {part} set only, expected the same classes "
                    "in each; take all files from the same dataset"
                )
        classes, names = tuple(class_counts(train.labels)), read["train"][1]
        valid = read["valid"][0] if "valid" in read else None
        told = tuple(names.get(label, str(label)) for label in classes)
        return Dataset(name, train, test, classes, f"folder {self.folder}", told, valid)

    def _require(self) -> None:
        for part in ("train", "test"):
            if part not in self.parts:
                raise InputError(
                    f"{self.folder} holds {self.kind} without a {part} set, expected one for train and one for test; "
                    "put both there"
                )


def find_events(folder: Path) -> EventFolder | None:
    """Return the recordings in ``folder``, in its ``raw`` or in one of its own or any other name; None if none.

    Raises:
        InputError: files of several datasets in one folder.
    """
    try:
        inside = sorted(folder.iterdir())
        for place in [folder, *(one for one in inside if one.is_dir())]:
            for find in (_heidelberg, _nmnist, _gestures):
                if found := find(place):
                    return found
    except OSError:
        return None
    return None


def _heidelberg(place: Path) -> EventFolder | None:
    matches = [(match, one) for one in sorted(place.iterdir()) if (match := _HEIDELBERG_NAME.fullmatch(one.name))]
    if not matches:
        return None
    owners = sorted({match["of"].lower() for match, _ in matches})
    if len(owners) > 1:
        raise InputError(
            f"{place} holds recordings of several datasets ({', '.join(owners)}), expected those of one; put the files "
            "of each into a folder of its own"
        )
    parts = {match["part"].lower(): one for match, one in matches}
    return EventFolder(
        place, "HDF5 recordings", {part: parts[part] for part in _PARTS if part in parts}, heidelberg.UNITS,
        heidelberg.read_heidelberg, heidelberg.count_heidelberg,
    )  # fmt: skip


def _nmnist(place: Path) -> EventFolder | None:
    parts = {}
    for one in sorted(place.iterdir(), reverse=True):  # a folder before the archive it came from
        stem = one.name.lower().removesuffix(".zip")
        if stem in _PARTS[:2] and _has_recording(one):
            parts[stem] = one
    kind = "recordings of 5 bytes an event"
    return EventFolder(place, kind, parts, nmnist.UNITS, nmnist.read_nmnist, nmnist.count_nmnist) if parts else None


def _has_recording(part: Path) -> bool:
    if part.is_dir():
        folders = (one for one in part.iterdir() if one.is_dir())
        return any(file.suffix == ".bin" for folder in folders for file in folder.iterdir())
    try:
        return bool(nmnist.count_nmnist(part))
    except InputError:
        return False


def _gestures(place: Path) -> EventFolder | None:
    parts = {part: place / name for part, name in dvs_gesture.TRIALS.items() if (place / name).is_file()}
    if not parts:
        return None
    part_of = {path: part for part, path in parts.items()}

    def read(path: Path, shape: tuple[int, ...]) -> tuple[Examples, dict[int, str]]:
        return dvs_gesture.read_gestures(place, part_of[path], shape)

    def count(path: Path) -> int:
        return len(dvs_gesture.count_trials(place, part_of[path]))

    return EventFolder(place, "AEDAT recordings", parts, dvs_gesture.UNITS, read, count)


def told(dataset: Dataset) -> str:
    """Return a sentence on what recordings there are, for `spikelore data check`."""
    train, test = dataset.train, dataset.test
    counts = class_counts(train.labels)
    lasting = np.concatenate([part.inputs.durations_us for part in (train, test)]) / 1e6
    events = np.concatenate([part.inputs.lengths for part in (train, test)])
    sentence = (
        f"{len(train)} train and {len(test)} test recordings of {' x '.join(map(str, train.inputs.unit_shape))} units, "
        f"{len(counts)} classes, {min(counts.values())} to {max(counts.values())} train recordings a class; "
        f"{int(np.median(events)):,} spikes and {np.median(lasting):.3g} s each (the longest {lasting.max():.3g} s)"
    )
    if dataset.validation is not None:
        sentence += f"; {len(dataset.validation)} validation recordings"
    for name, numbers in train.groups.items():
        sentence += f"; by {name}: " + ", ".join(f"{one} has {count}" for one, count in class_counts(numbers).items())
    return sentence


def event_findings(dataset: Dataset) -> list[str]:
    """Return a sentence for each thing about a dataset's recordings that is most likely not meant.

    Looked for: recordings without an event, very long ones, and a class with less than a tenth of another's.
    """
    name, found = dataset.name, []
    for part, examples in (("training", dataset.train), ("test", dataset.test)):
        events = examples.inputs.lengths
        if silent := int((events == 0).sum()):
            found.append(f"{name}: {silent} of {len(examples)} {part} recordings have no event; remove them")
        if events.max() > max(_MANY * np.median(events), _MANY_AT_LEAST):
            found.append(
                f"{name}: {part} recording {int(events.argmax())} has {events.max():,} events, the median "
                f"{int(np.median(events)):,}; see whether it is one recording"
            )
    values, counts = np.unique(dataset.train.labels, return_counts=True)
    least, most = int(counts.argmin()), int(counts.argmax())
    if 10 * counts[least] < counts[most]:
        few, many = (f"class {values[n]} has {counts[n]}" for n in (least, most))
        found.append(f"{name}: {few} training recordings, {many}")
    return found


_MANY, _MANY_AT_LEAST = 100, 10**5
"""Times the median, and events, above which a recording is told of."""
