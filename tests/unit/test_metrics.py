import numpy as np
import pytest

from spikelore.errors import InputError
from spikelore.metrics import accuracy, confusion_matrix, silence

DECISIONS = np.array([2, 5, -1, 5, -1, 2, 2])
LABELS = np.array([2, 2, 2, 5, 5, 5, 2])


def test_the_confusion_matrix_counts_silence_in_its_last_column():
    counts = confusion_matrix(DECISIONS, LABELS, (2, 5))
    assert counts.tolist() == [[2, 1, 1], [1, 1, 1]]
    assert counts.dtype == np.int64


def test_a_class_without_images_keeps_its_row():
    counts = confusion_matrix(np.array([0, -1]), np.array([0, 0]), (0, 4, 9))
    assert counts.tolist() == [[1, 0, 0, 1], [0, 0, 0, 0], [0, 0, 0, 0]]


@pytest.mark.parametrize(
    ("decisions", "labels", "classes", "says"),
    [
        ([2, 3, 5], [2, 2, 5], (2, 5), "decision 3 is not one of the classes"),
        ([2, 7, 5], [2, 2, 5], (2, 5), "decision 7 is not one of the classes"),
        ([2, -1, 5], [2, 4, 5], (2, 5), "label 4 is not one of the classes"),
        ([2, -1, 5], [2, -1, 5], (2, 5), "label -1 is not one of the classes"),
        ([2, 5], [2, 5], (5, 2), "ascending"),
        ([2, 5], [2, 5], (2, 2, 5), "ascending"),
    ],
)
def test_what_has_no_row_or_column_is_refused_not_counted_elsewhere(decisions, labels, classes, says):
    with pytest.raises(InputError, match=says):
        confusion_matrix(np.array(decisions), np.array(labels), classes)


def test_silence_is_no_right_decision():
    assert accuracy(DECISIONS, LABELS) == 3 / 7
    assert silence(DECISIONS) == 2 / 7
