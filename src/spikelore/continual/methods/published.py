"""The replay of Proietti et al. 2023 as their public code does it, with each of its faults as a switch.

A memory of M batches for each task, picked from the task's batches with probability 0.33 while there is room, kept as
the spike images that were drawn. At the start of each epoch all stored batches of the earlier tasks are trained on
once, task after task, with a second Adam. In the class-incremental form each task has a head of its own, learned
alone; after the task its weights are scaled to the older heads' mean norm; decisions are taken over all heads.

The faults, each of which is in the code and can be kept or left out:

1. ``membranes re-initialised``: inside every step the neurons start from rest, so all T steps are alike. It belongs to
   the network (``membrane: reinitialised``), which then computes one step for all: spike counts are exactly T times
   that step's spikes, and gradients T times its gradients.
2. ``targets of the current task``: a replayed label is compared with the CURRENT task's first class, which it never
   is, so every old image becomes the second class of its head.
3. ``heads not replayed``: the second Adam is made before any head exists, so it moves the convolutions alone.
4. ``task 0 as no task``: the head is chosen by ``if task_idx:``, so task 0's images are replayed through all heads at
   once, not through head 0.
5. ``saved before the end``: the network that is tested is the one after the last hundredth batch of the last epoch,
   before the new head's weights are scaled. (The code means to keep the one with the best loss of a batch, but never
   updates that best, so each hundredth batch replaces the one before.)

6. ``own head for the current task``: in the accuracy matrix, the entry of the task just learned is its own head's
   accuracy on validation images, all other entries are over all heads on test images.

With one head for all tasks only 1, 5 and the validation images of 6 have a meaning. The authors call that form
task-free; the code nevertheless uses the tasks' boundaries.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F  # noqa: N812 - the field's name

from spikelore.continual.memory import example_bytes
from spikelore.continual.methods.gradient import GradientLearner
from spikelore.continual.storage import PackedSpikes
from spikelore.data.examples import Examples
from spikelore.errors import InputError
from spikelore.learning.surrogate_gradient import step_
from spikelore.metrics.learning_cost import READ, STORED
from spikelore.networks.devices import array_of
from spikelore.networks.foreign import decided_label, has_methods, put_, tensors_of
from spikelore.networks.protocol import HeadedModule
from spikelore.randomness import generator
from spikelore.shapes import Images, Labels

_PICKED = 0.33
_SAVED_EVERY = 100
_GROWING = ("add_head", "head_columns", "align_heads_")


class PublishedReplayLearner(GradientLearner):
    """See the module.

    The pixels are drawn as spikes once an image and epoch, by the learner, and stored as drawn.

    Raises:
        InputError: growing heads for a network without ``add_head``.
    """

    drop_last = True

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        grows = isinstance(self.module, HeadedModule) and has_methods(self.module, *_GROWING)
        self.grows_heads = self.method.grow_heads
        if self.grows_heads and not grows:
            raise InputError(
                f"growing heads needs a network with add_head, which {self._name} does not have; set "
                "grow_heads to false"
            )
        self.noise = generator(self.seed, "learner", "spikes")
        self.heads: list[tuple[int, ...]] = []
        self.store = PackedSpikes(self.input_shape)
        shape = (self.tasks, self.method.stored_batches, self.method.batch)
        self.rows = np.zeros((*shape, self.store.row_bytes), np.uint8)
        self.labels = np.zeros(shape, np.int64)
        self.stored = [0] * self.tasks
        self.step = 0
        self.saved: dict[str, torch.Tensor] = {}
        self.drawn = np.zeros((0, *self.input_shape), np.uint8)
        self.replayer = self.new_optimiser(self.method.replay_learning_rate)

    @property
    def memory_images(self) -> int:
        """Images of all batches that may be stored."""
        return self.labels.size

    @property
    def memory_bytes(self) -> int:
        """Bytes of these batches with their labels."""
        return self.labels.size * example_bytes(self.store.row_bytes)

    @property
    def _growing(self) -> HeadedModule:
        assert isinstance(self.module, HeadedModule)
        return self.module

    def grow(self, classes: tuple[int, ...], tasks: int) -> None:
        """Make room for the batches of further tasks beside the rest."""
        super().grow(classes, tasks)
        new = tasks - len(self.stored)
        self.rows = np.concatenate([self.rows, np.zeros((new, *self.rows.shape[1:]), np.uint8)])
        self.labels = np.concatenate([self.labels, np.zeros((new, *self.labels.shape[1:]), np.int64)])
        self.stored += [0] * new

    def network_grew(self) -> None:
        """Give the new parameters to both optimisers; a network saved before has none of them."""
        super().network_grew()
        self.saved = {}
        if self.replayer is not None:
            self.replayer = self.widened(self.replayer)

    def begin_task(self, task: int, classes: tuple[int, ...]) -> None:
        """Add the task's head and make a new optimiser, in the class-incremental form."""
        self.step = 0
        if not self.grows_heads:
            return
        self._add_head(classes)
        self.optimiser = self.new_optimiser(self.learning.learning_rate)
        if "heads not replayed" not in self.method.faults:
            self.replayer = self.new_optimiser(self.method.replay_learning_rate)

    def _add_head(self, classes: tuple[int, ...]) -> None:
        with self.own_draws():
            self._growing.add_head(len(classes))
        self.heads.append(tuple(classes))

    def begin_epoch(self, task: int) -> None:
        """Train on every stored batch of the earlier tasks once; count batches from 0 again."""
        self.step = 0
        with self.own_draws():
            for old in range(task):
                for number in range(self.stored[old]):
                    self._replay(task, old, number)

    def _replay(self, task: int, old: int, number: int) -> None:
        self.tally.add(READ, self.rows[old, number].size)
        inputs = self._as_input(self.store.unpack(self.rows[old, number]))
        labels = self.labels[old, number]
        faults = self.method.faults
        if not self.grows_heads:
            logits, columns = self.logits(inputs), self.columns(labels)
        else:
            aimed = task if "targets of the current task" in faults else old
            columns = self._in_head(labels, aimed, foreign=aimed != old)
            everywhere = old == 0 and "task 0 as no task" in faults
            logits = self._head_logits(inputs, None if everywhere else old)
        assert self.replayer is not None
        step_(F.cross_entropy(logits, columns), self.replayer, self.tally)

    def _in_head(self, labels: Labels, task: int, *, foreign: bool = False) -> torch.Tensor:
        """Return each label's place in a task's head; ``foreign`` ones as the code finds them, in the last place."""
        classes = self.heads[task]
        places = {label: place for place, label in enumerate(classes)}
        outside = sorted(set(labels.tolist()) - set(places))
        if outside and not foreign:
            raise InputError(
                f"label {outside[0]} came with task {task + 1}, whose head stands for {list(classes)}; give each task "
                "images of its own classes"
            )
        found = torch.tensor([places.get(label, len(classes) - 1) for label in labels.tolist()], dtype=torch.int64)
        return found.to(self.device)

    def _as_input(self, spikes: NDArray[np.uint8]) -> torch.Tensor:
        return torch.from_numpy(spikes).to(self.device).float()

    def _head_logits(self, inputs: torch.Tensor, task: int | None) -> torch.Tensor:
        """Return the spike counts of one head, or of all."""
        counts = self.spikes(inputs).sum(0)
        return counts if task is None else counts[:, self._growing.head_columns(task)]

    def learn(self, images: Images, labels: Labels, task: int) -> float:
        """Draw the spikes, maybe store the batch, take a step, and maybe save the network."""
        labels = self.checked(images, labels, task)
        self.columns(labels)
        noise, stored = self.noise.bit_generator.state, list(self.stored)
        try:
            value = self._learn(images, labels, task)
        except BaseException:
            self.noise.bit_generator.state, self.stored = noise, stored
            raise
        if self.step % _SAVED_EVERY == 0:
            self.saved = tensors_of(self.module)
        self.step += 1
        return value

    def checked(self, images: Images, labels: Labels, task: int) -> Labels:
        """Return a batch's labels as (B,) int64; also InputError for a task that is none."""
        labels = super().checked(images, labels, task)
        if not 0 <= task < self.tasks:
            raise InputError(
                f"images of task {task} came to published replay, expected one in 0..{self.tasks - 1}; give the "
                "learner the right number of tasks"
            )
        if self.grows_heads and task >= len(self.heads):
            raise InputError(
                f"images of task {task} came before begin_task({task}), which adds its head; call it first"
            )
        return labels

    def _learn(self, images: Images, labels: Labels, task: int) -> float:
        self.drawn = (self.noise.random(images.shape, np.float32) * 255 < images).astype(np.uint8)
        picked = self.noise.random() < _PICKED and len(images) == self.method.batch  # places are of whole batches
        if picked and self.stored[task] < self.method.stored_batches:
            self.rows[task, self.stored[task]] = self.store.pack(self.drawn)
            self.tally.add(STORED, self.rows[task, self.stored[task]].size)
            self.labels[task, self.stored[task]] = labels
            self.stored[task] += 1
        return super().learn(images, labels, task)

    def loss(self, images: Images, labels: Labels, columns: torch.Tensor, task: int) -> torch.Tensor:
        """Return the cross entropy of spike counts: of the task's head, or of the only one."""
        del images
        inputs = self._as_input(self.drawn)
        if not self.grows_heads:
            return F.cross_entropy(self.logits(inputs), columns)
        return F.cross_entropy(self._head_logits(inputs, task), self._in_head(labels, task))

    def end_task(self, task: int) -> None:
        """Scale the new head's weights to the older heads' mean norm, in the class-incremental form."""
        if self.grows_heads:
            self._growing.align_heads_()

    def decide(self, images: Images, among: tuple[int, ...]) -> Labels:
        """Return the class of the output that spikes most; the code decides among all outputs there are."""
        del among
        return decided_label(self.scores(images)[:, : len(self.classes)], self.classes)

    def rehearse(self) -> None:
        """Take the saved network, if the code's fault is kept."""
        if "saved before the end" in self.method.faults and self.saved:
            put_(self.module, self.saved)

    def decide_in_head(self, images: Images, task: int) -> Labels:
        """Return the class that the task's own head gives: what the code reports for the task just learned."""
        if not self.grows_heads:
            return self.decide(images, self.classes)
        return decided_label(self.scores(images)[:, self._growing.head_columns(task)], self.heads[task])

    def reported_accuracy(self, found: float, held_out: Examples, task: int) -> float:
        """Return what is reported of the task just learned in place of the accuracy ``found``, if the fault is kept.

        That is its own head's accuracy on the images held out.
        """
        if "own head for the current task" not in self.method.faults:
            return found
        return float((self.decide_in_head(held_out.inputs, task) == held_out.labels).mean())

    def optimisers(self) -> dict[str, torch.optim.Optimizer]:
        """Return both optimisers."""
        found = super().optimisers()
        return found if self.replayer is None else {**found, "replayer": self.replayer}

    def facts(self) -> dict[str, Any]:
        """Return the heads, counters and the generator's state beside the rest."""
        return {
            **super().facts(),
            "heads": self.heads,
            "stored": self.stored,
            "step": self.step,
            "noise": self.noise.bit_generator.state,
        }

    def load_facts(self, facts: Any) -> None:
        """Take over what `facts` returned; adds the heads."""
        super().load_facts(facts)
        self.stored, self.step = list(facts["stored"]), facts["step"]
        self.noise.bit_generator.state = facts["noise"]
        for classes in facts["heads"]:
            self._add_head(tuple(classes))
        if self.heads:
            self.optimiser = self.new_optimiser(self.learning.learning_rate)
            if "heads not replayed" not in self.method.faults:
                self.replayer = self.new_optimiser(self.method.replay_learning_rate)

    def kept_arrays(self) -> dict[str, NDArray]:
        """Return the stored batches and the saved network."""
        arrays = {f"saved/{name}": array_of(tensor) for name, tensor in self.saved.items()}
        return {**arrays, "batches/rows": self.rows, "batches/labels": self.labels}

    def take_over(self, arrays: Any, facts: Any) -> None:
        """Take over these beside the rest."""
        super().take_over(arrays, facts)
        self.rows, self.labels = arrays["batches/rows"].copy(), arrays["batches/labels"].copy()
        self.saved = self.weights_under("saved", arrays)
