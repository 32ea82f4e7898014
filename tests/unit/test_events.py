"""Recordings of spikes: what is taken, what is refused, and their bins against a plain loop."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikelore.data import Events, Examples
from spikelore.data import events as events_module
from spikelore.data.events import as_bins, as_events, check_bins
from spikelore.data.examples import concatenated
from spikelore.data.streams import Task, gather, joint
from spikelore.errors import InputError
from spikelore.shapes import as_images

THREE = Events([0, 1500, 1500, 700], [2, 0, 2, 1], [0, 3, 3, 4], (3,))


@st.composite
def recordings(draw):
    """Recordings of (units,) or (channels, rows, columns), some of them empty, times ascending."""
    shape = draw(st.sampled_from([(1,), (5,), (2, 3, 4)]))
    pairs = []
    for _ in range(draw(st.integers(0, 5))):
        times = sorted(draw(st.lists(st.integers(0, 120), max_size=12)))
        pairs.append((times, [draw(st.integers(0, int(np.prod(shape)) - 1)) for _ in times]))
    return pairs, Events.of_recordings(pairs, shape)


def looped(pairs, shape, steps, bin_us, late):
    """How many events are in each bin, one event after the other."""
    counts = np.zeros((len(pairs), steps, *shape), np.uint32)
    for n, (times, units) in enumerate(pairs):
        for time, unit in zip(times, units, strict=True):
            step = time // bin_us
            if step >= steps and late == "last":
                step = steps - 1
            if step < steps:
                counts[(n, step, *np.unravel_index(unit, shape))] += 1
    return counts


@settings(max_examples=200, deadline=None)
@given(
    recordings(), st.integers(1, 6), st.integers(1, 50), st.sampled_from(["drop", "last"]), st.sampled_from([1, 3, 99])
)
def test_bins_and_counts_are_those_of_a_plain_loop(given_, steps, bin_us, late, chunk):
    pairs, events = given_
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(events_module, "_CHUNK", chunk)
        events = Events(events.times_us, events.units, events.offsets, events.unit_shape)  # looked at by chunks
        expected = looped(pairs, events.unit_shape, steps, bin_us, late)
        counts = events.counts(steps, bin_us, late=late)
        bins = events.bins(steps, bin_us, late=late)
    np.testing.assert_array_equal(counts, expected)
    np.testing.assert_array_equal(bins, expected > 0)
    assert (bins.dtype, counts.dtype) == (np.bool_, np.uint32)


@settings(max_examples=100, deadline=None)
@given(recordings(), st.data())
def test_parts_are_the_recordings_that_were_asked_for(given_, data):
    pairs, events = given_
    picked = data.draw(st.lists(st.integers(0, len(pairs) - 1), max_size=6)) if pairs else []
    first, last = data.draw(st.integers(0, 6)), data.draw(st.integers(0, 6))
    mask = np.array([data.draw(st.booleans()) for _ in pairs], bool)
    for part, numbers in [
        (events[picked], picked), (events[np.array(picked, int)], picked), (events[mask], np.flatnonzero(mask)),
        (events[first:last], range(len(pairs))[first:last]), (events[::-1], range(len(pairs))[::-1]),
    ]:  # fmt: skip
        expected = Events.of_recordings([pairs[n] for n in numbers], events.unit_shape)
        for name in ("times_us", "units", "offsets"):
            np.testing.assert_array_equal(getattr(part, name), getattr(expected, name))
        assert part.shape == expected.shape == (len(numbers), *events.unit_shape)


@settings(max_examples=50, deadline=None)
@given(recordings(), st.integers(1, 6), st.integers(1, 50))
def test_dense_bins_turned_sparse_are_the_same_bins(given_, steps, bin_us):
    bins = given_[1].bins(steps, bin_us)
    again = Events.of_bins(bins, bin_us)
    np.testing.assert_array_equal(again.bins(steps, bin_us), bins)
    np.testing.assert_array_equal(as_events(bins, bin_us).offsets, again.offsets)


def test_what_recordings_say_of_themselves():
    assert (len(THREE), THREE.shape, THREE.lengths.tolist()) == (3, (3, 3), [3, 0, 1])
    assert (THREE.durations_us.tolist(), THREE.duration_us) == ([1501, 0, 701], 1501)
    assert (THREE.times_us.dtype, THREE.units.dtype, THREE.offsets.dtype) == (np.int32, np.uint16, np.int64)
    assert THREE.nbytes == 4 * 4 + 4 * 2 + 4 * 8
    both = Events.concatenated([THREE, THREE[[2, 0]]])
    assert (both.lengths.tolist(), both.times_us.tolist()) == (
        [3, 0, 1, 1, 3],
        [0, 1500, 1500, 700, 700, 0, 1500, 1500],
    )
    assert np.shares_memory(THREE[1:].times_us, THREE.times_us)
    assert Events([2**40], [70000], [0, 1], (2, 200, 200)).times_us.dtype == np.int64


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"units": [2, 0, 3, 1]}, r"^recording 0 has a spike of unit 3, expected 0 to 2 for units of shape \(3,\);"),
        ({"units": [2, 0, -3, 1]}, r"^units are -3 to 2, expected 0 to 4294967295; correct them"),
        ({"times_us": [0, 1500, 1400, 7]}, r"^times of recording 0 go back, from 1500 to 1400 us, expected ascending"),
        ({"times_us": [0, 1500, 1500, -7]}, r"^recording 2 has a spike at -7 us, expected 0 or more; count from"),
        ({"times_us": [0.0, 0.1, 0.2, 0.3]}, r"^times_us are float64 of shape \(4,\), expected whole numbers of shape"),
        ({"times_us": [0, 1]}, r"^there are 2 times and 4 units, expected one of each an event; take both"),
        ({"offsets": [0, 3, 2, 4]}, r"^offsets are 0 to 4, expected ascending ones from 0 to 4, the number of events"),
        ({"offsets": [0, 3]}, r"^offsets are 0 to 3, expected ascending ones from 0 to 4"),
        ({"offsets": []}, r"^offsets are empty, expected"),
        ({"unit_shape": (3, 4)}, r"^unit_shape is \(3, 4\), expected \(units,\) or \(channels, rows, columns\)"),
        ({"unit_shape": 3}, r"^unit_shape is 3, expected"),
        ({"unit_shape": (2**33,)}, r"has 8589934592 units, expected at most 4294967296"),
    ],
)  # fmt: skip
def test_recordings_that_cannot_be_are_refused_in_a_sentence(changes, says):
    given_ = {"times_us": THREE.times_us, "units": THREE.units, "offsets": THREE.offsets, "unit_shape": (3,), **changes}
    with pytest.raises(InputError, match=says):
        Events(**given_)


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (lambda: THREE[1], r"^recordings are picked by 1, expected indices; give \[1\] for one"),
        (lambda: THREE[[5]], r"^these recordings of 3 cannot be taken \(index 5 is out of bounds.*; give whole"),
        (lambda: np.asarray(THREE), r"^these are 3 recordings of spikes of units \(3,\), expected an array; make one"),
        (lambda: as_images(THREE), r"^these are 3 recordings of spikes of units \(3,\), expected an array; make one"),
        (lambda: THREE.bins(0, 5), r"^steps is 0, expected a whole number of 1 or more"),
        (lambda: THREE.bins(5, 0), r"^bin_us is 0, expected a whole number of 1 or more"),
        (lambda: THREE.bins(5, 5, late="no"), r"^late is 'no', expected drop or last; choose one"),
        (lambda: THREE.bins(2**60, 5), r"do not fit the memory, expected fewer; take a part"),
        (lambda: Events.concatenated([THREE, Events([], [], [0], (4,))]), r"units of 2 shapes \(3,\) \(4,\), expected"),
        (lambda: Events.concatenated([]), r"units of 0 shapes, expected one"),
        (lambda: Events.of_bins(np.zeros((2, 3, 4))), r"^bins are float64 of shape \(2, 3, 4\), expected bool of"),
        (lambda: Events.of_recordings([([1], [])], (2,)), r"^recording 0 has times of shape \(1,\) and units of shape"),
        (lambda: check_bins(THREE, 4, 1501), r"^bins are 1501 us long and the longest recording 1501 us, expected"),
        (lambda: as_bins(THREE, 4, 10, (5,)), r"bool of shape \(3, 4, 3\), expected events, or bool .*steps, 5\);"),
        (lambda: as_bins(np.zeros((1, 2, 5)), 4, 10, (5,)), r"float64 of shape"),
        (lambda: Examples(THREE, [0]), r"^there are 1 labels for 3 recordings, expected one label a recording; take"),
        (lambda: Examples(THREE, [0, 1, 2], {"speaker": [1]}), r"^speaker numbers have shape \(1,\), expected \(3,\)"),
        (lambda: Examples(THREE, [0, 1, 2]).of_groups("speaker", [1]), r"not told apart by 'speaker', by nothing but"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_is_refused_in_a_sentence(asked, says):
    with pytest.raises(InputError, match=says):
        asked()


def test_bins_of_several_a_recording_are_fine_and_dense_ones_pass():
    check_bins(THREE, 4, 1500)
    check_bins(THREE, 1, 10**6)
    check_bins(THREE[[1]], 4, 10)
    dense = np.zeros((2, 7, 3), bool)
    assert as_bins(dense, 4, 10, (3,)) is dense


def test_examples_hold_recordings_or_images_and_join_their_like():
    told = Examples(THREE, [4, 5, 4], {"speaker": [0, 1, 2]})
    assert told.inputs is THREE
    assert told.of_classes([4]).groups["speaker"].tolist() == [0, 2]
    assert told.of_groups("speaker", [0, 1]).labels.tolist() == [4, 5]
    assert told.of_groups("speaker", [0, 1], but=True).labels.tolist() == [4]
    both = concatenated([told, told.take([1]), Examples(THREE[:1], [9])])
    assert (both.labels.tolist(), both.inputs.lengths.tolist(), dict(both.groups)) == (
        [4, 5, 4, 5, 9],
        [3, 0, 1, 0, 3],
        {},
    )
    assert isinstance(Examples(np.zeros((2, 4, 3), bool), [0, 1]).inputs, Events)
    with pytest.raises(InputError, match=r"^cannot join images of \(2, 2\) and recordings of \(3,\), expected inputs"):
        concatenated([told, Examples(np.zeros((1, 2, 2), np.uint8), [0])])


def test_a_stream_gathers_and_joins_recordings_of_its_tasks_in_order():
    told = Examples(THREE, [4, 5, 4])
    tasks = [Task("a", (4,), told.take([0, 2]), told.take([0]), told.take([2])), Task("b", (5,), *[told.take([1])] * 3)]
    inputs, labels = gather(tasks, np.array([[1, 0], [0, 1], [0, 0], [1, 0]]))
    assert (labels.tolist(), inputs.lengths.tolist()) == ([5, 4, 4, 5], [0, 1, 3, 0])
    assert (len(gather(tasks, np.zeros((0, 2), int))[0]), joint(tasks).train.inputs.lengths.tolist()) == (0, [3, 1, 0])
