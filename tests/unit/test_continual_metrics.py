import numpy as np
import pytest

from spikelore.errors import InputError
from spikelore.metrics.continual import (
    average_accuracies,
    backward_transfer,
    forgetting,
    forward_transfer,
    minimum_accuracy,
    recency_bias,
    stability_gap,
)

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


NAN = float("nan")
BETWEEN = np.array([[0, 0.1, NAN, NAN], [1, 0.4, 0.3, NAN], [1, 0.65, 0.2, NAN], [2, 0.5, 0.75, 0.2]])
"""Within task 0, twice within 1, once within 2."""


def test_the_lowest_accuracy_is_since_a_task_was_learned():
    assert minimum_accuracy(MATRIX) == pytest.approx((0.6 + 0.5) / 2)
    assert minimum_accuracy(MATRIX, BETWEEN) == pytest.approx((0.4 + 0.5) / 2)
    assert minimum_accuracy(np.array([[0.9]]), [[0, 0.1]]) == 0.9


def test_the_gap_is_what_comes_back():
    # task 0: .9 -> .4 -> .6 (.2 came back), .6 -> .5 -> .7 (.1); task 1: .8 -> .75 -> .5 (nothing did)
    assert stability_gap(MATRIX, BETWEEN) == pytest.approx((0.2 + 0.1 + 0) / 3)
    assert np.isnan(stability_gap(MATRIX, BETWEEN[:1]))
    assert stability_gap(MATRIX, BETWEEN[1:3]) == pytest.approx(0.2)  # no point within task 2


def test_recency_is_the_share_that_the_newest_classes_take():
    confusion = [[5, 1, 4, 0], [0, 2, 8, 0], [9, 0, 1, 0]]  # the newest classes' own rows do not matter
    assert recency_bias(confusion, (0, 1, 2), (2,)) == pytest.approx(12 / 20)
    assert recency_bias(confusion, (0, 1, 2), (1, 2)) == pytest.approx(5 / 10)
    assert np.isnan(recency_bias(confusion, (0, 1, 2), (0, 1, 2)))
    assert recency_bias([[0, 0, 4, 6], [0, 2, 8, 0], [9, 0, 1, 0]], (0, 1, 2), (2,)) == pytest.approx(12 / 20)  # silent


def test_points_of_other_tasks_are_refused():
    with pytest.raises(InputError, match=r"shape \(1, 3\), expected \(points, 4\)"):
        stability_gap(MATRIX, [[1, 0.5, 0.5]])
    with pytest.raises(InputError, match=r"shape \(3, 4\), expected \(2, 3\)"):
        recency_bias(np.zeros((3, 4)), (0, 1), (1,))
