"""Memories of examples: what is kept of a stream (policy), within a budget.

A memory holds rows of bytes, one an example, which a form of `spikelore.continual.storage` makes of images or spikes.
It is plain NumPy, so that its state goes into a checkpoint as arrays, and its size is exactly what it says.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from spikelore.continual.storage import Rows
from spikelore.errors import InputError, check_whole
from spikelore.metrics.learning_cost import READ, STORED, Tally
from spikelore.shapes import Labels

Policy = Literal["reservoir", "class-balanced", "ring"]
POLICIES: tuple[Policy, ...] = get_args(Policy)


def example_bytes(row_bytes: int, extras: int = 0) -> int:
    """Return what an example costs: its row, a byte for its label (classes are fewer than 256) and its extras.

    Args:
        row_bytes: of its row.
        extras: how many float32 values are kept with it.
    """
    return row_bytes + 1 + 4 * extras


@dataclass(frozen=True)
class Budget:
    """How much a memory may hold: either a number of examples or a number of bytes.

    Attributes:
        images: examples in all; 0 for a budget in bytes.
        bytes: bytes in all, of rows, labels and what else is kept with an example; 0 for a budget in examples.
    """

    images: int = 0
    bytes: int = 0

    def __post_init__(self) -> None:
        if min(self.images, self.bytes) < 0 or (self.images > 0) == (self.bytes > 0):
            raise InputError(
                f"the memory has a budget of {self.images} images and {self.bytes} bytes, expected one of them "
                "above 0 and the other 0; set memory.images or memory.bytes"
            )
        check_whole("memory.images", self.images)
        check_whole("memory.bytes", self.bytes)

    def examples(self, example_bytes: int, classes: int) -> int:
        """Return how many examples of ``example_bytes`` fit.

        Raises:
            InputError: fewer than the ``classes``, so that one would have none.
        """
        count = self.images or self.bytes // example_bytes
        if count < classes:
            asked = f"{self.bytes} bytes ({example_bytes} an example)" if self.bytes else f"{self.images} images"
            raise InputError(
                f"a memory of {asked} holds {count} examples, fewer than the {classes} classes; enlarge it so that "
                "each class has at least one"
            )
        return count


def drawn(
    taken: NDArray[np.int64], labels: Labels, count: int, rng: np.random.Generator, *, balanced: bool
) -> NDArray[np.int64]:
    """Return ``count`` of the places in use; see `Memory.sample`.

    Args:
        taken: (N,), ascending.
        labels: (N,) of what they hold.
        count: how many.
        rng: generator of the choice.
        balanced: see there.

    Raises:
        InputError: none is in use.
    """
    if not len(taken):
        raise InputError("the memory is empty, so nothing can be replayed; offer it examples first")
    if not balanced:
        return rng.choice(taken, count, replace=count > len(taken))
    order = taken[np.argsort(labels, kind="stable")]
    _, starts, sizes = np.unique(np.sort(labels), return_index=True, return_counts=True)
    chosen = rng.integers(len(starts), size=count)
    return order[starts[chosen] + (rng.random(count) * sizes[chosen]).astype(np.int64)]


_FIRST_ROOM = 64


class Memory:
    """Examples that stay within a fixed number of places; room is made for them as they come.

    Args:
        policy: ``reservoir`` keeps every example of the stream with equal probability (Vitter 1985, algorithm R).
            ``class-balanced`` keeps all classes alike and, within a class, every example with equal probability,
            without knowing the classes or their number beforehand (class-balancing reservoir sampling, Chrysakis &
            Moens 2020): a class is full once it was the largest in a full memory; a full class replaces its own by
            algorithm R, any other takes a random place of the largest class. ``ring`` gives each of ``tasks`` tasks
            the same number of places, ``places // tasks``, and overwrites the oldest of the task.
        places: examples in all; for ``ring`` the remainder of the division is left out.
        row_bytes: bytes of a row; shorter ones are filled up with 0.
        extras: length of the float32 vector kept with each example (DER's logits), 0 for none.
        tasks: number of tasks, for ``ring``.
        rng: generator of every choice.
        tally: counts the bytes that are read and stored; None for nobody.

    Raises:
        InputError: an unknown policy, or ``ring`` with more tasks than places.
    """

    def __init__(
        self,
        policy: Policy,
        places: int,
        row_bytes: int,
        rng: np.random.Generator,
        *,
        extras: int = 0,
        tasks: int = 1,
        tally: Tally | None = None,
    ) -> None:
        if policy not in POLICIES:
            raise InputError(f"memory.policy is {policy!r}, expected one of {', '.join(POLICIES)}; choose one of them")
        if places < 1:
            raise InputError(f"the memory has {places} places, expected at least 1; enlarge it")
        if policy == "ring" and places < tasks:
            raise InputError(f"a ring memory of {places} places cannot serve {tasks} tasks; enlarge it")
        self.policy: Policy = policy
        self._ring = places // tasks
        self.places = self._ring * tasks if policy == "ring" else places
        self.rng = rng
        self.tally = tally or Tally()
        # Places lie in blocks, one a task for ``ring``, of which the first ``_room`` have a row in the arrays.
        self._block, self._blocks = (self._ring, tasks) if policy == "ring" else (self.places, 1)
        self._room = min(self._block, _FIRST_ROOM)
        rows = self._room * self._blocks
        self._rows = np.zeros((rows, row_bytes), np.uint8)
        self._labels = np.full(rows, -1, np.int64)
        self._extras = np.zeros((rows, extras), np.float32)
        self._held = 0
        self._offered = 0
        self._class_offered: dict[int, int] = {}
        self._class_places: dict[int, list[int]] = {}
        self._full: set[int] = set()
        self._ring_offered = [0] * tasks

    def __len__(self) -> int:
        return self._held

    @property
    def bytes(self) -> int:
        """Bytes of all places: rows, labels and extras."""
        return self.places * example_bytes(self._rows.shape[1], self._extras.shape[1])

    @property
    def labels(self) -> Labels:
        """(N,) labels of what is held."""
        return self._labels[self._labels >= 0]

    def taken(self) -> NDArray[np.int64]:
        """Return the places in use, ascending."""
        rows = np.flatnonzero(self._labels >= 0)
        return rows // self._room * self._block + rows % self._room

    def _row(self, places: Any) -> Any:
        """Return the rows of places in the arrays."""
        return places // self._block * self._room + places % self._block

    def _make_room(self, place: int) -> None:
        """Lengthen the arrays until they have a row for a place."""
        needed = place % self._block + 1
        if needed <= self._room:
            return
        room = min(self._block, max(needed, 2 * self._room))
        for name in ("_rows", "_labels", "_extras"):
            old = getattr(self, name)
            new = np.zeros((self._blocks, room, *old.shape[1:]), old.dtype)
            if name == "_labels":
                new[:] = -1
            new[:, : self._room] = old.reshape(self._blocks, self._room, *old.shape[1:])
            setattr(self, name, new.reshape(self._blocks * room, *old.shape[1:]))
        self._room = room

    def offer(self, rows: Rows, labels: Labels, *, task: int = 0, extras: NDArray[np.float32] | None = None) -> None:
        """Show the memory (N,R) rows in order of arrival; it keeps what its policy says.

        Args:
            rows: examples.
            labels: (N,) int64.
            task: which task they are of; only ``ring`` looks at it.
            extras: (N,E) float32, if the memory keeps extras.

        Raises:
            InputError: ``ring`` and a task that it has no places for.
        """
        self.check_task(task)
        for n, label in enumerate(labels.tolist()):
            place = self._place(label, task)
            if place is None:
                continue
            self._make_room(place)
            self.replace(place, rows[n])
            self._labels[self._row(place)] = label
            if extras is not None:
                self._extras[self._row(place)] = extras[n]

    def check_task(self, task: int) -> None:
        """Raise InputError for a task whose examples `offer` would not take."""
        if self.policy == "ring" and not 0 <= task < len(self._ring_offered):
            raise InputError(
                f"examples of task {task} were offered to a ring memory, expected one in 0.."
                f"{len(self._ring_offered) - 1}; give it the right number of tasks or choose another policy"
            )

    def replace(self, places: NDArray[np.int64] | int, rows: Rows | Sequence[NDArray[np.uint8]]) -> None:
        """Store the examples at ``places`` in another form: (N,R) rows, one a place; all else stays."""
        rows = np.asarray(rows)
        used, own = rows.shape[-1], self._row(places)
        self._rows[own, :used] = rows
        self._rows[own, used:] = 0
        self.tally.add(STORED, rows.size)

    def _place(self, label: int, task: int) -> int | None:
        """Return the place that an arriving example of ``label`` takes, or None."""
        if self.policy == "reservoir":
            return self._reservoir_place()
        if self.policy == "ring":
            return self._ring_place(task)
        return self._balanced_place(label)

    def _reservoir_place(self) -> int | None:
        self._offered += 1
        if self._held < self.places:
            self._held += 1
            return self._held - 1
        place = int(self.rng.integers(self._offered))
        return place if place < self.places else None

    def _ring_place(self, task: int) -> int:
        place = task * self._ring + self._ring_offered[task] % self._ring
        self._held += self._ring_offered[task] < self._ring
        self._ring_offered[task] += 1
        return place

    def _balanced_place(self, label: int) -> int | None:
        self._class_offered[label] = self._class_offered.get(label, 0) + 1
        mine = self._class_places.setdefault(label, [])
        if self._held < self.places:
            mine.append(self._held)
            self._held += 1
            return self._held - 1
        largest = self._largest()
        if label in self._full:
            chosen = int(self.rng.integers(self._class_offered[label]))
            return mine[chosen] if chosen < len(mine) else None
        mine.append(self._taken_from(largest))
        return mine[-1]

    def _largest(self) -> list[int]:
        """Return the classes that hold most, which count as full from now on."""
        size = max(len(places) for places in self._class_places.values())
        largest = [one for one, places in self._class_places.items() if len(places) == size]
        self._full.update(largest)
        return largest

    def _taken_from(self, classes: list[int]) -> int:
        """Take a random place of one of ``classes`` away from it."""
        victim = self._class_places[classes[int(self.rng.integers(len(classes)))]]
        chosen = int(self.rng.integers(len(victim)))
        victim[chosen], victim[-1] = victim[-1], victim[chosen]
        return victim.pop()

    def sample(self, count: int, *, balanced: bool = False) -> NDArray[np.int64]:
        """Return ``count`` places drawn from those in use.

        Args:
            count: how many.
            balanced: draw a class first, then one of its examples, with replacement. Otherwise every example alike,
                without replacement unless more are asked for than are held.

        Raises:
            InputError: the memory is empty.
        """
        return drawn(self.taken(), self.labels, count, self.rng, balanced=balanced)

    def resize(self, places: int, *, extras: int, tasks: int) -> None:
        """Go on with other sizes; what no longer fits goes as the policy says.

        That is: of a ``reservoir`` a random part, of ``class-balanced`` a random example of the largest class again
        and again, of ``ring`` the oldest of each task.

        Args:
            places: examples in all.
            extras: length of the vector kept with each; what is new in those that are held is NaN.
            tasks: number of tasks, for ``ring``.

        Raises:
            InputError: ``ring`` with more tasks than places.
        """
        other = Memory(self.policy, places, self._rows.shape[1], self.rng, extras=extras, tasks=tasks, tally=self.tally)
        kept = self._that_fit(other.places, other._ring)
        to = np.concatenate([other._ring * task + np.arange(len(part)) for task, part in enumerate(kept)])
        old = np.concatenate(kept)
        for place in to.tolist():
            other._make_room(place)
        mine, theirs = self._row(old), other._row(to)
        other._rows[theirs], other._labels[theirs] = self._rows[mine], self._labels[mine]
        known = min(extras, self._extras.shape[1])
        other._extras[theirs] = np.nan
        other._extras[theirs, :known] = self._extras[mine, :known]
        other._held, other._offered = len(old), self._offered
        moved = dict(zip(old.tolist(), to.tolist(), strict=True))
        other._class_offered, other._full = self._class_offered, self._full
        for label, mine in self._class_places.items():
            other._class_places[label] = [moved[place] for place in mine]
        if self.policy == "ring":
            # The oldest of a task is at its first place, which is overwritten next once all are in use.
            other._ring_offered[: len(kept)] = [len(part) for part in kept]
        vars(self).update(vars(other))

    def _that_fit(self, places: int, ring: int) -> list[NDArray[np.int64]]:
        """Return the places whose examples stay when there are ``places``; for ``ring`` a task each, oldest first."""
        if self.policy == "ring":
            kept = []
            for task, offered in enumerate(self._ring_offered):
                ages = np.arange(max(0, offered - self._ring), offered)
                kept.append(task * self._ring + ages[max(0, len(ages) - ring) :] % self._ring)
            return kept
        taken = self.taken()
        if self.policy == "class-balanced":
            gone = [self._taken_from(self._largest()) for _ in range(len(taken) - places)]
            taken = np.setdiff1d(taken, gone)
        elif len(taken) > places:
            taken = np.sort(self.rng.choice(taken, places, replace=False))
        return [taken]

    def get(self, places: NDArray[np.int64]) -> tuple[Rows, Labels, NDArray[np.float32]]:
        """Return rows, labels and extras of ``places``."""
        rows = self._row(places)
        self.tally.add(READ, len(places) * example_bytes(self._rows.shape[1], self._extras.shape[1]))
        return self._rows[rows], self._labels[rows], self._extras[rows]

    def state_dict(self) -> dict[str, NDArray]:
        """Return everything but the generator's state as arrays."""
        classes = list(self._class_places)
        owner = np.full(len(self._rows), -1, np.int64)  # of places in one block, where a place is its row
        rank = np.zeros(len(self._rows), np.int64)
        for number, label in enumerate(classes):
            owner[self._class_places[label]] = number
            rank[self._class_places[label]] = np.arange(len(self._class_places[label]))
        return {
            "rows": self._rows,
            "labels": self._labels,
            "extras": self._extras,
            "held": np.array([self._held, self._offered]),
            "classes": np.array([[one, self._class_offered[one], one in self._full] for one in classes]).reshape(-1, 3),
            "owner": owner,
            "rank": rank,
            "ring_offered": np.array(self._ring_offered),
        }

    def load_state_dict(self, state: Mapping[str, NDArray]) -> None:
        """Take over what `state_dict` returned for a memory of the same sizes.

        Raises:
            InputError: the sizes differ.
        """
        room, rest = divmod(len(state["rows"]), self._blocks)
        for name, mine in (("rows", self._rows), ("extras", self._extras)):
            if state[name].shape[1:] != mine.shape[1:] or rest or not 0 < room <= self._block:
                raise InputError(
                    f"the saved memory has {name} of shape {state[name].shape}, this one {mine.shape} for "
                    f"{self.places} places; resume with the same configuration"
                )
        self._room = room
        self._rows, self._labels = state["rows"].copy(), state["labels"].copy()
        self._extras = state["extras"].copy()
        self._held, self._offered = state["held"].tolist()
        self._class_offered, self._class_places, self._full = {}, {}, set()
        for number, (label, offered, full) in enumerate(state["classes"].astype(np.int64).tolist()):
            places = np.flatnonzero(state["owner"] == number)
            self._class_offered[label] = offered
            self._class_places[label] = places[np.argsort(state["rank"][places])].tolist()
            if full:
                self._full.add(label)
        self._ring_offered = state["ring_offered"].tolist()
