"""What all continual learners share: labels to outputs, the training step, decisions and a state to go on from."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F  # noqa: N812 - the field's name

from spikelore.continual.memory import Memory, PackedSpikes, RawImages, Storage, example_bytes
from spikelore.continual.methods.augment import augment
from spikelore.continual.methods.settings import LearnerSettings, MemorySettings
from spikelore.errors import InputError, SpikeloreError
from spikelore.learning.surrogate_gradient import adam, step_
from spikelore.networks.protocol import GrowingModule, LayeredModule, PotentialModule, RandomModule
from spikelore.networks.readout import SPIKE_FROM, as_input, check_images, drive
from spikelore.randomness import generator, torch_generator
from spikelore.shapes import Images, Labels

_HIDDEN = -1e4


def arrays_under(title: str, arrays: Mapping[str, NDArray]) -> dict[str, NDArray]:
    """Return the arrays whose names begin with ``title/``, without that."""
    prefix = f"{title}/"
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def tensors_under(title: str, arrays: Mapping[str, NDArray]) -> dict[str, torch.Tensor]:
    """Return `arrays_under` a title as tensors that share no memory with them."""
    return {name: torch.from_numpy(array.copy()) for name, array in arrays_under(title, arrays).items()}


def tensors_of(network: nn.Module) -> dict[str, torch.Tensor]:
    """Return a copy of a network's weights by name."""
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}


class Learner:
    """A network that learns from a stream of images. On its own: naive fine-tuning; joint training on a joint stream.

    A method overrides `loss`, or what happens around a task. Randomness: the order of images is the caller's; the
    rest is drawn from named generators under ``seed``, whose states are part of `state_dict`. That is so for torch's
    global generator too, which layers such as dropout draw from: while it learns or is asked, it is the learner's own.

    Args:
        network: any module from images (B,H,W) in 0..1 to (T,B,K) spikes.
        settings: of the method.
        memory: what the methods that keep examples may keep.
        classes: the labels in the order of the network's outputs.
        image_shape: (H,W).
        seed: root seed.
        tasks: number of tasks, for memories that divide by task.

    Attributes:
        drop_last: whether a shorter last batch of a task is left out.

    Raises:
        InputError: the memory's budget is smaller than the number of classes.
    """

    drop_last = False

    def __init__(
        self,
        network: nn.Module,
        settings: LearnerSettings,
        memory: MemorySettings,
        classes: tuple[int, ...],
        image_shape: tuple[int, int],
        seed: int,
        tasks: int = 1,
    ) -> None:
        self.network = network
        self.settings = settings
        self.kept = memory
        self.classes = classes
        self.image_shape = image_shape
        self.seed = seed
        self.tasks = tasks
        self.seen: list[int] = []
        self.questions = 0
        self.steps = 0
        self.growth: list[tuple[tuple[int, ...], int]] = []
        self.draws = torch_generator(seed, "learner", "augmentation")
        self.global_draws = torch_generator(seed, "learner", "global").get_state()
        self.storage = self.make_storage()
        self.memory = self._make_memory(tasks) if settings.keeps_examples else None
        self.averaged: dict[str, torch.Tensor] = {}
        self.optimiser = adam(network.parameters(), settings.learning_rate) if self._has_parameters() else None

    def _has_parameters(self) -> bool:
        return any(True for _ in self.network.parameters())

    def make_storage(self) -> Storage:
        """Return the form in which examples are stored."""
        if self.kept.storage == "spikes":
            return PackedSpikes(self.image_shape)
        return RawImages(self.image_shape)

    def row_bytes(self) -> int:
        """Return how many bytes the row of each stored example has."""
        return self.storage.row_bytes

    def extras(self) -> int:
        """Return how many float32 values are kept with each stored example."""
        return 0

    @property
    def memory_images(self) -> int:
        """Places for examples of earlier tasks."""
        return self.memory.places if self.memory is not None else 0

    @property
    def memory_bytes(self) -> int:
        """Bytes of all that is kept of earlier tasks: these places, with labels and what else is kept with one."""
        return self.memory.bytes if self.memory is not None else 0

    def _make_memory(self, tasks: int) -> Memory:
        rng = generator(self.seed, "learner", "memory")
        extras = self.extras()
        return Memory(self.kept.policy, self._places(), self.row_bytes(), rng, extras=extras, tasks=tasks)

    def _places(self) -> int:
        size = example_bytes(self.row_bytes(), self.extras())
        return self.kept.budget().examples(size, len(self.classes))

    # Around the stream -------------------------------------------------------------------------------------------

    def begin_task(self, task: int, classes: tuple[int, ...]) -> None:
        """Hear that a task begins (not in a task-free stream)."""

    def begin_epoch(self, task: int) -> None:
        """Hear that a pass over a task's images begins (not in a task-free stream)."""

    def end_task(self, task: int) -> None:
        """Hear that a task has ended (not in a task-free stream)."""

    def grow(self, classes: tuple[int, ...], tasks: int) -> None:
        """Make room for further classes and tasks: output columns after the old ones, a memory that is divided anew.

        What was learned stays, with the optimiser's state. A memory keeps its budget; what no longer fits goes by its
        policy.

        Args:
            classes: labels that the learner does not have yet; may be none.
            tasks: number of tasks in all.

        Raises:
            InputError: a class that is there already, a network that cannot grow, or a budget that is too small.
        """
        both = sorted(set(classes) & set(self.classes))
        if both:
            raise InputError(f"class {both[0]} is there already, expected new ones; leave it out")
        spare = self._outputs() - len(self.classes) if classes and not self.settings.grow_heads else len(classes)
        if spare < len(classes) and not isinstance(self.network, GrowingModule):
            raise InputError(
                f"{type(self.network).__name__} has {len(self.classes) + spare} outputs and no add_head, expected an "
                f"output for each of the {len(self.classes) + len(classes)} classes; give it add_head "
                "(spikelore.networks.protocol.GrowingModule) or enough outputs from the start"
            )
        before = self.classes, self.tasks
        self.classes, self.tasks = (*self.classes, *classes), tasks
        try:
            if self.memory is not None:
                self.memory.resize(self._places(), extras=self.extras(), tasks=tasks)
        except InputError:
            self.classes, self.tasks = before
            raise
        if spare < len(classes):
            assert isinstance(self.network, GrowingModule)
            with self.own_draws():
                self.network.add_head(len(classes) - spare)
            self.network_grew()
        self.growth.append((tuple(classes), tasks))

    def _outputs(self) -> int:
        """Return how many outputs the network has."""
        training = self.network.training
        self.network.eval()
        with torch.no_grad(), self.own_draws():
            found = self.logits(torch.zeros(1, *self.image_shape)).shape[1]
        self.network.train(training)
        return found

    def network_grew(self) -> None:
        """Follow new parameters of the network: every optimiser gets them and keeps its state of the old ones."""
        if self.optimiser is not None:
            self.optimiser = self.widened(self.optimiser)
        self.averaged = self.of_same_shape(self.averaged)

    def widened(self, optimiser: torch.optim.Adam) -> torch.optim.Adam:
        """Return an optimiser of all the network's parameters with the state that another has of some of them."""
        wide = adam(self.network.parameters(), optimiser.param_groups[0]["lr"])
        for parameter in self.network.parameters():
            if parameter in optimiser.state:
                wide.state[parameter] = optimiser.state[parameter]
        return wide

    def of_same_shape(self, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return those of the tensors whose parameter has kept its shape."""
        shapes = {name: tensor.shape for name, tensor in self.network.state_dict().items()}
        return {name: tensor for name, tensor in tensors.items() if tensor.shape == shapes.get(name)}

    @contextmanager
    def own_draws(self) -> Iterator[None]:
        """While the block runs, torch's global generator is the learner's own."""
        others = torch.get_rng_state()
        torch.set_rng_state(self.global_draws)
        try:
            yield
        finally:
            self.global_draws = torch.get_rng_state()
            torch.set_rng_state(others)

    # Learning ----------------------------------------------------------------------------------------------------

    def learn(self, images: Images, labels: Labels, task: int) -> float:
        """Take one step on a batch of new images and return its loss.

        Args:
            images: (B,H,W) uint8.
            labels: (B,) int64.
            task: the number of the task the images came with; -1 in a task-free stream.

        Raises:
            InputError: a label that the network has no output for.
            SpikeloreError: the loss is not a finite number; no weight was changed.
        """
        columns = self.columns(labels)
        for label in np.unique(labels).tolist():
            if label not in self.seen:
                self.seen.append(label)
        with self.own_draws():
            value = self.descend(self.loss(images, labels, columns, task))
        self.remember(images, labels, columns, task)
        return value

    def descend(self, loss: torch.Tensor) -> float:
        """Take one step of the optimiser and follow it with the averaged weights."""
        if self.optimiser is None:
            raise SpikeloreError("the network has no weights to learn; give it a head first")
        value = step_(loss, self.optimiser)
        self._average()
        return value

    @torch.no_grad()
    def _average(self) -> None:
        if not self.settings.averaging:
            return
        self.steps += 1
        decay = min(self.settings.averaging, self.steps / (self.steps + 9))
        for name, parameter in self.network.named_parameters():
            if name not in self.averaged:
                self.averaged[name] = parameter.detach().clone()
            else:
                self.averaged[name].lerp_(parameter, 1 - decay)

    def loss(self, images: Images, labels: Labels, columns: torch.Tensor, task: int) -> torch.Tensor:
        """Return the loss of a batch of new images: here the cross entropy of the logits."""
        del labels, task
        return F.cross_entropy(self.logits(self.to_input(images)), columns)

    def remember(self, images: Images, labels: Labels, columns: torch.Tensor, task: int) -> None:
        """Offer the new images to the memory, after the step on them."""
        del columns
        if self.memory is not None:
            self.memory.offer(self.storage.pack(self.shown(images)), labels, task=task)

    def new_images_loss(self, logits: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
        """Return the new images' cross entropy, over the outputs that the settings say."""
        over = columns.unique() if self.settings.loss_over == "batch" else self._seen_columns()
        return F.cross_entropy(self._only(logits, over), columns)

    def replayed_images_loss(self, logits: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
        """Return the replayed images' cross entropy, over the outputs that the settings say."""
        return F.cross_entropy(self._only(logits, self._seen_columns()), columns)

    def _seen_columns(self) -> torch.Tensor:
        return self.columns(np.array(self.seen, np.int64))

    def _only(self, logits: torch.Tensor, over: torch.Tensor) -> torch.Tensor:
        """Return logits where all but some columns are so low that they have no part in a softmax."""
        if self.settings.loss_over == "all":
            return logits
        mask = torch.full((logits.shape[1],), _HIDDEN)
        mask[over] = 0.0
        return logits + mask

    def replayed(self, count: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Draw stored examples: network inputs (B,H,W), changed at random, their columns (B,) and extras (B,E)."""
        assert self.memory is not None
        rows, labels, extras = self.memory.get(self.memory.sample(count, balanced=self.settings.balanced_replay))
        images = torch.from_numpy(self.storage.unpack(rows)).float()
        if self.kept.storage == "raw":
            images /= 255
        if self.settings.augmentation.any:
            images = augment(images, self.settings.augmentation, self.draws)
        if self.settings.input == "spikes":
            images = (images > 0.5).float()
        return images, self.columns(labels), torch.from_numpy(extras)

    # Inputs and outputs ------------------------------------------------------------------------------------------

    def shown(self, images: Images) -> NDArray[np.uint8]:
        """Return (B,H,W) uint8 images as they are stored: as they are, or 1 where a spike is."""
        check_images(images)
        spikes = self.kept.storage == "spikes"
        return (images >= SPIKE_FROM).astype(np.uint8) if spikes else images

    def to_input(self, images: Images) -> torch.Tensor:
        """Return (B,H,W) uint8 images as the network sees them, 0..1."""
        return as_input(images, self.settings.input)

    def columns(self, labels: Labels) -> torch.Tensor:
        """Return the network's output column of each label.

        Raises:
            InputError: a label that is none of the learner's classes.
        """
        places = {label: column for column, label in enumerate(self.classes)}
        outside = sorted(set(labels.tolist()) - set(places))
        if outside:
            raise InputError(
                f"label {outside[0]} is outside the head, whose outputs stand for {list(self.classes)}; give the "
                "network a head with this class or leave it out of the stream"
            )
        return torch.tensor([places[label] for label in labels.tolist()], dtype=torch.int64)

    def logits(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return (B,K) logits of (B,H,W) inputs: spike counts, with the readout ``drive`` and what is left over.

        Raises:
            InputError: fewer outputs than classes, or ``drive`` from a network without output potentials.
        """
        if self.settings.readout == "drive":
            if not isinstance(self.network, PotentialModule):
                raise InputError(
                    f"the readout 'drive' needs output potentials, which {type(self.network).__name__} does not give; "
                    "use the readout 'spikes'"
                )
            return self.logits_of(self.network.features(inputs))
        return self._of_classes(self.network(inputs).sum(0))

    def logits_of(self, features: torch.Tensor) -> torch.Tensor:
        """Return (B,K) logits of the spikes below the network's split, (T,B,...); see `spikelore.networks.readout`."""
        if self.settings.readout == "spikes":
            assert isinstance(self.network, LayeredModule)
            return self._of_classes(self.network.head(features).sum(0))
        assert isinstance(self.network, PotentialModule)
        spikes, potentials = self.network.output(features)
        return self._of_classes(drive(spikes, potentials, self.network.threshold))

    def _of_classes(self, logits: torch.Tensor) -> torch.Tensor:
        """Return the logits, if there is one for each class or heads are still to come."""
        if logits.shape[1] < len(self.classes) and not self.settings.grow_heads:
            raise InputError(
                f"the network has {logits.shape[1]} outputs, expected one for each of the {len(self.classes)} classes; "
                "give it a larger head"
            )
        return logits

    @torch.no_grad()
    def scores(self, images: Images, batch: int = 500) -> torch.Tensor:
        """Return the logits of (N,H,W) uint8 images, by the network as it stands; see `asked`."""
        return torch.cat([self.logits(self.to_input(images[n : n + batch])) for n in range(0, len(images), batch)])

    def decide(self, images: Images, among: tuple[int, ...]) -> Labels:
        """Return the class in ``among`` with the largest logit for each image; on a tie the first of ``classes``."""
        columns = sorted(self.columns(np.array(among)).tolist())
        best = self.scores(images)[:, columns].argmax(1).numpy()
        return np.array(self.classes, np.int64)[np.array(columns)[best]]

    @contextmanager
    def asked(self) -> Iterator[None]:
        """While the block runs, the network is the one that decides; afterwards learning goes on undisturbed.

        That is: averaged weights if there are any, then `rehearse` on a copy, evaluation mode, generators of its own.
        """
        noise = self.network.generator if isinstance(self.network, RandomModule) else None
        draws, self.draws = self.draws, torch_generator(self.seed, "asked", self.questions, "augmentation")
        sampling = None
        if self.memory is not None:
            sampling, self.memory.rng = self.memory.rng, generator(self.seed, "asked", self.questions, "memory")
        if isinstance(self.network, RandomModule):
            self.network.generator = torch_generator(self.seed, "asked", self.questions, "network")
        try:
            with self.weights(self.averaged), self._asked_draws():
                self.rehearse()
                self.network.eval()
                yield
        finally:
            self.questions += 1
            self.network.train()
            self.draws = draws
            if self.memory is not None and sampling is not None:
                self.memory.rng = sampling
            if noise is not None and isinstance(self.network, RandomModule):
                self.network.generator = noise

    @contextmanager
    def _asked_draws(self) -> Iterator[None]:
        """While the block runs, torch's global generator is one of this question's own."""
        learning = self.global_draws
        self.global_draws = torch_generator(self.seed, "asked", self.questions, "global").get_state()
        try:
            with self.own_draws():
                yield
        finally:
            self.global_draws = learning

    @contextmanager
    def weights(self, others: Mapping[str, torch.Tensor]) -> Iterator[None]:
        """While the block runs, the network has other weights, where any are given; afterwards its own again."""
        kept = tensors_of(self.network)
        self.network.load_state_dict(others, strict=False)
        try:
            yield
        finally:
            self.network.load_state_dict(kept)

    def rehearse(self) -> None:
        """Train on the memory alone, `rehearsal_steps` steps a class seen, with a rate that falls along a cosine."""
        steps = self.settings.rehearsal_steps * len(self.seen)
        if self.memory is None or not steps:
            return
        optimiser = adam(self.network.parameters(), self.settings.rehearsal_learning_rate)
        size = self.settings.batch + self.settings.replay_batch
        for n in range(steps):
            share = 0.5 * (1 + np.cos(np.pi * n / steps))
            for group in optimiser.param_groups:
                group["lr"] = self.settings.rehearsal_learning_rate * share
            inputs, columns, _ = self.replayed(size)
            step_(self.replayed_images_loss(self.logits(inputs), columns), optimiser)

    # State -------------------------------------------------------------------------------------------------------

    def optimisers(self) -> dict[str, torch.optim.Optimizer]:
        """Return the optimisers whose state is kept, by name."""
        return {} if self.optimiser is None else {"optimiser": self.optimiser}

    def facts(self) -> dict[str, Any]:
        """Return the part of the state that is no array, as plain values."""
        found: dict[str, Any] = {
            "growth": self.growth, "seen": self.seen, "questions": self.questions, "steps": self.steps
        }  # fmt: skip
        if self.memory is not None:
            found["memory generator"] = self.memory.rng.bit_generator.state
        return found

    def load_facts(self, facts: Mapping[str, Any]) -> None:
        """Take over what `facts` returned; grows as that learner did."""
        for classes, tasks in facts.get("growth", []):
            self.grow(tuple(classes), tasks)
        self.seen, self.questions, self.steps = list(facts["seen"]), facts["questions"], facts["steps"]
        if self.memory is not None:
            self.memory.rng.bit_generator.state = facts["memory generator"]

    def state_dict(self) -> tuple[dict[str, NDArray], str]:
        """Return everything that decides how learning goes on: arrays by name, and the rest as JSON."""
        arrays = {f"network/{name}": tensor.numpy() for name, tensor in self.network.state_dict().items()}
        for title, optimiser in self.optimisers().items():
            for index, values in optimiser.state_dict()["state"].items():
                arrays.update({f"{title}/{index}/{key}": value.numpy() for key, value in values.items()})
        arrays.update({f"averaged/{name}": tensor.numpy() for name, tensor in self.averaged.items()})
        arrays["generators/draws"] = self.draws.get_state().numpy()
        arrays["generators/global"] = self.global_draws.numpy()
        if isinstance(self.network, RandomModule):
            arrays["generators/network"] = self.network.generator.get_state().numpy()
        if self.memory is not None:
            arrays.update({f"memory/{name}": array for name, array in self.memory.state_dict().items()})
        return {name: array.copy() for name, array in arrays.items()}, json.dumps(self.facts())

    def load_network(self, arrays: Mapping[str, NDArray]) -> None:
        """Take over a network's weights alone, to decide with them.

        Raises:
            InputError: they are of another network.
        """
        try:
            self.network.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in arrays.items()})
        except RuntimeError as error:
            reason = " ".join(str(error).split())
            raise InputError(f"the saved network does not fit the configuration ({reason}); train it again") from error

    def load_state_dict(self, arrays: Mapping[str, NDArray], facts: str) -> None:
        """Take over what `state_dict` returned for a learner that was made with the same arguments."""
        self.load_facts(json.loads(facts))
        self.network.load_state_dict(tensors_under("network", arrays))
        for title, optimiser in self.optimisers().items():
            state: dict[int, dict[str, torch.Tensor]] = {}
            for name, tensor in tensors_under(title, arrays).items():
                index, _, key = name.partition("/")
                state.setdefault(int(index), {})[key] = tensor
            optimiser.load_state_dict({**optimiser.state_dict(), "state": state})
        self.averaged = tensors_under("averaged", arrays)
        states = tensors_under("generators", arrays)
        self.draws.set_state(states["draws"])
        self.global_draws = states.get("global", self.global_draws)
        if isinstance(self.network, RandomModule):
            self.network.generator.set_state(states["network"])
        if self.memory is not None:
            self.memory.load_state_dict(arrays_under("memory", arrays))
