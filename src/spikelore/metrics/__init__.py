"""Numbers that tell how well a network decides."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikelore.errors import InputError
from spikelore.shapes import Labels, as_labels


def accuracy(decisions: ArrayLike, labels: ArrayLike) -> float:
    """Share of right decisions; a silent one (-1) is not right.

    Args:
        decisions: (N,), -1 = silent.
        labels: (N,).

    Raises:
        InputError: not one decision a label, nothing decided, or no whole numbers.
    """
    decided = _decisions(decisions)
    truth = as_labels(labels, len(decided), least=-1)
    return float((decided == truth).mean())


def silence(decisions: ArrayLike) -> float:
    """Share of images without a decision (-1), of (N,) decisions.

    Raises:
        InputError: nothing decided, or no whole numbers.
    """
    return float((_decisions(decisions) < 0).mean())


def _decisions(decisions: ArrayLike) -> Labels:
    decided = as_labels(decisions, what="decisions", least=-1)
    if not len(decided):
        raise InputError("there are no decisions, expected at least one; give some images")
    return decided


def confusion_matrix(decisions: ArrayLike, labels: ArrayLike, classes: Sequence[int]) -> NDArray[np.int64]:
    """Count decisions per true class.

    Args:
        decisions: (N,) int64, each in ``classes`` or -1 = silent.
        labels: (N,) int64, each in ``classes``.
        classes: ascending; all that the network can decide and all that the labels hold.

    Returns:
        (classes, classes + 1) int64: true class by decided class; the last column counts silence.

    Raises:
        InputError: a decision or a label that is not in ``classes``, classes not ascending, or not one decision a
            label.
    """
    decided, truth = as_labels(decisions, what="decisions", least=-1), as_labels(labels, least=-1)
    if len(decided) != len(truth):
        raise InputError(f"there are {len(decided)} decisions for {len(truth)} labels, expected one a label")
    if list(classes) != sorted(set(classes)):
        raise InputError(f"classes are {list(classes)}; give each once, ascending")
    for name, values in (("decision", decided[decided >= 0]), ("label", truth)):
        other = np.setdiff1d(values, classes)
        if len(other):
            raise InputError(f"{name} {other[0]} is not one of the classes {list(classes)}; give every class there is")
    counts = np.zeros((len(classes), len(classes) + 1), np.int64)
    columns = np.where(decided < 0, len(classes), np.searchsorted(classes, decided))
    np.add.at(counts, (np.searchsorted(classes, truth), columns), 1)
    return counts
