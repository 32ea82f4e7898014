"""What learning costs: operations, weights and state read and written, bytes of stored examples, and joules.

Operations are NeuroBench's *effective* ones: an addition or a multiplication counts where no operand that is known
beforehand, an activation or an error, is 0. An *accumulate* adds a weight (or, in learning, an error) where the
activation is a binary spike; everything else is a *multiply-accumulate*. No weight is used twice from a register: each
operation reads its own, as on an event-driven processor.

Source: Yik et al. 2023, NeuroBench (arXiv 2304.04640), which defines both for a forward pass; here the same is counted
of the passes back and of changes of weights.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from spikelore.errors import InputError, check_fields


@dataclass(frozen=True)
class Work:
    """What a processor has done; works can be added, and multiplied by how often they were done.

    Attributes:
        accumulates: additions for a binary spike.
        multiply_accumulates: multiplications with an addition.
        weights_read: weights that were fetched.
        weights_written: weights that were changed.
        state_read: values of neurons, traces, gradients and an optimiser that were fetched.
        state_written: those that were stored.
        example_bytes: bytes of stored examples that were read or written.
    """

    accumulates: float = 0.0
    multiply_accumulates: float = 0.0
    weights_read: float = 0.0
    weights_written: float = 0.0
    state_read: float = 0.0
    state_written: float = 0.0
    example_bytes: float = 0.0

    def __add__(self, other: "Work") -> "Work":
        return Work(*(getattr(self, one.name) + getattr(other, one.name) for one in fields(Work)))

    def __mul__(self, times: float) -> "Work":
        return Work(*(getattr(self, one.name) * times for one in fields(Work)))

    @property
    def synaptic_operations(self) -> float:
        """Accumulates and multiply-accumulates together."""
        return self.accumulates + self.multiply_accumulates

    def joules(self, energies: "Energies | None" = None) -> float:
        """Return the energy of it; by the table of Horowitz 2014 if no other is given."""
        prices = asdict(energies or Energies())
        return 1e-12 * sum(count * prices[f"{name}_pj"] for name, count in asdict(self).items())


@dataclass(frozen=True)
class Energies:
    """Picojoules of one of each that `Work` counts: 45 nm, .9 V, 32-bit floating point.

    A fetch from a memory of 64 bits takes 100 pJ where it holds 1 MB (weights), 10 pJ where it holds 8 KB (state of
    neurons), and at least 1300 pJ where it is DRAM (examples): half of that for 32 bits, an eighth for a byte. Writing
    is taken to cost what reading does.

    Attributes:
        accumulates_pj: of an addition.
        multiply_accumulates_pj: of a multiplication with an addition.
        weights_read_pj: of a weight that is fetched.
        weights_written_pj: of one that is changed.
        state_read_pj: of a value of a neuron, a trace, a gradient or an optimiser that is fetched.
        state_written_pj: of one that is stored.
        example_bytes_pj: of a byte of a stored example.

    Source: Horowitz, Computing's energy problem, ISSCC 2014 (doi 10.1109/ISSCC.2014.6757323), figure 1.1.9: addition
    .9 pJ, multiplication 3.7 pJ.
    """

    accumulates_pj: float = 0.9
    multiply_accumulates_pj: float = 4.6
    weights_read_pj: float = 50.0
    weights_written_pj: float = 50.0
    state_read_pj: float = 5.0
    state_written_pj: float = 5.0
    example_bytes_pj: float = 162.5

    def __post_init__(self) -> None:
        check_fields(self, "energies.")
        for name, value in asdict(self).items():
            if value < 0:
                raise InputError(f"energies.{name} is {value}, expected 0 or more; give picojoules of one")


class Tally:
    """How often a network, and whatever is copied from it, has done each kind of work, by its name.

    Copies of a network share its tally, so that what a method learns on a copy is counted, too.

    Example:
        >>> tally = Tally()
        >>> tally.add("forward", 8)
        >>> with tally.paused():
        ...     tally.add("forward", 100)
        >>> tally.counts
        {'forward': 8}
    """

    __slots__ = ("_counts", "_listens")  # no dictionary: calls of a module from rest put back what one holds

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._listens = True

    def __deepcopy__(self, memo: Any) -> Self:
        return self

    @property
    def counts(self) -> dict[str, int]:
        """The counts, by name."""
        return dict(self._counts)

    @counts.setter
    def counts(self, value: Mapping[str, int]) -> None:
        self._counts = Counter(value)

    def add(self, name: str, times: int = 1) -> None:
        """Count."""
        if self._listens:
            self._counts[name] += times

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Count nothing while the block runs: answers are no learning."""
        before, self._listens = self._listens, False
        try:
            yield
        finally:
            self._listens = before

    def work(self, works: Mapping[str, Work]) -> Work:
        """Return all that was done, by what each kind of it takes once; kinds that are not among ``works`` are free."""
        return sum((works[name] * times for name, times in self._counts.items() if name in works), Work())


READ, STORED = "example bytes read", "example bytes stored"
"""What a memory of examples counts; a byte each."""

OF_MEMORIES = {READ: Work(example_bytes=1.0), STORED: Work(example_bytes=1.0)}
