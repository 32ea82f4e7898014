"""Experience replay, GDumb, and what all learners that keep examples share."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from spikelore.continual.methods.augment import augment
from spikelore.continual.methods.gradient import GradientLearner, tensors_under
from spikelore.continual.storage import Storage, form_of_inputs
from spikelore.files import arrays_under
from spikelore.learning.surrogate_gradient import adam, step_
from spikelore.networks.gradient_learning import SPIKE_FROM
from spikelore.networks.readout import check_images
from spikelore.randomness import generator, torch_generator
from spikelore.shapes import Images, Labels


class MemoryLearner(GradientLearner):
    """A learner that keeps examples of the stream; see `spikelore.continual.methods.settings.KeepsExamples`.

    Attributes:
        storage: the form in which examples are stored.
        memory: where.

    Raises:
        InputError: the memory's budget is smaller than the number of classes.
    """

    passes = 0
    """Over the current task's examples, the one under way included; 0 where nobody tells."""

    def __init__(self, method: Any, network: Any, *, seed: int = 0, tasks: int = 1) -> None:
        super().__init__(method, network, seed=seed, tasks=tasks)
        self.storage = self.make_storage()
        self.memory = method.memory.create(
            self.row_bytes(), len(self.classes), generator(seed, "learner", "memory"),
            extras=self.extras(), tasks=tasks, tally=self.tally,
        )  # fmt: skip

    def make_storage(self) -> Storage:
        """Return the form in which examples are stored."""
        kept = self.method.memory
        return form_of_inputs(
            self.network, kept.storage, kept.compression, stretched=kept.replayed == "stretched",
            coded=kept.arithmetic_coding,
        )  # fmt: skip

    @property
    def _stores_spikes(self) -> bool:
        return self.method.memory.storage == "spikes"

    def row_bytes(self) -> int:
        """Return how many bytes the row of each stored example has."""
        return self.storage.row_bytes

    def extras(self) -> int:
        """Return how many float32 values are kept with each stored example."""
        return 0

    @property
    def memory_images(self) -> int:
        """Places for examples of earlier tasks; see `Learner.memory_images`."""
        return self.memory.places

    @property
    def memory_bytes(self) -> int:
        """Bytes of these places, or of what is held, with labels and what else is kept with one."""
        return self.memory.bytes

    def make_room(self) -> None:
        """Divide the places anew."""
        extras = self.extras()
        room = self.method.memory.room(self.row_bytes(), len(self.classes), extras)
        self.memory.resize(room, extras=extras, tasks=self.tasks)

    def begin_task(self, task: int, classes: tuple[int, ...]) -> None:
        """Count the passes from the start."""
        super().begin_task(task, classes)
        self.passes = 0

    def begin_epoch(self, task: int) -> None:
        """Count the pass."""
        super().begin_epoch(task)
        self.passes += 1

    def keeps(self, task: int) -> bool:
        """Return whether a task's examples are offered to the memory now: in the first pass, so that each is once."""
        del task
        return self.passes <= 1

    def checked(self, images: Images, labels: Labels, task: int) -> Labels:
        """Return a batch's labels as (B,) int64; InputError also for a task that the memory cannot have."""
        labels = super().checked(images, labels, task)
        self.memory.check_task(task)
        return labels

    def remember(self, images: Images, labels: Labels, columns: torch.Tensor, task: int) -> None:
        """Offer the new images to the memory, after the step on them, in the first pass over a task."""
        del columns
        if self.keeps(task):
            self.memory.offer(self.storage.pack(self.shown(images)), labels, task=task)

    def shown(self, images: Images) -> NDArray[np.uint8]:
        """Return inputs as they are stored: as they are, or images as 1 where a spike is."""
        if self.sees_spikes:
            return images
        check_images(images)
        return (images >= SPIKE_FROM).astype(np.uint8) if self._stores_spikes else images

    def drawn(self, count: int) -> tuple[Any, Labels, NDArray[np.float32]]:
        """Draw stored examples: as they were packed, their labels (B,) and extras (B,E)."""
        rows, labels, extras = self.memory.get(self.memory.sample(count, balanced=self.method.balanced))
        return self.storage.unpack(rows), labels, extras

    def replayed(self, count: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Draw stored examples: network inputs (B,H,W), their columns (B,) and, on the processor, extras (B,E)."""
        stored, labels, extras = self.drawn(count)
        if self.sees_spikes:
            return self.to_learn(stored), self.columns(labels), torch.from_numpy(extras)
        images = torch.from_numpy(stored).to(self.device).float()
        if not self._stores_spikes:
            images /= 255
        return self.changed(self.varied(images)), self.columns(labels), torch.from_numpy(extras)

    def varied(self, images: torch.Tensor) -> torch.Tensor:
        """Return stored images (B,H,W), 0..1, with the changes that they alone have: here none."""
        return images

    def logits_apart(self, new: torch.Tensor, *stored: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the logits of new and of stored inputs, which may be spikes over fewer steps, (B,T,...)."""
        if all(each.shape[1:] == new.shape[1:] for each in stored):
            return self.logits(torch.cat([new, *stored])).split([len(new), *map(len, stored)])
        return tuple(self.logits(each) for each in (new, *stored))

    def replayed_images_loss(self, logits: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
        """Return the replayed images' cross entropy, over the outputs that the settings say."""
        return self.seen_classes_loss(logits, columns)

    @contextmanager
    def undone_by_failure(self) -> Iterator[None]:
        """Take back also what was drawn of the memory."""
        sampled = self.memory.rng.bit_generator.state
        try:
            with super().undone_by_failure():
                yield
        except BaseException:
            self.memory.rng.bit_generator.state = sampled
            raise

    @contextmanager
    def asked(self) -> Iterator[None]:
        """Draw of the memory, while asked, with a generator of its own."""
        sampling, self.memory.rng = self.memory.rng, generator(self.seed, "asked", self.questions, "memory")
        try:
            with super().asked():
                yield
        finally:
            self.memory.rng = sampling

    def facts(self) -> dict[str, Any]:
        """Return the memory's generator and the passes beside the rest."""
        return {**super().facts(), "memory generator": self.memory.rng.bit_generator.state, "passes": self.passes}

    def load_facts(self, facts: Mapping[str, Any]) -> None:
        """Take over what `facts` returned."""
        super().load_facts(facts)
        self.memory.rng.bit_generator.state = facts["memory generator"]
        self.passes = facts["passes"]

    def kept_arrays(self) -> dict[str, NDArray]:
        """Return the memory beside the rest."""
        return super().kept_arrays() | {f"memory/{name}": array for name, array in self.memory.state_dict().items()}

    def take_over(self, arrays: Mapping[str, NDArray], facts: Any) -> None:
        """Take over the memory beside the rest."""
        super().take_over(arrays, facts)
        self.memory.load_state_dict(arrays_under("memory", arrays))


class ReplayLearner(MemoryLearner):
    """Each step learns from the new images and from as many stored ones as ``replay_batch`` says.

    The loss is the new images' mean cross entropy plus the stored ones'. New images are offered to the memory after
    the step on them.
    """

    def __init__(self, method: Any, network: Any, *, seed: int = 0, tasks: int = 1) -> None:
        super().__init__(method, network, seed=seed, tasks=tasks)
        self.check_changes("augmentation", method.augmentation)
        self.draws = torch_generator(seed, "learner", "augmentation")

    def loss(self, images: Images, labels: Labels, columns: torch.Tensor, task: int) -> torch.Tensor:
        """Return the cross entropy of the new images plus that of the replayed ones."""
        del labels, task
        inputs = self.to_learn(images)
        if not len(self.memory):
            return self.new_images_loss(self.logits(inputs), columns)
        stored, stored_columns, _ = self.replayed(self.method.replay_batch)
        new, old = self.logits_apart(inputs, stored)
        return self.new_images_loss(new, columns) + self.replayed_images_loss(old, stored_columns)

    def varied(self, images: torch.Tensor) -> torch.Tensor:
        """Return stored images changed at random, as the method says."""
        changes = self.method.augmentation
        return augment(images, changes, self.draws) if changes.any else images

    def rehearse(self) -> None:
        """Train on the memory alone, ``rehearsal_steps`` steps a class seen, with a rate that falls along a cosine."""
        steps = self.method.rehearsal_steps * len(self.seen)
        if not steps:
            return
        optimiser = adam(self.module.parameters(), self.method.rehearsal_learning_rate)
        size = self.method.batch + self.method.replay_batch
        for n in range(steps):
            share = 0.5 * (1 + np.cos(np.pi * n / steps))
            for group in optimiser.param_groups:
                group["lr"] = self.method.rehearsal_learning_rate * share
            inputs, columns, _ = self.replayed(size)
            step_(self.replayed_images_loss(self.logits(inputs), columns), optimiser, self.tally)

    @contextmanager
    def undone_by_failure(self) -> Iterator[None]:
        """Take back also what was drawn for changing images."""
        draws = self.draws.get_state()
        try:
            with super().undone_by_failure():
                yield
        except BaseException:
            self.draws.set_state(draws)
            raise

    @contextmanager
    def asked(self) -> Iterator[None]:
        """Change images, while asked, with a generator of its own."""
        draws, self.draws = self.draws, torch_generator(self.seed, "asked", self.questions, "augmentation")
        try:
            with super().asked():
                yield
        finally:
            self.draws = draws

    def kept_arrays(self) -> dict[str, NDArray]:
        """Return the generator's state beside the rest."""
        return {**super().kept_arrays(), "generators/draws": self.draws.get_state().numpy()}

    def take_over(self, arrays: Mapping[str, NDArray], facts: Any) -> None:
        """Take over the generator's state beside the rest."""
        super().take_over(arrays, facts)
        self.draws.set_state(tensors_under("generators", arrays)["draws"])


class GDumbLearner(ReplayLearner):
    """Only fills the memory; when asked, a network with fresh weights learns from the memory alone.

    Deviations from the source: the memory's policy in place of the paper's greedy balancer, Adam with a cosine in place
    of SGD with warm restarts, and no cutmix.
    """

    def learn(self, images: Images, labels: Labels, task: int) -> float:
        """Offer the images to the memory; nothing is learned, so the loss is 0."""
        labels = self.checked(images, labels, task)
        columns = self.columns(labels)
        self.seen.extend(label for label in dict.fromkeys(labels.tolist()) if label not in self.seen)
        self.remember(images, labels, columns, task)
        return 0.0
