import numpy as np
import pytest

from spikelore.errors import InputError
from spikelore.metrics import accuracy, confusion_matrix, silence
from spikelore.metrics.synaptic_operations import convolution_operations

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


@pytest.mark.parametrize(
    ("decisions", "labels", "says"),
    [
        ([1, 2, 3], [1, 2], r"labels have shape \(2,\), expected \(3,\)"),
        ([], [], "there are no decisions"),
        ([1, 2], np.eye(2), "one-hot"),
        ([1.5], [1], "decisions hold 1.5, expected whole numbers"),
        ([np.nan], [1], "decisions hold nan"),
        ([-2], [1], "decision -2 is negative, expected -1 or more"),
        (["a"], [1], "expected whole numbers"),
        (3, 3, r"shape \(\)"),
    ],
)
def test_what_is_no_pair_of_decisions_and_labels_is_refused(decisions, labels, says):
    with pytest.raises(InputError, match=says):
        accuracy(decisions, labels)


def test_columns_lists_and_other_types_are_the_same_numbers():
    for decisions in (DECISIONS, DECISIONS.tolist(), DECISIONS[:, None], DECISIONS.astype(np.float32)):
        for labels in (LABELS, LABELS.tolist(), LABELS[:, None], LABELS.astype(np.uint8), LABELS.astype(object)):
            assert accuracy(decisions, labels) == 3 / 7
            assert confusion_matrix(decisions, labels, (2, 5)).tolist() == [[2, 1, 1], [1, 1, 1]]
        assert silence(decisions) == 2 / 7
    large = LABELS + 2**40
    assert accuracy(large, large) == 1
    assert confusion_matrix(large, large, (2 + 2**40, 5 + 2**40)).tolist() == [[4, 0, 0], [0, 3, 0]]


def test_nothing_has_no_silence_and_other_numbers_no_confusion():
    with pytest.raises(InputError, match="there are no decisions"):
        silence([])
    with pytest.raises(InputError, match="2 decisions for 1 labels"):
        confusion_matrix([0, 1], [0], (0, 1))


def test_operations_of_images_in_which_no_window_fits_are_refused():
    with pytest.raises(InputError, match="rows and columns of at least 5"):
        convolution_operations(np.zeros((1, 1, 4, 9), np.bool_), features=2, kernel=5, padding=0)
