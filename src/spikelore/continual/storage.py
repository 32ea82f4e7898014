"""Forms in which examples are stored: images, spikes and recordings as rows of bytes and back.

All lose nothing but what they say. A row has the same bytes whatever the example, but for recordings that are stored
event by event and for spikes that are arithmetic coded.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from spikelore.data.events import Events
from spikelore.errors import InputError
from spikelore.networks.protocol import SeesSpikes
from spikelore.shapes import Images, as_images

Rows = NDArray[np.uint8]
"""(N,R) uint8, one stored example a row."""
Record = NDArray[np.uint8]
"""(R,) uint8, one example stored in a length of its own."""
Form = Literal["raw", "spikes", "events"]
"""How inputs are stored: images a byte a pixel (``raw``) or, black and white, a bit (``spikes``); recordings of spikes
as the bins that the network makes of them, a bit each (``raw``), or event by event (``events``)."""

_LONGEST_PAUSE = 0xFFFF


class Storage(Protocol):
    """Turns examples into rows of bytes and back; bytes of a row beyond ``row_bytes`` are ignored."""

    @property
    def row_bytes(self) -> int:
        """Bytes of one example, without its label; 0 where each has its own length."""
        ...

    def pack(self, examples: Any) -> Any:
        """Return (N,R) rows of N examples, or a list of N records of their own length."""
        ...

    def unpack(self, rows: Any) -> Any:
        """Return the N examples of such rows."""
        ...


class SpikeStorage(Storage, Protocol):
    """A form of spikes, a bit each."""

    @property
    def stored_shape(self) -> tuple[int, ...]:
        """The shape of the bits of one example, which fill its row in this order."""
        ...


@dataclass(frozen=True)
class RawImages:
    """Grey images as they are, a byte a pixel.

    Attributes:
        shape: (H,W).
    """

    shape: tuple[int, int]

    @property
    def row_bytes(self) -> int:
        """H W bytes."""
        return self.shape[0] * self.shape[1]

    def pack(self, examples: Images) -> Rows:
        """Return the pixels of (N,H,W) uint8 images."""
        return examples.reshape(len(examples), self.row_bytes)

    def unpack(self, rows: Rows) -> Images:
        """Return (N,H,W) uint8."""
        return np.asarray(rows)[:, : self.row_bytes].reshape(-1, *self.shape)


@dataclass(frozen=True)
class PackedSpikes:
    """Spikes, eight a byte, in the order of their axes: a spike image (H,W), or a layer's (T,C,H,W).

    A 28x28 spike image takes 98 bytes.

    Attributes:
        shape: of one example.

    Example:
        >>> import numpy as np
        >>> storage = PackedSpikes((28, 28))
        >>> storage.row_bytes
        98
        >>> spikes = np.random.default_rng(0).random((3, 28, 28)) < 0.2
        >>> bool((storage.unpack(storage.pack(spikes)) == spikes).all())
        True
    """

    shape: tuple[int, ...]

    @property
    def row_bytes(self) -> int:
        """One byte for each eight neurons and steps, rounded up."""
        return -(-self._bits // 8)

    @property
    def stored_shape(self) -> tuple[int, ...]:
        """The shape itself: all bits are stored."""
        return self.shape

    @property
    def _bits(self) -> int:
        return int(np.prod(self.shape))

    def pack(self, examples: NDArray) -> Rows:
        """Return the rows of (N, ...) spikes; what is not 0 is a spike."""
        return np.packbits(examples.reshape(len(examples), self._bits) != 0, axis=1)

    def unpack(self, rows: Rows) -> NDArray[np.uint8]:
        """Return (N, ...) uint8, 0 or 1."""
        return np.unpackbits(rows, axis=1, count=self._bits).reshape(-1, *self.shape)


@dataclass(frozen=True)
class CompressedSteps:
    """Spikes over time of which ``every`` steps are stored as one, eight neurons a byte: any spike in them counts.

    What comes back has all steps, each stored spike at the last of its steps, or the stored steps alone.

    Attributes:
        shape: of one example, (T, ...).
        every: k, steps that become one; ``ceil(T / k)`` are stored.
        stretched: whether all T steps come back, else the stored ones, to be replayed in less time.

    Source: Dequino et al. 2024 (arXiv 2407.03111); at fewer steps: Replay4NCL (arXiv 2503.17061).

    Example:
        >>> import numpy as np
        >>> storage = CompressedSteps((6, 1), every=3)
        >>> rows = storage.pack(np.array([[[0], [1], [1], [0], [0], [0]]]))
        >>> storage.row_bytes, storage.unpack(rows)[0, :, 0].tolist()
        (1, [0, 0, 1, 0, 0, 0])
        >>> CompressedSteps((6, 1), every=3, stretched=False).unpack(rows)[0, :, 0].tolist()
        [1, 0]
    """

    shape: tuple[int, ...]
    every: int
    stretched: bool = True

    @property
    def stored_shape(self) -> tuple[int, ...]:
        """``(ceil(T / k), ...)``."""
        return -(-self.shape[0] // self.every), *self.shape[1:]

    @property
    def _packed(self) -> PackedSpikes:
        return PackedSpikes(self.stored_shape)

    @property
    def row_bytes(self) -> int:
        """One byte for each eight neurons and stored steps, rounded up."""
        return self._packed.row_bytes

    def pack(self, examples: NDArray) -> Rows:
        """Return the rows of (N,T,...) spikes; what is not 0 is a spike."""
        return self._packed.pack(np.logical_or.reduceat(examples != 0, range(0, self.shape[0], self.every), axis=1))

    def unpack(self, rows: Rows) -> NDArray[np.uint8]:
        """Return (N,T,...) uint8, 0 or 1, or (N,ceil(T/k),...) where it is not stretched."""
        stored = self._packed.unpack(rows)
        if not self.stretched:
            return stored
        found = np.zeros((len(rows), *self.shape), np.uint8)
        lasts = np.arange(self.every - 1, self.shape[0] + self.every - 1, self.every)
        found[:, np.minimum(lasts, self.shape[0] - 1)] = stored
        return found


def packed_spikes(shape: tuple[int, ...], every: int = 1, *, stretched: bool = True) -> SpikeStorage:
    """Return the form of spikes over time (T, ...) as bits, of which ``every`` steps are stored as one."""
    return PackedSpikes(shape) if every == 1 else CompressedSteps(shape, every, stretched)


@dataclass(frozen=True)
class EventRecords:
    """Recordings exactly as they came: of each event the microseconds since the one before and the unit, 2 bytes each.

    A pause of 65535 us or more takes another four bytes for each 65535 us. Units of more than 65535 take four bytes.

    Attributes:
        unit_shape: of the units.

    Example:
        >>> two = Events([0, 1500, 700], [2, 0, 1], [0, 2, 3], (3,))
        >>> storage = EventRecords((3,))
        >>> records = storage.pack(two)
        >>> [len(record) for record in records], storage.unpack(records).times_us.tolist()
        ([8, 4], [0, 1500, 700])
    """

    unit_shape: tuple[int, ...]

    @property
    def row_bytes(self) -> int:
        """0: each has its own length."""
        return 0

    @property
    def _layout(self) -> np.dtype:
        return np.dtype([("pause", "<u2"), ("unit", "<u2" if prod(self.unit_shape) <= _LONGEST_PAUSE else "<u4")])

    def pack(self, examples: Any) -> list[Record]:
        """Return the record of each of N recordings.

        Raises:
            InputError: bins in place of events, which have no times.
        """
        if not isinstance(examples, Events):
            raise InputError(
                f"recordings are given as {type(examples).__name__}, expected Events to be stored event by event; "
                "choose the storage raw for bins"
            )
        return [
            self._record(examples.times_us[first:last].astype(np.int64), examples.units[first:last])
            for first, last in zip(examples.offsets[:-1].tolist(), examples.offsets[1:].tolist(), strict=True)
        ]

    def _record(self, times_us: NDArray[np.int64], units: NDArray) -> Record:
        pauses = np.diff(times_us, prepend=0)
        more = pauses // _LONGEST_PAUSE
        record = np.empty(len(units) + int(more.sum()), self._layout)
        record["pause"], record["unit"] = _LONGEST_PAUSE, np.iinfo(self._layout["unit"]).max
        places = np.arange(len(units)) + np.cumsum(more)
        record["pause"][places], record["unit"][places] = pauses % _LONGEST_PAUSE, units
        return record.view(np.uint8)

    def unpack(self, rows: Sequence[Record]) -> Events:
        """Return the recordings of records."""
        recordings = []
        for row in rows:
            record = row.view(self._layout)
            real = record["unit"] != np.iinfo(self._layout["unit"]).max
            recordings.append((np.cumsum(record["pause"], dtype=np.int64)[real], record["unit"][real]))
        return Events.of_recordings(recordings, self.unit_shape)


@dataclass(frozen=True, eq=False)
class ShownSpikes:
    """Inputs as the spikes that a network makes of them, eight a byte; what comes back is an input of the network, too.

    Attributes:
        network: whose.
        every: steps that are stored as one; see `CompressedSteps`.
        stretched: likewise.
    """

    network: SeesSpikes
    every: int = 1
    stretched: bool = True

    @property
    def stored_shape(self) -> tuple[int, ...]:
        """Steps and units of the spikes."""
        return self._packed.stored_shape

    @property
    def _packed(self) -> SpikeStorage:
        return packed_spikes(tuple(self.network.spikes_seen), self.every, stretched=self.stretched)

    @property
    def row_bytes(self) -> int:
        """One byte for each eight units and steps, rounded up."""
        return self._packed.row_bytes

    def pack(self, examples: Any) -> Rows:
        """Return the rows of inputs."""
        return self._packed.pack(self.network.spikes_of(examples))

    def unpack(self, rows: Rows) -> NDArray[np.bool_]:
        """Return (N,T,*units) bool."""
        return self._packed.unpack(rows).astype(np.bool_)


@dataclass(frozen=True, eq=False)
class CodedSpikes:
    """Spikes in any form of bits, arithmetic coded: each has a length of its own, and nothing is lost.

    Attributes:
        form: which bits are stored.

    Source: see `spikelore.kernels.spike_coder`.

    Example:
        >>> import numpy as np
        >>> storage = CodedSpikes(PackedSpikes((28, 28)))
        >>> square = np.zeros((1, 28, 28), bool)
        >>> square[0, 8:20, 8:20] = True
        >>> records = storage.pack(square)
        >>> len(records[0]), bool((storage.unpack(records) == square).all())
        (6, True)
    """

    form: SpikeStorage

    @property
    def row_bytes(self) -> int:
        """0: each has its own length."""
        return 0

    def pack(self, examples: Any) -> list[Record]:
        """Return the record of each of N examples."""
        from spikelore.kernels import spike_coder  # with the compiler, which settings can do without

        return spike_coder.encode(PackedSpikes(self.form.stored_shape).unpack(self.form.pack(examples)))

    def unpack(self, rows: Sequence[Record]) -> Any:
        """Return the examples of records as ``form`` gives them back."""
        from spikelore.kernels import spike_coder

        shape = self.form.stored_shape
        return self.form.unpack(PackedSpikes(shape).pack(spike_coder.decode(rows, shape)))


def form_of_inputs(
    network: Any, form: Form = "raw", every: int = 1, *, stretched: bool = True, coded: bool = False
) -> Storage:
    """Return the form in which inputs of a network are stored whole.

    Args:
        network: whose.
        form: see `Form`.
        every: steps of recordings that are stored as one; see `CompressedSteps`.
        stretched: likewise.
        coded: whether spikes are arithmetic coded.

    Raises:
        InputError: inputs that have no such form.
    """
    if isinstance(network, SeesSpikes):
        if form == "events":
            return EventRecords(tuple(network.spikes_seen[1:]))
        shown = ShownSpikes(network, every, stretched)
        return CodedSpikes(shown) if coded else shown
    if form == "events" or every != 1:
        asked = "events" if form == "events" else f"{every} steps as one"
        raise InputError(
            f"a memory is to store {asked}, expected a network of recordings of spikes for that, not a "
            f"{getattr(network, 'name', type(network).__name__)} one; leave it out or choose another network"
        )
    shape = tuple(network.input_shape)
    if len(shape) != 2:
        raise InputError(f"inputs are of shape {shape}, expected images (H,W) to store; choose another method")
    if form == "spikes":
        return CodedSpikes(PackedSpikes(shape)) if coded else PackedSpikes(shape)
    if coded:
        raise InputError(
            "memory.arithmetic_coding is true and memory.storage 'raw', grey pixels, expected spikes to code; choose "
            "the storage spikes or leave it out"
        )
    return RawImages((shape[0], shape[1]))


def checked_inputs(network: Any, values: Any) -> Any:
    """Return inputs as a network that sees spikes takes them, else as `spikelore.shapes.as_images` does."""
    return network.checked(values) if isinstance(network, SeesSpikes) else as_images(values)


def blank_input(network: Any) -> NDArray:
    """Return one input of a network, all 0."""
    if isinstance(network, SeesSpikes):
        return np.zeros((1, *network.spikes_seen), np.bool_)
    return np.zeros((1, *network.input_shape), np.uint8)
