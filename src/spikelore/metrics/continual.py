"""Numbers that tell how well a learner keeps what it learned, from its accuracy matrix.

The accuracy matrix R is (K,K): ``R[i, j]`` is the accuracy on task j's test images after learning tasks 0 .. i. What
was not measured is NaN; usually that is j > i, and where a task's images are gone, all of its later entries. Means are
over what was measured; NaN where nothing was.

What was measured while a task was being learned is ``between``, (P, 1 + K): for each of P points, in their order, the
number of that task and the accuracy on each task's test images.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikelore.errors import InputError


def _numbers(values: ArrayLike, what: str) -> NDArray[np.float64]:
    try:
        return np.asarray(values, np.float64)
    except (ValueError, TypeError) as error:
        raise InputError(f"{what} is no array of numbers, expected shares and NaN; give accuracies") from error


def _square(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    matrix = _numbers(matrix, "the accuracy matrix")
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not len(matrix):
        raise InputError(f"the accuracy matrix has shape {matrix.shape}, expected (tasks, tasks); measure all tasks")
    return matrix


def mean(values: ArrayLike) -> float:
    """Return the mean of what is not NaN; NaN where nothing is."""
    measured = np.asarray(values, np.float64)
    measured = measured[~np.isnan(measured)]
    return float(measured.mean()) if len(measured) else float("nan")


def average_accuracies(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ``A[i] = mean over j <= i of R[i, j]`` for each i, (K,): the mean over the tasks seen so far.

    Example:
        >>> import numpy as np
        >>> average_accuracies(np.array([[1.0, np.nan], [0.5, 0.9]])).tolist()
        [1.0, 0.7]
    """
    matrix = _square(matrix)
    return np.array([mean(matrix[i, : i + 1]) for i in range(len(matrix))])


def forgetting(matrix: NDArray[np.float64]) -> float:
    """Return ``mean over j < K-1 of (max over i >= j of R[i, j]) - R[K-1, j]``: best minus last.

    0 for a single task. With the last row among those the best is taken from, it is never negative.

    Source: Chaudhry et al. 2018 (arXiv 1801.10112), who leave the last row out of the maximum.

    Example:
        >>> import numpy as np
        >>> round(forgetting(np.array([[1.0, np.nan], [0.5, 0.9]])), 3)
        0.5
    """
    matrix = _square(matrix)
    last = len(matrix) - 1
    return mean([np.fmax.reduce(matrix[j:, j]) - matrix[last, j] for j in range(last)]) if last else 0.0


def backward_transfer(matrix: NDArray[np.float64]) -> float:
    """Return ``mean over j < K-1 of R[K-1, j] - R[j, j]``: what later tasks did to earlier ones.

    Negative is forgetting. 0 for a single task. Source: Lopez-Paz & Ranzato 2017 (arXiv 1706.08840), equation 3.

    Example:
        >>> import numpy as np
        >>> backward_transfer(np.array([[1.0, np.nan], [0.5, 0.9]]))
        -0.5
    """
    matrix = _square(matrix)
    last = len(matrix) - 1
    return mean([matrix[last, j] - matrix[j, j] for j in range(last)]) if last else 0.0


def forward_transfer(matrix: NDArray[np.float64], untrained: NDArray[np.float64]) -> float:
    """Return ``mean over j > 0 of R[j-1, j] - b[j]``: what earlier tasks did for later ones before these were learned.

    Args:
        matrix: R, measured one place above the diagonal as well.
        untrained: b, (K,): the accuracy of the network before all learning.

    Raises:
        InputError: not one accuracy a task.

    0 for a single task. Source: Lopez-Paz & Ranzato 2017 (arXiv 1706.08840), equation 4.

    Example:
        >>> import numpy as np
        >>> forward_transfer(np.array([[1.0, 0.75], [0.5, 0.9]]), np.array([0.5, 0.5]))
        0.25
    """
    matrix, untrained = _square(matrix), _numbers(untrained, "untrained")
    if untrained.shape != (len(matrix),):
        raise InputError(f"untrained has shape {untrained.shape}, expected ({len(matrix)},); give each task's accuracy")
    return mean([matrix[j - 1, j] - untrained[j] for j in range(1, len(matrix))]) if len(matrix) > 1 else 0.0


def minimum_accuracy(matrix: NDArray[np.float64], between: ArrayLike = ()) -> float:
    """Return ``mean over j < K-1 of the lowest accuracy on task j since it was learned``, points between included.

    Of a single task its accuracy. Source: De Lange et al. 2023 (arXiv 2205.13452), equation 3 (min-ACC).

    Example:
        >>> import numpy as np
        >>> minimum_accuracy(np.array([[1.0, np.nan], [0.5, 0.9]]), [[1, 0.25, 0.5]])
        0.25
    """
    matrix, between = _square(matrix), _points(between, len(matrix))
    if len(matrix) == 1:
        return float(matrix[0, 0])
    later = (np.concatenate([matrix[j:, j], between[between[:, 0] > j, 1 + j]]) for j in range(len(matrix) - 1))
    return mean([np.fmin.reduce(found) for found in later])


def stability_gap(matrix: NDArray[np.float64], between: ArrayLike) -> float:
    """Return what is lost of earlier tasks while a task is learned and has come back by its end.

    That is the mean over tasks i > 0 and tasks j < i of ``max(0, min(R[i-1, j], R[i, j]) - m)``, m being the lowest
    accuracy on task j at the points within task i; where there are none, the pair is left out. NaN without points.

    Source: the drop that De Lange et al. 2023 (arXiv 2205.13452) found and named.

    Example:
        >>> import numpy as np
        >>> stability_gap(np.array([[1.0, np.nan], [0.75, 0.9]]), [[1, 0.25, 0.5], [1, 0.5, 0.8]])
        0.5
    """
    matrix, between = _square(matrix), _points(between, len(matrix))
    found = []
    for i in range(1, len(matrix)):
        within = between[between[:, 0] == i, 1:]
        if len(within):
            ends = np.minimum(matrix[i - 1, :i], matrix[i, :i])
            found += np.maximum(0, ends - np.fmin.reduce(within[:, :i])).tolist()
    return mean(found)


def recency_bias(confusion: ArrayLike, classes: Sequence[int], newest: Sequence[int]) -> float:
    """Return the share of earlier tasks' test images that are decided for a class of the newest task.

    1 where the newest task has overwritten all, 0 where it takes nothing. NaN where no earlier task has classes that
    the newest one has not.

    Args:
        confusion: (C, C + 1) decisions after the newest task, see `spikelore.metrics.confusion_matrix`.
        classes: (C,) labels of its rows and columns.
        newest: those of the newest task.

    Source: the task-recency bias of Masana et al. 2022 (arXiv 2010.15277), section 2.3.

    Example:
        >>> recency_bias([[6, 0, 2, 0], [0, 8, 0, 0], [0, 0, 8, 0]], (0, 1, 2), (2,))
        0.125
    """
    confusion = _numbers(confusion, "the confusion matrix")
    if confusion.shape != (len(classes), len(classes) + 1):
        raise InputError(
            f"the confusion matrix has shape {confusion.shape}, expected ({len(classes)}, {len(classes) + 1}), a "
            "column for each class and one for no decision; give the classes of its rows"
        )
    new = np.isin(classes, newest)
    asked = confusion[~new].sum()
    return float(confusion[~new][:, :-1][:, new].sum() / asked) if asked else float("nan")


def _points(between: ArrayLike, tasks: int) -> NDArray[np.float64]:
    found = _numbers(between, "what was measured between")
    if not found.size:
        return np.zeros((0, 1 + tasks))
    if found.ndim != 2 or found.shape[1] != 1 + tasks:
        raise InputError(
            f"what was measured between has shape {found.shape}, expected (points, {1 + tasks}): the task that was "
            "learned and the accuracy on each; measure all tasks"
        )
    return found
