"""Arithmetic coding of spikes on the processor, records spread over the cores."""

import numpy as np

from spikelore.kernels.compiled import compiled, over_cores
from spikelore.kernels.spike_coder.model import FIRST, LAST, LEAST, ONE, PRIOR

_ALL = 0xFFFFFFFF
_LONGEST = 12
"""Bits that one bit takes at most: it has a probability of 16 / 65536 or more."""


@compiled()
def _context(bits, t, c, h, w):
    row, context = bits[t, c, h], 0
    if w > 0:
        context |= row[w - 1]
    if w > 1:
        context |= row[w - 2] << 1
    if h > 0:
        above = bits[t, c, h - 1]
        if w > 0:
            context |= above[w - 1] << 2
        context |= above[w] << 3
        if w + 1 < len(above):
            context |= above[w + 1] << 4
    if t > 0:
        context |= bits[t - 1, c, h, w] << 5
    return context


@compiled()
def _learn(chances, counts, context, bit):
    moved = chances[context] + (bit * ONE - chances[context]) // counts[context]
    chances[context] = min(max(moved, LEAST), ONE - LEAST)
    counts[context] = min(counts[context] + 1, LAST)


@over_cores
@compiled()
def _encode(begin, end, spikes, written, lengths):
    for n in range(begin, end):
        chances, counts = PRIOR.copy(), np.full(len(PRIOR), FIRST)
        low, high, used = np.int64(0), np.int64(_ALL), 0
        bits = spikes[n]
        for t, c, h, w in np.ndindex(bits.shape):
            context, bit = _context(bits, t, c, h, w), np.int64(bits[t, c, h, w])
            middle = low + ((high - low) * (ONE - chances[context]) >> 16)
            if bit:
                low = middle + 1
            else:
                high = middle
            _learn(chances, counts, context, bit)
            while low >> 24 == high >> 24:
                written[n, used] = high >> 24
                used += 1
                low, high = low << 8 & _ALL, (high << 8 & _ALL) | 255
        if low:
            written[n, used] = high >> 24
            used += 1
        while used > 1 and written[n, used - 1] == 0:
            used -= 1
        lengths[n] = max(used, 1)


def encode(spikes):
    """See `spikelore.kernels.spike_coder.encode`; (N,T,C,H,W) uint8."""
    written = np.zeros((len(spikes), spikes[0].size * _LONGEST // 8 + 8 if len(spikes) else 0), np.uint8)
    lengths = np.zeros(len(spikes), np.int64)
    _encode(len(spikes), spikes, written, lengths)
    return [row[:length].copy() for row, length in zip(written, lengths.tolist(), strict=True)]


@over_cores
@compiled()
def _decode(begin, end, found, record, ends):
    for n in range(begin, end):
        chances, counts = PRIOR.copy(), np.full(len(PRIOR), FIRST)
        low, high, value = np.int64(0), np.int64(_ALL), np.int64(0)
        at = ends[n]
        for _ in range(4):
            value = value << 8 | (np.int64(record[at]) if at < ends[n + 1] else 0)
            at += 1
        bits = found[n]
        for t, c, h, w in np.ndindex(bits.shape):
            context = _context(bits, t, c, h, w)
            middle = low + ((high - low) * (ONE - chances[context]) >> 16)
            bit = np.int64(value > middle)
            if bit:
                low = middle + 1
            else:
                high = middle
            bits[t, c, h, w] = bit
            _learn(chances, counts, context, bit)
            while low >> 24 == high >> 24:
                low, high = low << 8 & _ALL, (high << 8 & _ALL) | 255
                value = (value << 8 & _ALL) | (np.int64(record[at]) if at < ends[n + 1] else 0)
                at += 1


def decode_(found, record, ends):
    """See `spikelore.kernels.spike_coder.reference.decode_`."""
    _decode(len(found), found, record, ends)
