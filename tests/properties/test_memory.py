"""What a memory promises for any stream: its size, uniformity, balance, and an exact state."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikelore.continual.memory import POLICIES, Budget, Memory
from spikelore.continual.storage import PackedSpikes, RawImages
from spikelore.errors import InputError

ROW = 4


def rows_of(numbers: np.ndarray) -> np.ndarray:
    """Give each example of a stream a row that carries its number."""
    return np.ascontiguousarray(numbers.astype("<u4")).view(np.uint8).reshape(-1, ROW)


def numbers_of(memory: Memory) -> np.ndarray:
    rows, _, _ = memory.get(np.flatnonzero(memory.state_dict()["labels"] >= 0))
    return rows.view("<u4").ravel()


def filled(policy: str, places: int, labels: list[int], seed: int, tasks: int = 1) -> Memory:
    memory = Memory(policy, places, ROW, np.random.default_rng(seed), tasks=tasks)  # type: ignore[arg-type]
    memory.offer(rows_of(np.arange(len(labels))), np.array(labels, np.int64))
    return memory


LABELS = st.lists(st.integers(0, 4), max_size=80)


@given(policy=st.sampled_from(POLICIES), places=st.integers(1, 30), labels=LABELS, seed=st.integers(0, 99))
def test_a_memory_holds_distinct_examples_of_the_stream_and_never_more_than_its_places(policy, places, labels, seed):
    memory = filled(policy, places, labels, seed)
    kept = numbers_of(memory)
    assert len(memory) == len(kept) == min(places, len(labels))
    assert len(set(kept.tolist())) == len(kept)
    assert memory.labels.tolist() == [labels[number] for number in kept]
    assert memory.bytes == places * (ROW + 1)


@given(places=st.integers(1, 40), labels=LABELS, seed=st.integers(0, 99))
def test_class_balanced_memory_is_as_balanced_as_the_stream_allows(places, labels, seed):
    memory = filled("class-balanced", places, labels, seed)
    offered = np.bincount(labels, minlength=5)
    held = np.bincount(memory.labels, minlength=5) if len(memory) else np.zeros(5, int)
    # A class smaller than the largest by more than one holds all that it ever offered.
    for one in range(5):
        assert held[one] >= held.max() - 1 or held[one] == offered[one]


@given(policy=st.sampled_from(POLICIES), labels=LABELS, more=LABELS, seed=st.integers(0, 99))
def test_a_restored_memory_goes_on_as_the_first_would_have(policy, labels, more, seed):
    memory = filled(policy, 12, labels, seed)
    state = {name: array.copy() for name, array in memory.state_dict().items()}
    twin = Memory(policy, 12, ROW, np.random.default_rng(0))
    twin.load_state_dict(state)
    twin.rng.bit_generator.state = memory.rng.bit_generator.state
    for each in (memory, twin):
        each.offer(rows_of(1000 + np.arange(len(more))), np.array(more, np.int64))
    for name, array in memory.state_dict().items():
        assert np.array_equal(twin.state_dict()[name], array), name


def chances(policy: str, labels: list[int], places: int, trials: int = 3000) -> np.ndarray:
    """Return how often each example of a stream is held, over independent memories."""
    counts = np.zeros(len(labels))
    for seed in range(trials):
        counts[numbers_of(filled(policy, places, labels, seed))] += 1
    return counts / trials


def test_reservoir_keeps_every_example_with_the_same_probability():
    held = chances("reservoir", [0] * 24, places=6)
    # 24 shares of 6/24 over 3000 trials: a standard deviation of 0.008.
    assert np.abs(held - 6 / 24).max() < 4 * 0.008


def test_class_balanced_memory_keeps_the_examples_of_a_class_with_the_same_probability():
    labels = [0] * 18 + [1] * 9 + [0] * 6 + [2] * 12
    held = chances("class-balanced", labels, places=9)
    for one in range(3):
        mine = held[np.array(labels) == one]
        assert np.abs(mine - mine.mean()).max() < 4 * np.sqrt(mine.mean() * (1 - mine.mean()) / 3000)
        assert mine.sum() == pytest.approx(3, abs=0.35)


def test_ring_keeps_the_last_of_each_task():
    memory = Memory("ring", 6, ROW, np.random.default_rng(0), tasks=2)
    memory.offer(rows_of(np.arange(5)), np.zeros(5, np.int64), task=0)
    memory.offer(rows_of(np.arange(5, 7)), np.ones(2, np.int64), task=1)
    assert sorted(numbers_of(memory).tolist()) == [2, 3, 4, 5, 6]


@given(policy=st.sampled_from(POLICIES), labels=LABELS, seed=st.integers(0, 99))
def test_examples_in_a_shorter_form_change_nothing_else(policy, labels, seed):
    images = np.random.default_rng(seed).integers(0, 256, (len(labels), 3, 3), np.uint8)
    raw, packed = RawImages((3, 3)), PackedSpikes((3, 3))
    memory, twin = (Memory(policy, 7, 9, np.random.default_rng(seed), tasks=2) for _ in range(2))
    for n, label in enumerate(labels):
        memory.offer(raw.pack(images[n : n + 1]), np.array([label]), task=1)
        twin.offer(packed.pack(images[n : n + 1] >= 128), np.array([label]), task=1)
    rows, held, _ = memory.get(memory.taken())
    memory.replace(memory.taken(), packed.pack(raw.unpack(rows) >= 128))
    for name, array in memory.state_dict().items():
        assert np.array_equal(twin.state_dict()[name], array), name
    assert np.array_equal(packed.unpack(memory.get(memory.taken())[0]), raw.unpack(rows) >= 128)
    assert memory.labels.tolist() == held.tolist()


def test_a_ring_counts_only_places_that_its_tasks_can_use():
    memory = Memory("ring", 7, ROW, np.random.default_rng(0), tasks=3)
    assert (memory.places, memory.bytes) == (6, 6 * (ROW + 1))


def test_balanced_sampling_draws_classes_alike_and_plain_sampling_examples():
    memory = filled("reservoir", 40, [0] * 36 + [1] * 4, seed=0)
    labels = memory.get(memory.sample(4000, balanced=True))[1]
    assert labels.mean() == pytest.approx(0.5, abs=0.04)
    assert memory.get(memory.sample(40))[1].sum() == 4  # every example once


@settings(max_examples=25)
@given(
    shape=st.lists(st.integers(1, 5), min_size=1, max_size=4).map(tuple),
    count=st.integers(0, 4),
    seed=st.integers(0, 9),
)
def test_packed_spikes_come_back_bit_for_bit_in_an_eighth_of_the_room(shape, count, seed):
    spikes = (np.random.default_rng(seed).random((count, *shape)) < 0.3).astype(np.uint8)
    storage = PackedSpikes(shape)
    rows = storage.pack(spikes)
    assert rows.shape == (count, storage.row_bytes)
    assert storage.row_bytes == -(-int(np.prod(shape)) // 8)
    assert np.array_equal(storage.unpack(rows), spikes)


def test_raw_images_come_back():
    images = np.random.default_rng(0).integers(0, 256, (3, 5, 7), np.uint8)
    storage = RawImages((5, 7))
    assert storage.row_bytes == 35
    assert np.array_equal(storage.unpack(storage.pack(images)), images)


def test_a_budget_in_bytes_counts_labels_and_packing():
    assert PackedSpikes((28, 28)).row_bytes == 98
    assert Budget(bytes=30_000).examples(98 + 1, 10) == 303
    assert Budget(images=300).examples(785, 10) == 300


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Budget(), "budget of 0 images and 0 bytes"),
        (lambda: Budget(images=3, bytes=3), "one of them above 0"),
        (lambda: Budget(images=5).examples(99, 10), "holds 5 examples, fewer than the 10 classes"),
        (lambda: Budget(bytes=700).examples(785, 2), r"700 bytes \(785 an example\) holds 0 examples"),
        (lambda: Memory("best", 3, ROW, np.random.default_rng(0)), "memory.policy is 'best'"),  # type: ignore[arg-type]
        (lambda: Memory("ring", 3, ROW, np.random.default_rng(0), tasks=4), "3 places cannot serve 4 tasks"),
        (lambda: filled("ring", 3, [1], 0).offer(rows_of(np.arange(1)), np.zeros(1, np.int64), task=1), "task 1 were"),
        (lambda: Memory("ring", 0, ROW, np.random.default_rng(0)), "0 places"),
        (lambda: filled("reservoir", 3, [], 0).sample(2), "the memory is empty"),
    ],
)
def test_what_makes_no_sense_is_refused(make, sentence):
    with pytest.raises(InputError, match=sentence):
        make()


@given(
    policy=st.sampled_from(POLICIES), places=st.integers(6, 30), fewer=st.integers(6, 30), labels=LABELS, more=LABELS,
    tasks=st.integers(1, 3), further=st.integers(0, 3), seed=st.integers(0, 99),
)  # fmt: skip
def test_a_resized_memory_keeps_what_fits_and_goes_on(policy, places, fewer, labels, more, tasks, further, seed):
    memory = Memory(policy, places, ROW, np.random.default_rng(seed), extras=1, tasks=tasks)
    for number, label in enumerate(labels):
        task = number * tasks // len(labels)
        extras = np.full((1, 1), number, np.float32)
        memory.offer(rows_of(np.array([number])), np.array([label]), task=task, extras=extras)
    held = set(numbers_of(memory).tolist())
    by_class = np.bincount(memory.labels, minlength=5)
    fewer = min(fewer, places)
    memory.resize(fewer, extras=3, tasks=tasks + further)
    kept = numbers_of(memory).tolist()
    assert len(memory) == len(kept) == len(set(kept))
    assert set(kept) <= held
    assert memory.bytes <= fewer * (ROW + 1 + 4 * 3)
    assert memory.labels.tolist() == [labels[number] for number in kept]
    _, _, extras = memory.get(memory.taken())
    assert extras[:, 0].tolist() == kept
    assert np.isnan(extras[:, 1:]).all()
    if policy == "ring":
        for task in range(tasks):  # the newest of each task
            mine = [number for number in range(len(labels)) if number * tasks // len(labels) == task]
            each = [number for number in kept if number in mine]
            assert sorted(each) == mine[len(mine) - min(len(mine), fewer // (tasks + further)) :]
    else:
        assert len(kept) == min(len(held), fewer)
    if policy == "class-balanced":
        left = np.bincount(memory.labels, minlength=5)
        for one in range(5):  # only the largest classes gave something away
            assert left[one] == by_class[one] or left[one] >= left.max() - 1
    twin = Memory(policy, fewer, ROW, np.random.default_rng(0), extras=3, tasks=tasks + further)
    twin.load_state_dict({name: array.copy() for name, array in memory.state_dict().items()})
    twin.rng.bit_generator.state = memory.rng.bit_generator.state
    for each in (memory, twin):
        for number, label in enumerate(more):
            rows = rows_of(np.array([1000 + number]))
            each.offer(rows, np.array([label]), task=tasks + further - 1, extras=np.zeros((1, 3), np.float32))
    assert len(memory) == len(set(numbers_of(memory).tolist())) <= fewer
    assert numbers_of(memory).tolist() == numbers_of(twin).tolist()


def test_a_reservoir_made_smaller_stays_uniform():
    counts = np.zeros(40)
    for seed in range(3000):
        memory = Memory("reservoir", 16, ROW, np.random.default_rng(seed))
        memory.offer(rows_of(np.arange(30)), np.zeros(30, np.int64))
        memory.resize(8, extras=0, tasks=1)
        memory.offer(rows_of(np.arange(30, 40)), np.zeros(10, np.int64))
        counts[numbers_of(memory)] += 1
    # 8 of 40 are kept: binomial, standard deviation 22
    assert np.abs(counts - 600).max() < 4.5 * 22


def test_a_ring_that_cannot_serve_more_tasks_is_refused_and_stays():
    memory = filled("ring", 3, [0, 1, 2], 0)
    with pytest.raises(InputError, match="a ring memory of 3 places cannot serve 4 tasks"):
        memory.resize(3, extras=0, tasks=4)
    assert len(memory) == 3
