"""Examples: inputs of networks and the class of each; a dataset is a train set and a test set of them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from spikelore.data.events import Events, as_events
from spikelore.errors import InputError, shown
from spikelore.shapes import Labels, as_images, as_labels

Inputs: TypeAlias = Any
"""`Images`, or `Events`; ``shape[1:]`` of either is a network's ``input_shape``."""


@dataclass(frozen=True, eq=False)
class Examples:
    """Inputs and the class of each.

    What `as_inputs` and `as_labels` take is taken and kept as they return it.

    Args:
        inputs: images, ``uint8``, (N, H, W), background 0; or recordings of spikes, `Events`.
        labels: ``int64``, (N,), not negative.
        groups: name to ``int64``, (N,), not negative: who or what each comes from, such as its ``speaker``.

    Raises:
        InputError: what cannot be such inputs, labels or groups, or not one label an input.
    """

    inputs: Inputs
    labels: Labels
    groups: Mapping[str, Labels] = field(default_factory=dict)

    def __post_init__(self):
        inputs, labels = as_inputs(self.inputs), as_labels(self.labels)
        if len(inputs) != len(labels):
            kind, one = ("recordings", "a recording") if isinstance(inputs, Events) else ("images", "an image")
            raise InputError(
                f"there are {len(labels)} labels for {len(inputs)} {kind}, expected one label {one}; "
                "take both from the same set"
            )
        groups = {name: as_labels(each, len(labels), f"{name} numbers") for name, each in self.groups.items()}
        for name, value in {"inputs": inputs, "labels": labels, "groups": groups}.items():
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: np.ndarray) -> "Examples":
        """Return the examples at ``indices``, in their order; an index may come more than once.

        Raises:
            InputError: there is no such example.
        """
        try:
            self.labels[indices]
        except (IndexError, TypeError, ValueError) as error:
            raise InputError(
                f"these examples of {len(self)} cannot be taken ({error}); give whole numbers below that, or a mask"
            ) from None
        groups = {name: each[indices] for name, each in self.groups.items()}
        return Examples(self.inputs[indices], self.labels[indices], groups)

    def changed(self, *, inputs: Inputs | None = None, labels: Labels | None = None) -> "Examples":
        """Return the examples with other inputs or labels."""
        return Examples(
            self.inputs if inputs is None else inputs, self.labels if labels is None else labels, self.groups
        )

    def of_classes(self, classes: Iterable[int]) -> "Examples":
        """Return the examples of ``classes``, in the order and with the labels they have here.

        Raises:
            InputError: there is no example of one of them.
        """
        wanted = sorted(set(classes))
        present = class_counts(self.labels)
        for label in wanted:
            if label not in present:
                raise InputError(
                    f"class {label} has no image, expected one of {', '.join(map(str, present))}; choose another class"
                )
        return self.take(np.flatnonzero(np.isin(self.labels, wanted)))

    def of_groups(self, by: str, numbers: Iterable[int], *, but: bool = False) -> "Examples":
        """Return the examples whose group ``by`` is one of ``numbers``, in order; all others with ``but``.

        Raises:
            InputError: these examples have no such group.
        """
        return self.take(np.flatnonzero(np.isin(self.numbers(by), sorted(set(numbers)), invert=but)))

    def numbers(self, by: str) -> Labels:
        """Return which ``by`` each example is of, (N,).

        Raises:
            InputError: these examples have no such group.
        """
        if by not in self.groups:
            known = f"only by {', '.join(self.groups)}" if self.groups else "by nothing but their classes"
            raise InputError(
                f"the examples are not told apart by {shown(by)}, {known}; choose another dataset or field"
            )
        return self.groups[by]


def as_inputs(values: Any) -> Inputs:
    """Return what a dataset holds: recordings of spikes as `as_events` takes them, all else as `as_images` does."""
    dense = getattr(values, "dtype", None) == np.bool_ and getattr(values, "ndim", 0) in (3, 5)
    return as_events(values) if isinstance(values, Events) or dense else as_images(values)


def concatenated(parts: Sequence[Examples]) -> Examples:
    """Return the examples of all parts, one part after the other; of groups, those that all parts have.

    Raises:
        InputError: no part, images and recordings mixed, or of several shapes.
    """
    kinds = sorted({(isinstance(one.inputs, Events), one.inputs.shape[1:]) for one in parts})
    if len(kinds) != 1:
        found = " and ".join(f"{'recordings' if events else 'images'} of {shape}" for events, shape in kinds)
        raise InputError(f"cannot join {found or 'no examples'}, expected inputs of one shape; make them alike first")
    inputs = [one.inputs for one in parts]
    common = [name for name in parts[0].groups if all(name in one.groups for one in parts)]
    return Examples(
        Events.concatenated(inputs) if kinds[0][0] else np.concatenate(inputs),
        np.concatenate([one.labels for one in parts]),
        {name: np.concatenate([one.groups[name] for one in parts]) for name in common},
    )


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
        class_names: a name for each of ``classes``; the labels as text if not given.
        validation: the published validation set; None where there is none, and a share of the train set serves.
    """

    name: str
    train: Examples
    test: Examples
    classes: tuple[int, ...]
    source: str
    class_names: tuple[str, ...] = ()
    validation: Examples | None = None

    def __post_init__(self) -> None:
        if not self.class_names:
            object.__setattr__(self, "class_names", tuple(map(str, self.classes)))
        if len(self.class_names) != len(self.classes):
            raise InputError(
                f"there are {len(self.class_names)} class names for {len(self.classes)} classes, expected one a class; "
                "name each class once"
            )

    @property
    def names(self) -> dict[int, str]:
        """Label to name."""
        return dict(zip(self.classes, self.class_names, strict=True))

    def kept(self, classes: Sequence[int] | None = None) -> tuple[int, ...]:
        """Return the classes that are to be kept; all if not given.

        Raises:
            InputError: there is no such class.
        """
        kept = self.classes if classes is None else tuple(classes)
        missing = sorted(set(kept) - set(self.classes))
        if missing:
            raise InputError(f"{self.name} has no class {missing[0]}; it has {list(self.classes)}")
        return kept
