"""Arithmetic coding of spikes as its definition.

An interval of 32-bit numbers is divided at each bit by its probability, no spike below a spike, and the part of the bit
goes on. Leading bytes on which its ends agree are written. Any number of the last interval stands for the record: a
byte, and zeros that are left out, as are those before it.
"""

import numpy as np

from spikelore.kernels.spike_coder.model import FIRST, LAST, LEAST, ONE, PRIOR

_ALL = 0xFFFFFFFF


class _Model:
    def __init__(self):
        self.chances, self.counts = PRIOR.tolist(), [FIRST] * len(PRIOR)

    def split(self, low, high, context):
        return low + ((high - low) * (ONE - self.chances[context]) >> 16)

    def learn(self, context, bit):
        moved = self.chances[context] + (bit * ONE - self.chances[context]) // self.counts[context]
        self.chances[context] = min(max(moved, LEAST), ONE - LEAST)
        self.counts[context] = min(self.counts[context] + 1, LAST)


def _context(bits, t, c, h, w):
    def at(t, c, h, w):
        inside = t >= 0 and h >= 0 and 0 <= w < bits.shape[3]
        return int(bits[t, c, h, w]) if inside else 0

    before = [(t, c, h, w - 1), (t, c, h, w - 2), *((t, c, h - 1, w + side) for side in (-1, 0, 1)), (t - 1, c, h, w)]
    return sum(at(*place) << n for n, place in enumerate(before))


def encode(spikes):
    """See `spikelore.kernels.spike_coder.encode`; (N,T,C,H,W) uint8."""
    return [_encoded(bits) for bits in spikes]


def _encoded(bits):
    model, low, high, written = _Model(), 0, _ALL, bytearray()
    for place in np.ndindex(bits.shape):
        context, bit = _context(bits, *place), int(bits[place])
        middle = model.split(low, high, context)
        low, high = (middle + 1, high) if bit else (low, middle)
        model.learn(context, bit)
        while low >> 24 == high >> 24:
            written.append(high >> 24)
            low, high = low << 8 & _ALL, (high << 8 & _ALL) | 255
    if low:
        written.append(high >> 24)
    return np.frombuffer(bytes(written).rstrip(b"\0") or b"\0", np.uint8)


def decode_(found, record, ends):
    """Write (N,T,C,H,W) bits of N records, which lie one after the other; (N+1,) where each begins and ends."""
    for bits, begin, end in zip(found, ends[:-1].tolist(), ends[1:].tolist(), strict=True):
        left = iter(record[begin:end].tolist())
        model, low, high, value = _Model(), 0, _ALL, 0
        for _ in range(4):
            value = value << 8 | next(left, 0)
        for place in np.ndindex(bits.shape):
            context = _context(bits, *place)
            middle = model.split(low, high, context)
            bit = int(value > middle)
            low, high = (middle + 1, high) if bit else (low, middle)
            bits[place] = bit
            model.learn(context, bit)
            while low >> 24 == high >> 24:
                low, high = low << 8 & _ALL, (high << 8 & _ALL) | 255
                value = (value << 8 & _ALL) | next(left, 0)
