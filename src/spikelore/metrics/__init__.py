"""Numbers that tell how well a network decides."""

import numpy as np
from numpy.typing import NDArray

from spikelore.errors import InputError
from spikelore.shapes import Labels


def accuracy(decisions: Labels, labels: Labels) -> float:
    """Share of right decisions; a silent one (-1) is not right."""
    return float((decisions == labels).mean())


def silence(decisions: Labels) -> float:
    """Share of images without a decision (-1)."""
    return float((decisions < 0).mean())


def confusion_matrix(decisions: Labels, labels: Labels, classes: tuple[int, ...]) -> NDArray[np.int64]:
    """Count decisions per true class.

    Args:
        decisions: (N,) int64, each in ``classes`` or -1 = silent.
        labels: (N,) int64, each in ``classes``.
        classes: ascending; all that the network can decide and all that the labels hold.

    Returns:
        (classes, classes + 1) int64: true class by decided class; the last column counts silence.

    Raises:
        InputError: a decision or a label that is not in ``classes``, or classes not ascending.
    """
    if list(classes) != sorted(set(classes)):
        raise InputError(f"classes are {list(classes)}; give each once, ascending")
    for name, values in (("decision", decisions[decisions >= 0]), ("label", labels)):
        other = np.setdiff1d(values, classes)
        if len(other):
            raise InputError(f"{name} {other[0]} is not one of the classes {list(classes)}; give every class there is")
    counts = np.zeros((len(classes), len(classes) + 1), np.int64)
    columns = np.where(decisions < 0, len(classes), np.searchsorted(classes, decisions))
    np.add.at(counts, (np.searchsorted(classes, labels), columns), 1)
    return counts
