"""What memories of spikes promise: what comes back, their true bytes, uniform samples, and an exact state."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spikelore.continual.memory import POLICIES
from spikelore.continual.records import Records, record_bytes
from spikelore.continual.storage import CompressedSteps, EventRecords, PackedSpikes, packed_spikes
from spikelore.data.events import Events
from spikelore.errors import InputError

UNITS = 7


@st.composite
def spikes(draw: st.DrawFn) -> np.ndarray:
    shape = draw(st.tuples(st.integers(0, 4), st.integers(1, 23), st.integers(1, 11)))
    return np.random.default_rng(draw(st.integers(0, 2**16))).random(shape) < draw(
        st.sampled_from([0.0, 0.1, 0.6, 1.0])
    )


@st.composite
def recordings(draw: st.DrawFn, pause: int = 200_000) -> Events:
    """Recordings with pauses that two bytes do not hold, and with none at all."""
    pauses = st.lists(st.tuples(st.sampled_from([0, 1, 900, 65_534, 65_535, 65_536, pause]), st.integers(0, UNITS - 1)))
    each = draw(st.lists(pauses, max_size=4))
    pairs = [([int(time) for time in np.cumsum([p for p, _ in one])], [unit for _, unit in one]) for one in each]
    return Events.of_recordings(pairs, (UNITS,))


@given(spikes(), st.integers(2, 12))
def test_compressed_steps_are_any_spike_of_them_put_back_at_the_last(shown, every):
    steps = shown.shape[1]
    blocks = [range(first, min(first + every, steps)) for first in range(0, steps, every)]
    storage = CompressedSteps(shown.shape[1:], every)
    rows = storage.pack(shown)
    assert rows.shape == (len(shown), storage.row_bytes)
    assert storage.row_bytes == -(-len(blocks) * shown.shape[2] // 8)
    back = storage.unpack(rows)
    expected = np.zeros(shown.shape, np.uint8)
    for block in blocks:
        expected[:, block[-1]] = shown[:, list(block)].any(1)
    assert back.shape == shown.shape
    assert (back == expected).all()
    short = CompressedSteps(shown.shape[1:], every, stretched=False).unpack(rows)
    assert (short == expected[:, [block[-1] for block in blocks]]).all()
    assert (storage.pack(back) == rows).all()  # what comes back is stored as the same


@given(spikes())
def test_a_compression_of_one_is_every_bit(shown):
    storage = packed_spikes(shown.shape[1:])
    assert storage == PackedSpikes(shown.shape[1:])
    assert (storage.unpack(storage.pack(shown)) == shown).all()


def test_bytes_of_the_sizes_that_memories_of_speech_have():
    assert packed_spikes((100, 700)).row_bytes == 8750
    assert packed_spikes((100, 700), 10).row_bytes == 875
    assert packed_spikes((100, 200), 10).row_bytes == 250
    assert packed_spikes((100, 50), 10).row_bytes == 63


@given(recordings())
def test_events_come_back_to_the_microsecond_in_four_bytes_each(shown):
    storage = EventRecords((UNITS,))
    records = storage.pack(shown)
    fillers = [
        sum(int(b - a) // 65_535 for a, b in pairwise([0, *part]))
        for part in np.split(shown.times_us, shown.offsets[1:-1])
    ]
    assert [len(record) for record in records] == [
        4 * (n + more) for n, more in zip(shown.lengths, fillers, strict=False)
    ]
    back = storage.unpack(records)
    for name in ("times_us", "units", "offsets"):
        assert (getattr(back, name) == getattr(shown, name)).all(), name
    assert back.unit_shape == shown.unit_shape


def test_events_of_a_large_camera_take_six_bytes():
    shown = Events([0, 70_000], [65_535, 327_679], [0, 2], (2, 400, 410))
    (record,) = EventRecords((2, 400, 410)).pack(shown)
    assert len(record) == 3 * 6
    assert (EventRecords((2, 400, 410)).unpack([record]).units == shown.units).all()


def test_bins_have_no_events_to_store():
    with pytest.raises(InputError, match="expected Events to be stored event by event"):
        EventRecords((3,)).pack(np.zeros((1, 2, 3), bool))


def records_of(numbers: np.ndarray, lengths: np.ndarray) -> list[np.ndarray]:
    """Give each example of a stream a record of its length that begins with its number."""
    return [
        np.concatenate([np.array([number], "<u4").view(np.uint8), np.zeros(length, np.uint8)])
        for number, length in zip(numbers, lengths, strict=True)
    ]


def numbers_of(memory: Records) -> list[int]:
    records, _, _ = memory.get(memory.taken())
    return [int(record[:4].view("<u4")[0]) for record in records]


def filled(policy, budget: int, labels: list[int], seed: int, *, tasks: int = 1, longest: int = 40) -> Records:
    memory = Records(policy, budget, np.random.default_rng(seed), extras=2, tasks=tasks)
    lengths = np.random.default_rng(1000 + seed).integers(0, longest, len(labels))
    extras = np.tile(np.arange(len(labels), dtype=np.float32)[:, None], 2)
    memory.offer(records_of(np.arange(len(labels)), lengths), np.array(labels, np.int64), extras=extras)
    return memory


LABELS = st.lists(st.integers(0, 4), max_size=80)


@given(policy=st.sampled_from(POLICIES), budget=st.integers(60, 900), labels=LABELS, seed=st.integers(0, 99))
def test_records_stay_within_their_bytes_and_are_of_the_stream(policy, budget, labels, seed):
    memory = filled(policy, budget, labels, seed)
    kept = numbers_of(memory)
    records, stored_labels, extras = memory.get(memory.taken())
    assert len(set(kept)) == len(kept) == len(memory) == memory.places
    assert memory.bytes == sum(record_bytes(len(record), 2) for record in records) <= budget
    assert stored_labels.tolist() == [labels[number] for number in kept]
    assert extras[:, 0].tolist() == kept
    # The next one would not have fitted, or nothing was left out.
    assert len(kept) == len(labels) or memory.bytes > budget - record_bytes(4 + 40, 2) - 40


@given(policy=st.sampled_from(POLICIES), labels=LABELS, more=LABELS, seed=st.integers(0, 99))
def test_restored_records_go_on_as_the_first_would_have(policy, labels, more, seed):
    memory = filled(policy, 300, labels, seed)
    state = {name: array.copy() for name, array in memory.state_dict().items()}
    twin = Records(policy, 300, np.random.default_rng(0), extras=2)
    twin.load_state_dict(state)
    twin.rng.bit_generator.state = memory.rng.bit_generator.state
    for each in (memory, twin):
        each.offer(records_of(1000 + np.arange(len(more)), np.arange(len(more)) % 30), np.array(more, np.int64))
    for name, array in memory.state_dict().items():
        assert np.array_equal(twin.state_dict()[name], array, equal_nan=array.dtype.kind == "f"), name


def test_records_of_one_length_are_a_uniform_sample():
    counts = np.zeros(24)
    for seed in range(2000):
        memory = Records("reservoir", 6 * record_bytes(4), np.random.default_rng(seed))
        memory.offer(records_of(np.arange(24), np.zeros(24, int)), np.zeros(24, np.int64))
        counts[numbers_of(memory)] += 1
    # 24 shares of 6/24 over 2000 trials: a standard deviation of 0.0097.
    assert np.abs(counts / 2000 - 6 / 24).max() < 4 * 0.0097


def test_a_balanced_memory_holds_as_many_records_of_each_class():
    labels = [0] * 60 + [1] * 30 + [2] * 10
    held = np.bincount(filled("class-balanced", 600, labels, 3).labels, minlength=3)
    assert held.max() - held.min() <= 1
    assert held.sum() > 12


def test_a_ring_of_records_gives_each_task_the_same_bytes_and_keeps_the_newest():
    memory = Records("ring", 2 * 3 * record_bytes(10), np.random.default_rng(0), tasks=2)
    for task in range(2):
        memory.offer(records_of(10 * task + np.arange(8), np.full(8, 6)), np.zeros(8, np.int64), task=task)
    assert numbers_of(memory) == [5, 6, 7, 15, 16, 17]
    with pytest.raises(InputError, match="task 2 were offered to a ring memory"):
        memory.offer([], np.zeros(0, np.int64), task=2)


def test_a_record_that_is_larger_than_the_memory_is_refused_in_a_sentence():
    with pytest.raises(
        InputError, match="takes 46 bytes in a memory that has 40, expected room for one at least; enlarge"
    ):
        Records("reservoir", 40, np.random.default_rng(0)).offer(
            records_of(np.arange(1), np.array([40])), np.zeros(1, int)
        )


def test_resized_records_fit_the_new_bytes_and_new_extras_are_unknown():
    memory = filled("class-balanced", 900, [0, 1] * 20, 0)
    before = set(numbers_of(memory))
    memory.resize(300, extras=3, tasks=1)
    assert memory.bytes <= 300
    assert set(numbers_of(memory)) < before
    _, _, extras = memory.get(memory.taken())
    assert np.isnan(extras[:, 2]).all()
    assert not np.isnan(extras[:, :2]).any()


@given(policy=st.sampled_from(POLICIES), labels=LABELS, seed=st.integers(0, 99))
def test_a_record_keeps_its_place_as_long_as_it_is_held(policy, labels, seed):
    memory = Records(policy, 100, np.random.default_rng(seed), tasks=1)
    of: dict[int, int] = {}
    for number, label in enumerate(labels):
        memory.offer(records_of(np.array([number]), np.array([number % 9])), np.array([label]))
        places = memory.taken()
        records, _, _ = memory.get(places)
        for place, record in zip(places.tolist(), records, strict=True):
            assert of.setdefault(place, int(record[:4].view("<u4")[0])) == int(record[:4].view("<u4")[0])


def test_a_record_costs_its_bytes_its_length_and_its_label():
    assert [record_bytes(size) for size in (0, 1, 127, 128, 16_383, 16_384)] == [2, 3, 129, 131, 16_386, 16_388]
    assert record_bytes(20, extras=10) == 62


def test_a_batch_with_a_record_that_does_not_fit_leaves_the_memory_as_it_was():
    memory = Records("ring", 100, np.random.default_rng(0), tasks=2)
    drawn = memory.rng.bit_generator.state
    with pytest.raises(InputError, match=r"takes 66 bytes in a memory that has 50 \(a task's part of 100\)"):
        memory.offer(records_of(np.arange(2), np.array([0, 60])), np.zeros(2, np.int64))
    assert len(memory) == 0
    assert memory.rng.bit_generator.state == drawn


def test_shorter_records_in_place_of_longer_ones_make_room_for_later_ones():
    memory = Records("reservoir", 600, np.random.default_rng(0))
    memory.offer(records_of(np.arange(100), np.full(100, 94)), np.zeros(100, np.int64))
    taken = memory.taken()
    memory.replace(taken, records_of(np.arange(len(taken)), np.zeros(len(taken), int)))
    memory.offer(records_of(np.arange(200), np.zeros(200, int)), np.zeros(200, np.int64))
    assert memory.bytes == 600


def test_replaced_records_fit_the_bytes_again():
    memory = filled("reservoir", 300, [0, 1] * 20, 0)
    taken = memory.taken()
    memory.replace(taken, [np.full(30, n, np.uint8) for n in range(len(taken))])
    records, labels, _ = memory.get(memory.taken())
    assert memory.bytes == sum(record_bytes(len(record), 2) for record in records) <= 300
    assert 0 < len(memory) == len(labels) < len(taken)
