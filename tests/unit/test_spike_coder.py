"""Arithmetic coded spikes: what comes back, how many bytes they take, and the same bytes from both backends."""

from math import log2

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikelore.continual.storage import CodedSpikes, CompressedSteps, PackedSpikes, packed_spikes
from spikelore.data import load
from spikelore.kernels import compiled, spike_coder
from spikelore.kernels.spike_coder import reference
from spikelore.networks.gradient_learning import SPIKE_FROM

BACKENDS = ["reference", *(["numba_cpu"] if compiled.AVAILABLE else [])]


@st.composite
def spikes(draw: st.DrawFn) -> np.ndarray:
    """Examples of one to five axes, silent and full ones among them, in part with runs as real ones have."""
    shape = draw(st.lists(st.integers(1, 6), min_size=1, max_size=5))
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    found = rng.random((draw(st.integers(0, 4)), *shape)) < draw(st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]))
    return np.repeat(found, draw(st.sampled_from([1, 1, 5])), axis=-1)


@settings(deadline=None)
@given(spikes())
def test_every_spike_comes_back_from_the_same_bytes_of_both_backends(shown):
    every = [spike_coder.encode(shown, backend=backend) for backend in BACKENDS]
    for records in every:
        assert [record.tobytes() for record in records] == [record.tobytes() for record in every[0]]
        for backend in BACKENDS:
            assert (spike_coder.decode(records, shown.shape[1:], backend=backend) == shown).all()


@given(spikes())
def test_a_record_needs_nothing_but_itself(shown):
    records = spike_coder.encode(shown, backend="reference")
    for n, record in enumerate(records):
        (alone,) = spike_coder.encode(shown[n : n + 1], backend="reference")
        assert alone.tobytes() == record.tobytes()
        assert (spike_coder.decode([record], shown.shape[1:], backend="reference")[0] == shown[n]).all()


def likelihood(bits: np.ndarray) -> float:
    """Return the bits that the model asks for: the sum of ``-log2 p``."""
    model, total = reference._Model(), 0.0
    for place in np.ndindex(bits.shape):
        context, bit = reference._context(bits, *place), int(bits[place])
        chance = model.chances[context] / 65536
        total -= log2(chance if bit else 1 - chance)
        model.learn(context, bit)
    return total


@pytest.mark.parametrize("share", [0.02, 0.2, 0.5, 1.0])
def test_records_are_as_long_as_their_likelihood_asks(share):
    shown = np.random.default_rng(3).random((5, 2, 2, 9, 11)) < share
    for bits, record in zip(shown, spike_coder.encode(shown), strict=True):
        # The last byte and zeros that are left out; what is lost where an interval is cut at whole numbers.
        assert abs(len(record) - likelihood(bits.astype(np.uint8)) / 8) < 1.5


def test_silence_takes_a_byte():
    assert [record.tolist() for record in spike_coder.encode(np.zeros((1, 4, 2, 34, 34)))] == [[0]]


def test_pictures_of_digits_take_less_than_a_quarter():
    pictures = load("digits-sample").train.inputs >= SPIKE_FROM
    mean = np.mean([len(record) for record in spike_coder.encode(pictures)])
    assert mean < PackedSpikes(pictures.shape[1:]).row_bytes / 4


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("record", [[], [0], [255] * 40])
def test_any_bytes_give_spikes_and_nothing_beyond_a_record_is_read(backend, record):
    alone = spike_coder.decode([np.array(record, np.uint8)], (3, 4), backend=backend)
    among = spike_coder.decode([np.array(each, np.uint8) for each in ([9], record, [200])], (3, 4), backend=backend)
    assert set(np.unique(alone)) <= {0, 1}
    assert (among[1] == alone[0]).all()


@given(spikes(), st.integers(1, 3))
def test_any_form_of_bits_can_be_coded(shown, every):
    form = packed_spikes(shown.shape[1:], every)
    coded = CodedSpikes(form)
    assert coded.row_bytes == 0
    assert (coded.unpack(coded.pack(shown)) == form.unpack(form.pack(shown))).all()


def test_short_replay_of_coded_spikes():
    shown = np.random.default_rng(0).random((3, 7, 4)) < 0.3
    form = CompressedSteps((7, 4), every=2, stretched=False)
    assert CodedSpikes(form).unpack(CodedSpikes(form).pack(shown)).shape == (3, 4, 4)
