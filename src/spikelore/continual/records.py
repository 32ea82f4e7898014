"""Memories of records of their own length within a budget of bytes: recordings event by event, arithmetic coded spikes.

`spikelore.continual.memory.Memory` has places of one size, which rows of bits fill. Here a budget of bytes is filled
with records, and what goes out is decided by random priorities.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from spikelore.continual.memory import POLICIES, Policy, drawn
from spikelore.continual.storage import Record
from spikelore.errors import InputError
from spikelore.metrics.learning_cost import READ, STORED, Tally
from spikelore.shapes import Labels


def record_bytes(bytes_: int, extras: int = 0) -> int:
    """Return what a record costs: its bytes, its length in bytes of seven bits, a byte for its label and its extras.

    What a memory knows besides, a place and a random number of each, is not counted, as it is not of `Memory`.

    Args:
        bytes_: of the record.
        extras: how many float32 values are kept with it.
    """
    length = max(1, -(-bytes_.bit_length() // 7))
    return length + bytes_ + 1 + 4 * extras


class Records:
    """Records that stay within a budget of bytes.

    Each record gets a random priority as it arrives; whoever must go has the lowest of those that may, and from then on
    no record enters with a lower one. So of the stream that it is drawn from all of higher priority are held, whatever
    their length: nearly a uniform sample (in a memory of few records long ones are rarer). Another length goes as well.

    Args:
        policy: ``reservoir``: the lowest priority of all goes. ``class-balanced``: the lowest of the class that holds
            most records, of several at random. ``ring``: each of ``tasks`` tasks has the same bytes, of which its
            oldest record goes.
        budget: bytes of all that is held: records, their lengths, labels and extras.
        rng: generator of every choice.
        extras: length of the float32 vector kept with each record, 0 for none.
        tasks: number of tasks, for ``ring``.
        tally: counts the bytes that are read and stored; None for nobody.

    Raises:
        InputError: an unknown policy.

    Source: priorities in place of places after Cohen & Kaplan 2007 (bottom-k sketches); balance as in `Memory`.
    """

    def __init__(
        self, policy: Policy, budget: int, rng: np.random.Generator, *, extras: int = 0, tasks: int = 1,
        tally: Tally | None = None,
    ) -> None:  # fmt: skip
        if policy not in POLICIES:
            raise InputError(f"memory.policy is {policy!r}, expected one of {', '.join(POLICIES)}; choose one of them")
        self.policy: Policy = policy
        self.budget = budget
        self.rng = rng
        self.tally = tally or Tally()
        self._extra_values, self._tasks = extras, tasks
        self._records: list[Record] = []
        self._places, self._next = np.zeros(0, np.int64), 0
        self._labels, self._of_task = np.zeros(0, np.int64), np.zeros(0, np.int64)
        self._priorities, self._sizes = np.zeros(0), np.zeros(0, np.int64)
        self._extras = np.zeros((0, extras), np.float32)
        self._least: dict[int, float] = {}

    def __len__(self) -> int:
        return len(self._records)

    @property
    def places(self) -> int:
        """How many records are held."""
        return len(self._records)

    @property
    def bytes(self) -> int:
        """Bytes of all that is held."""
        return int(self._sizes.sum())

    def _measure(self) -> None:
        """Find anew what each record costs."""
        self._sizes = np.array([record_bytes(len(each), self._extra_values) for each in self._records], np.int64)

    @property
    def labels(self) -> Labels:
        """(N,) labels of what is held."""
        return self._labels

    def taken(self) -> NDArray[np.int64]:
        """Return the places of what is held, ascending; a record keeps its own as long as it is held."""
        return self._places

    def check_task(self, task: int) -> None:
        """Raise InputError for a task whose records `offer` would not take."""
        if self.policy == "ring" and not 0 <= task < self._tasks:
            raise InputError(
                f"examples of task {task} were offered to a ring memory, expected one in 0..{self._tasks - 1}; give it "
                "the right number of tasks or choose another policy"
            )

    def offer(
        self, rows: Sequence[Record], labels: Labels, *, task: int = 0, extras: NDArray[np.float32] | None = None
    ) -> None:
        """Show the memory N records in order of arrival; it keeps what its policy says.

        Raises:
            InputError: ``ring`` and a task that it has no bytes for, or a record of more bytes than the budget.
        """
        self.check_task(task)
        sizes = [record_bytes(len(row), self._extra_values) for row in rows]
        if (longest := max(sizes, default=0)) > self._limit:
            part = f" (a task's part of {self.budget})" if self.policy == "ring" else ""
            raise InputError(
                f"an example takes {longest} bytes in a memory that has {self._limit}{part}, expected room for one at "
                "least; enlarge memory.bytes"
            )
        for n, (label, size) in enumerate(zip(labels.tolist(), sizes, strict=True)):
            priority = float(self.rng.random())
            if self.policy != "ring" and priority < self._least.get(self._part(label), 0.0):
                continue
            self._records.append(np.array(rows[n]))
            self._places, self._next = np.append(self._places, self._next), self._next + 1
            self._labels = np.append(self._labels, label)
            self._of_task = np.append(self._of_task, task)
            self._priorities = np.append(self._priorities, priority)
            self._sizes = np.append(self._sizes, size)
            one = np.full((1, self._extra_values), np.nan, np.float32) if extras is None else extras[n : n + 1]
            self._extras = np.concatenate([self._extras, one])
            self.tally.add(STORED, len(rows[n]))
            self._make_room()

    @property
    def _limit(self) -> int:
        return self.budget // self._tasks if self.policy == "ring" else self.budget

    def _part(self, label: int) -> int:
        """Return whose priorities an example's is compared with."""
        return label if self.policy == "class-balanced" else -1

    def _make_room(self) -> None:
        """Let records go until what is left fits."""
        for task in range(self._tasks if self.policy == "ring" else 1):
            while True:
                mine = np.flatnonzero(self._of_task == task) if self.policy == "ring" else np.arange(len(self))
                if self._sizes[mine].sum() <= self._limit:
                    break
                self._remove(self._victim(mine))

    def _victim(self, candidates: NDArray[np.int64]) -> int:
        if self.policy == "ring":
            return int(candidates[0])
        if self.policy == "class-balanced":
            classes, counts = np.unique(self._labels, return_counts=True)
            candidates = np.flatnonzero(self._labels == self.rng.choice(classes[counts == counts.max()]))
        victim = int(candidates[np.argmin(self._priorities[candidates])])
        part = self._part(int(self._labels[victim]))
        self._least[part] = max(self._least.get(part, 0.0), float(self._priorities[victim]))
        return victim

    def _remove(self, number: int) -> None:
        del self._records[number]
        for name in ("_places", "_labels", "_of_task", "_priorities", "_sizes", "_extras"):
            setattr(self, name, np.delete(getattr(self, name), number, axis=0))

    def sample(self, count: int, *, balanced: bool = False) -> NDArray[np.int64]:
        """Return ``count`` places drawn from those of what is held; see `Memory.sample`."""
        return drawn(self.taken(), self._labels, count, self.rng, balanced=balanced)

    def get(self, places: NDArray[np.int64]) -> tuple[list[Record], Labels, NDArray[np.float32]]:
        """Return records, labels and extras of places in use."""
        numbers = np.searchsorted(self._places, places)
        self.tally.add(READ, int(self._sizes[numbers].sum()))
        return [self._records[n] for n in numbers.tolist()], self._labels[numbers], self._extras[numbers]

    def resize(self, budget: int, *, extras: int, tasks: int) -> None:
        """Go on with other sizes; what no longer fits goes as the policy says.

        Args:
            budget: bytes in all.
            extras: length of the vector kept with each; what is new in those that are held is NaN.
            tasks: number of tasks, for ``ring``.
        """
        known = min(extras, self._extra_values)
        wide = np.full((len(self), extras), np.nan, np.float32)
        wide[:, :known] = self._extras[:, :known]
        self.budget, self._extras, self._extra_values, self._tasks = budget, wide, extras, tasks
        self._measure()
        self._make_room()

    def replace(self, places: NDArray[np.int64], rows: Sequence[Record]) -> None:
        """Store the examples at ``places`` in another form; what then does not fit goes as the policy says.

        Where the new form is shorter, later examples fill the room, whatever their priority: what was let go before
        does not come back, so that the sample leans to them.
        """
        self._least.clear()
        for number, record in zip(np.searchsorted(self._places, places).tolist(), rows, strict=True):
            self._records[number] = np.array(record)
            self.tally.add(STORED, len(record))
        self._measure()
        self._make_room()

    def state_dict(self) -> dict[str, NDArray]:
        """Return everything but the generator's state as arrays."""
        return {
            "records": np.concatenate([np.zeros(0, np.uint8), *self._records]),
            "lengths": np.array([len(each) for each in self._records], np.int64),
            "places": np.append(self._places, self._next),
            "labels": self._labels,
            "tasks": self._of_task,
            "priorities": self._priorities,
            "extras": self._extras,
            "least": np.array([*self._least.items()], np.float64).reshape(-1, 2),
        }

    def load_state_dict(self, state: Mapping[str, NDArray]) -> None:
        """Take over what `state_dict` returned for a memory of the same settings.

        Raises:
            InputError: the extras differ in length.
        """
        if state["extras"].shape[1:] != self._extras.shape[1:]:
            raise InputError(
                f"the saved memory has extras of shape {state['extras'].shape}, this one (records, "
                f"{self._extra_values}); resume with the same configuration"
            )
        ends = np.cumsum(state["lengths"])
        self._records = [each.copy() for each in np.split(state["records"], ends[:-1])] if len(ends) else []
        *_, self._next = state["places"].tolist()
        self._places = state["places"][:-1].copy()
        self._labels, self._of_task = state["labels"].copy(), state["tasks"].copy()
        self._priorities, self._extras = state["priorities"].copy(), state["extras"].copy()
        self._least = {int(part): float(least) for part, least in state["least"].tolist()}
        self._measure()
