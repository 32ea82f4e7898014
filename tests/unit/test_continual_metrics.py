import numpy as np
import pytest

from spikelore.errors import InputError
from spikelore.metrics.continual import average_accuracies, backward_transfer, forgetting, forward_transfer

MATRIX = np.array([[0.9, 0.2, 0.1], [0.6, 0.8, 0.3], [0.7, 0.5, 1.0]])


def test_numbers_follow_their_formulas():
    assert average_accuracies(MATRIX) == pytest.approx([0.9, 0.7, 2.2 / 3])
    assert forgetting(MATRIX) == pytest.approx((0.2 + 0.3) / 2)
    assert backward_transfer(MATRIX) == pytest.approx((-0.2 - 0.3) / 2)
    assert forward_transfer(MATRIX, np.array([0.5, 0.1, 0.1])) == pytest.approx((0.1 + 0.2) / 2)


def test_forgetting_is_from_the_best_not_from_the_first_and_a_gain_is_none():
    risen = np.array([[0.5, np.nan], [0.9, 1.0]])
    assert forgetting(risen) == 0.0
    assert backward_transfer(risen) == pytest.approx(0.4)


def test_one_task_forgets_nothing():
    assert (forgetting(np.array([[0.9]])), backward_transfer(np.array([[0.9]]))) == (0.0, 0.0)


def test_other_shapes_are_refused():
    with pytest.raises(InputError, match=r"shape \(1, 3\)"):
        average_accuracies(np.zeros((1, 3)))


def test_no_task_has_no_accuracy():
    for number in (average_accuracies, forgetting, backward_transfer):
        with pytest.raises(InputError, match=r"shape \(0, 0\), expected \(tasks, tasks\)"):
            number(np.empty((0, 0)))
