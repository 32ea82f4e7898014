"""Streams: which images and labels each task has, and in which order they arrive."""

import pickle
import tracemalloc

import numpy as np
import pytest

from spikelore.data import Dataset, Examples
from spikelore.data.streams import (
    Stream,
    arrival,
    batches,
    domain_labels,
    gather,
    joint,
    permuted_tasks,
    rotated_tasks,
    split_tasks,
)
from spikelore.errors import InputError
from spikelore.randomness import generator


def numbered(per_class: int, first: int = 0) -> Examples:
    """Images of four classes, each carrying its own number in one pixel of 4x4."""
    labels = np.tile(np.arange(4), per_class).astype(np.int64)
    images = np.zeros((len(labels), 4, 4), np.uint8)
    images[:, 0, 1] = first + np.arange(len(labels))
    return Examples(images, labels)


DATA = Dataset("toy", numbered(10), numbered(3, first=100), (0, 1, 2, 3), "made up")


def numbers(part: Examples) -> list[int]:
    return part.inputs[:, 0, 1].tolist()


def test_split_gives_each_class_to_one_task_and_holds_a_tenth_out():
    tasks = split_tasks(DATA, [[2, 0], [1, 3]], validation_share=0.1, seed=3)
    assert [task.name for task in tasks] == ["2,0", "1,3"]
    for task in tasks:
        assert (len(task.train), len(task.validation), len(task.test)) == (18, 2, 6)
        assert set(task.train.labels) == set(task.classes)
        assert not set(numbers(task.train)) & set(numbers(task.validation))
    everything = sorted(number for task in tasks for part in (task.train, task.validation) for number in numbers(part))
    assert everything == list(range(40))
    assert Stream("class-incremental", tasks).classes == (2, 0, 1, 3)
    assert Stream("class-incremental", tasks).seen(0) == (2, 0)


def test_domain_labels_are_places_in_the_tasks_classes():
    tasks = split_tasks(DATA, [[2, 0], [1, 3]], validation_share=0)
    for before, after in zip(tasks, domain_labels(tasks), strict=True):
        assert after.classes == (0, 1)
        assert [before.classes[place] for place in after.test.labels] == before.test.labels.tolist()
    assert Stream("domain-incremental", domain_labels(tasks)).classes == (0, 1)


def test_permuted_tasks_shuffle_pixels_alike_in_every_part():
    first, second = permuted_tasks(DATA, 2, seed=1)
    assert np.array_equal(np.sort(first.train.inputs, axis=None), np.sort(second.train.inputs, axis=None))
    lit = np.flatnonzero(second.train.inputs.reshape(len(second.train), -1).any(0))
    assert len(lit) == 1
    assert lit.tolist() != [1]
    assert np.flatnonzero(second.test.inputs.reshape(12, -1).any(0)).tolist() == lit.tolist()
    assert first.test.labels.tolist() == second.test.labels.tolist()


def test_permuted_tasks_give_the_same_images_whole_or_taken_and_to_another_process():
    for task in (permuted_tasks(DATA, 3, seed=2)[2], pickle.loads(pickle.dumps(permuted_tasks(DATA, 3, seed=2)))[2]):
        order = generator(2, "stream", "pixels", 2).permutation(16)
        expected = DATA.test.inputs.reshape(12, 16)[:, order].reshape(12, 4, 4)
        np.testing.assert_array_equal(task.test.inputs, expected)
        np.testing.assert_array_equal(task.test.take(np.array([7, 2, 7])).inputs, expected[[7, 2, 7]])
        np.testing.assert_array_equal(task.test.of_classes([3]).inputs, expected[DATA.test.labels == 3])
        assert task.test.inputs is task.test.inputs
        with pytest.raises(InputError, match="cannot be taken"):
            task.test.take(np.array([12]))


def test_a_stream_of_many_permuted_tasks_takes_no_more_memory_than_one_of_few():
    per_class, side, batch = 250, 28, 100
    images = np.random.default_rng(0).integers(0, 256, (4 * per_class, side, side), dtype=np.uint8)
    part = Examples(images, np.tile(np.arange(4), per_class))
    dataset = Dataset("toy", part, part, (0, 1, 2, 3), "made up")

    def peak(count):
        """Learn each task in batches, then be asked about all there were."""
        tracemalloc.start()
        tasks, shown = permuted_tasks(dataset, count), 0
        for task in range(count):
            for order in batches(np.arange(len(tasks[task].train)), batch):
                shown += gather(tasks, np.stack([np.full(len(order), task), order], axis=1))[0].any(axis=(1, 2)).sum()
            shown += sum(each.test.inputs.any(axis=(1, 2)).sum() for each in tasks[: task + 1])
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert shown == 900 * count + 1000 * count * (count + 1) // 2
        return found

    few, many = peak(6), peak(24)
    assert many - few < 0.25 * images.nbytes  # the orders of pixels and little more
    assert few < 5 * images.nbytes


def test_rotated_tasks_turn_by_their_angle():
    tasks = rotated_tasks(DATA, [0, 90])
    assert np.array_equal(tasks[1].test.inputs, np.rot90(tasks[0].test.inputs, axes=(1, 2)))


def test_joint_has_every_image():
    tasks = split_tasks(DATA, [[0, 1], [2, 3]])
    one = joint(tasks)
    assert one.classes == (0, 1, 2, 3)
    assert sorted(numbers(one.train) + numbers(one.validation)) == list(range(40))


def test_sharp_arrival_keeps_tasks_apart_and_shows_each_image_once():
    parts = arrival([30, 20], 0.0, np.random.default_rng(0))
    assert [set(part[:, 0].tolist()) for part in parts] == [{0}, {1}]
    assert sorted(parts[0][:, 1].tolist()) == list(range(30))
    assert parts[0][:, 1].tolist() != list(range(30))


def test_blurred_arrival_mixes_near_the_boundary_only_and_shows_each_image_once():
    parts = arrival([1000, 1000], 0.05, np.random.default_rng(0))
    order = np.concatenate(parts)
    assert len(np.unique(order, axis=0)) == 2000
    assert 5 < (parts[0][:, 0] == 1).sum() < 60
    assert (parts[0][:700, 0] == 0).all()
    assert (parts[1][300:, 0] == 1).all()


def test_batches_and_gather():
    tasks = split_tasks(DATA, [[0, 1], [2, 3]], validation_share=0)
    pairs = np.array([[1, 3], [0, 2], [1, 0]])
    images, labels = gather(tasks, pairs)
    assert labels.tolist() == [tasks[1].train.labels[3], tasks[0].train.labels[2], tasks[1].train.labels[0]]
    assert np.array_equal(images[1], tasks[0].train.inputs[2])
    assert [len(part) for part in batches(np.arange(7), 3)] == [3, 3, 1]
    assert [len(part) for part in batches(np.arange(7), 3, drop_last=True)] == [3, 3]


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Stream("class-incremental", split_tasks(DATA, [[0, 1], [1, 2]])), "class 1, which task '0,1' already"),
        (lambda: Stream("anything", split_tasks(DATA, [[0]])), "scenario is 'anything'"),  # type: ignore[arg-type]
        (lambda: Stream("task-free", ()), "no task"),
        (lambda: Stream("domain-incremental", split_tasks(DATA, [[0], [1]])), "build them with domain_labels"),
        (lambda: split_tasks(DATA, [[0], []]), "expected one or more in each"),
        (lambda: split_tasks(DATA, [[0, 0]]), "names a class twice"),
        (lambda: split_tasks(DATA, [[9]]), "class 9 has no image"),
        (lambda: split_tasks(DATA, [[0]], validation_share=1.0), "validation_share is 1.0"),
        (lambda: domain_labels(split_tasks(DATA, [[0, 1], [2]])), "as many in each"),
        (lambda: rotated_tasks(DATA, []), "no task"),
        (lambda: arrival([3], -1.0, np.random.default_rng(0)), "blur is -1.0"),
    ],
)
def test_what_makes_no_sense_is_refused(make, sentence):
    with pytest.raises(InputError, match=sentence):
        make()
