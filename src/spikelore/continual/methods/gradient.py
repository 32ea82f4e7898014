"""Learning by gradients: labels to outputs, the training step, decisions and a state to go on from."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from numbers import Integral
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F  # noqa: N812 - the field's name

from spikelore.continual.method import name_of
from spikelore.continual.methods.augment import augment, augment_recordings
from spikelore.continual.storage import blank_input
from spikelore.errors import InputError, SpikeloreError
from spikelore.files import arrays_under
from spikelore.learning.surrogate_gradient import adam, step_
from spikelore.metrics.learning_cost import Tally
from spikelore.networks.devices import array_of, device_of
from spikelore.networks.foreign import (
    at_rest,
    check_network,
    check_order,
    decided_label,
    has_methods,
    kind_of,
    modes_kept,
    named_tensors,
    over_time,
    own_generator,
    put_,
    reason_of,
    respond,
    tensors_of,
    weights_are_numbers,
)
from spikelore.networks.gradient_learning import Augmentation, GradientLearning, RecordingAugmentation
from spikelore.networks.protocol import GrowingModule, LayeredModule, PotentialModule, RandomModule, SeesSpikes
from spikelore.networks.readout import as_input, check_images, outputs, over_steps
from spikelore.randomness import torch_generator
from spikelore.shapes import Images, Labels, as_labels

_HIDDEN = -1e4


def tensors_under(title: str, arrays: Mapping[str, NDArray]) -> dict[str, torch.Tensor]:
    """Return `arrays_under` a title as tensors that share no memory with them."""
    return {name: torch.from_numpy(array.copy()) for name, array in arrays_under(title, arrays).items()}


def checked_labels(labels: Any, count: int) -> Labels:
    """Return the labels of ``count`` images as (B,) int64; InputError for any that are not as many whole numbers."""
    try:
        array = np.asarray(labels)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"labels are a {type(labels).__name__}, expected (B,) integers; convert them") from error
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise InputError(f"labels are {array.dtype} {array.shape}, expected (B,) integers; convert or flatten them")
    if len(array) != count:
        raise InputError(f"there are {count} images and {len(array)} labels, expected as many; give each image a label")
    return array.astype(np.int64)


def _only(logits: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """Return logits where all but some columns are so low that they have no part in a softmax."""
    mask = torch.full((logits.shape[1],), _HIDDEN, device=logits.device)
    return logits + mask.index_fill_(0, columns, 0.0)


def _checked_shape(shape: Any) -> tuple[int, int]:
    whole = isinstance(shape, tuple | list) and all(isinstance(side, Integral) and int(side) > 0 for side in shape)
    if not whole or len(shape) != 2:
        raise InputError(f"image_shape is {shape!r}, expected rows and columns (H,W); give both")
    return int(shape[0]), int(shape[1])


class GradientLearner:
    """A method at work on a differentiable network. On its own: naive fine-tuning; joint training on a joint stream.

    A method of one's own overrides `loss`, or what happens around a task, and says so in `Method.learner`. Randomness:
    the order of images is the caller's; the rest is drawn from named generators under ``seed``, whose states are part
    of `state_dict`. That is so for torch's global generator too, which layers such as dropout draw from: while it
    learns or is asked, it is the learner's own.

    Args:
        method: with its own settings.
        network: a `spikelore.networks.protocol.Differentiable` one. Its module begins each call from rest
            (`spikelore.networks.foreign.at_rest`), learns in the modes, training or evaluation, that its modules are
            in, and is asked in evaluation mode.
        seed: root seed.
        tasks: number of tasks, for memories that divide by task.

    Attributes:
        module: the network's.
        learning: learning rate, input, readout and averaging, the network's.
        loss_over: outputs that the cross entropy is over; see `spikelore.continual.methods.settings.LossOver`.
        classes: the labels in the order of the module's outputs.
        drop_last: whether a shorter last batch of a task is left out.
        grows_heads: whether outputs come with the tasks, so that there may be fewer than classes.

    Raises:
        InputError: the network's module is none or its weights cannot be learned here, its input is no image, or
            there is no class or one twice.
    """

    drop_last = False
    grows_heads = False

    def __init__(self, method: Any, network: Any, *, seed: int = 0, tasks: int = 1) -> None:
        check_network(network.module)
        classes = tuple(as_labels(network.classes, what="classes").tolist())
        if not classes or len(set(classes)) < len(classes):
            raise InputError(f"classes are {list(classes)}, expected at least one and each once; name each label once")
        self.method: Any = method
        self.network: Any = network
        self.module: nn.Module = network.module
        self.learning: GradientLearning = network.learning
        self.loss_over: str = getattr(method, "loss_over", "all")
        self.tally: Tally = getattr(network, "tally", None) or Tally()
        self.classes = classes
        shape: Any = network.input_shape
        self.check_changes("image_augmentation", self.learning.image_augmentation)
        self.check_changes("recording_augmentation", self.learning.recording_augmentation)
        self.input_shape = tuple(shape) if isinstance(network, SeesSpikes) else _checked_shape(shape)
        self.seed = seed
        self.tasks = tasks
        self.seen: list[int] = []
        self.questions = 0
        self.steps = 0
        self.growth: list[tuple[tuple[int, ...], int]] = []
        self._order_is_known = self._weights_are_known = False
        self.global_draws = torch_generator(seed, "learner", "global").get_state()
        self.averaged: dict[str, torch.Tensor] = {}
        self.optimiser = self.new_optimiser(self.learning.learning_rate)

    def check_changes(self, name: str, changes: Augmentation | RecordingAugmentation) -> None:
        """Refuse changes of images where the network takes recordings of spikes, and the other way round."""
        kinds = ("images", "image_augmentation"), ("recordings of spikes", "recording_augmentation")
        of_spikes = isinstance(changes, RecordingAugmentation)
        if changes.any and of_spikes != self.sees_spikes:
            takes, other = kinds[self.sees_spikes]
            raise InputError(
                f"{name} changes {kinds[of_spikes][0]}, and a {name_of(self.network)} network takes {takes}; leave it "
                f"out or set {other}"
            )

    @property
    def device(self) -> torch.device:
        """Where the network's weights are, and with them all that a step computes with."""
        return device_of(self.module)

    def new_optimiser(self, learning_rate: float) -> torch.optim.Adam | None:
        """Return Adam for all weights there are; None where there are none yet."""
        parameters = list(self.module.parameters())
        return adam(parameters, learning_rate) if parameters else None

    @property
    def memory_images(self) -> int:
        """Places for examples of earlier tasks."""
        return 0

    @property
    def memory_bytes(self) -> int:
        """Bytes of all that is kept of earlier tasks."""
        return 0

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
        spare = self._outputs() - len(self.classes) if classes and not self.grows_heads else len(classes)
        if spare < len(classes) and not has_methods(self.module, "add_head"):
            raise InputError(
                f"{self._name} has {len(self.classes) + spare} outputs and no add_head, expected an "
                f"output for each of the {len(self.classes) + len(classes)} classes; give it add_head "
                "(spikelore.networks.protocol.GrowingModule) or enough outputs from the start"
            )
        before = self.classes, self.tasks
        self.classes, self.tasks = (*self.classes, *classes), tasks
        try:
            self.make_room()
        except InputError:
            self.classes, self.tasks = before
            raise
        if spare < len(classes):
            assert isinstance(self.module, GrowingModule)
            with self.own_draws():
                self.module.add_head(len(classes) - spare)
            self.network_grew()
        self.growth.append((tuple(classes), tasks))
        with suppress(AttributeError):  # of a network whose classes follow from its outputs
            self.network.classes = self.classes

    def make_room(self) -> None:
        """Divide what is kept anew, for the classes and tasks that there are now."""

    def _outputs(self) -> int:
        """Return how many outputs the network has."""
        with torch.no_grad(), self.own_draws(), at_rest(self.module, still=True):
            return self.logits(self.to_input(blank_input(self.network))).shape[1]

    def network_grew(self) -> None:
        """Follow new parameters of the network: every optimiser gets them and keeps its state of the old ones."""
        if self.optimiser is not None:
            self.optimiser = self.widened(self.optimiser)
        self.averaged = self.of_same_shape(self.averaged)

    def widened(self, optimiser: torch.optim.Adam) -> torch.optim.Adam:
        """Return an optimiser of all the network's parameters with the state that another has of some of them."""
        wide = adam(self.module.parameters(), optimiser.param_groups[0]["lr"])
        for parameter in self.module.parameters():
            if parameter in optimiser.state:
                wide.state[parameter] = optimiser.state[parameter]
        return wide

    def of_same_shape(self, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return those of the tensors whose parameter has kept its shape."""
        shapes = {name: tensor.shape for name, tensor in named_tensors(self.module)}
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
            InputError: images or labels that are not as above, a label that the network has no output for, or outputs
                that are not (T,B,K).
            SpikeloreError: the loss is not a finite number, or an exception in the network.

        Whatever is raised, weights, running statistics, memory and generators are as they were; but that an example
        takes more bytes than the whole memory has is known only after the step on it.
        """
        labels = self.checked(images, labels, task)
        columns = self.columns(labels)
        with self.undone_by_failure(), self.own_draws():
            for label in np.unique(labels).tolist():
                if label not in self.seen:
                    self.seen.append(label)
            value = self.take_step(images, labels, columns, task)
        self.remember(images, labels, columns, task)
        return value

    def checked(self, images: Images, labels: Labels, task: int) -> Labels:
        """Return a batch's labels as (B,) int64.

        Raises:
            InputError: images or labels that cannot be learned from.
        """
        self.check_inputs(images)
        if not len(images):
            raise InputError("the batch has no image, expected at least one; leave it out")
        labels = checked_labels(labels, len(images))
        del task
        return labels

    @contextmanager
    def undone_by_failure(self) -> Iterator[None]:
        """In a block that fails, take back what it did to the classes seen, the generators and running statistics."""
        seen, everywhere = list(self.seen), self.global_draws
        noise = own_generator(self.module)
        drawn = None if noise is None else noise.get_state()
        statistics = at_rest(self.module) if any(True for _ in self.module.buffers()) else nullcontext()
        try:
            with statistics:
                yield
        except BaseException:
            self.seen, self.global_draws = seen, everywhere
            if noise is not None and drawn is not None:
                noise.set_state(drawn)
            raise

    def take_step(self, images: Images, labels: Labels, columns: torch.Tensor, task: int) -> float:
        """Take a step on a batch that is known to be right, and return its loss: here one down `loss`."""
        return self.descend(self.loss(images, labels, columns, task))

    def descend(self, loss: torch.Tensor) -> float:
        """Take one step of the optimiser and follow it with the averaged weights."""
        if self.optimiser is None:
            raise SpikeloreError("the network has no weights to learn; give it a head first")
        if not self._weights_are_known:
            self._check_weights(self.optimiser)
        value = self.move(loss, self.optimiser)
        self._average()
        return value

    def move(self, loss: torch.Tensor, optimiser: torch.optim.Optimizer) -> float:
        """Let the weights take the optimiser's step down a loss, and return its value from before the step."""
        return step_(loss, optimiser, self.tally)

    def _check_weights(self, optimiser: torch.optim.Optimizer) -> None:
        """Refuse a network that made weights in its first call, which would not be learned."""
        known = {id(weight) for group in optimiser.param_groups for weight in group["params"]}
        for name, weight in self.module.named_parameters():
            if id(weight) not in known:
                raise InputError(
                    f"{name} of {self._name} was made after the learner, which does not know it; show the network an "
                    "image, or add its heads, before the learner is made"
                )
        self._weights_are_known = True

    @torch.no_grad()
    def _average(self) -> None:
        if not self.learning.averaging:
            return
        self.steps += 1
        decay = min(self.learning.averaging, self.steps / (self.steps + 9))
        for name, tensor in named_tensors(self.module):
            mean = self.averaged.get(name)
            if mean is None or not tensor.is_floating_point():
                self.averaged[name] = tensor.detach().clone()
            elif mean.shape == tensor.shape:
                mean.lerp_(tensor, 1 - decay)

    def loss(self, images: Images, labels: Labels, columns: torch.Tensor, task: int) -> torch.Tensor:
        """Return the loss of a batch of new images: here the cross entropy of the logits."""
        del labels, task
        return self.new_images_loss(self.logits(self.to_learn(images)), columns)

    def new_images_loss(self, logits: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
        """Return the new images' cross entropy, over the outputs that the method's ``loss_over`` says; else over all.

        See `spikelore.continual.methods.settings.LossOver`.
        """
        if self.loss_over == "batch":
            return F.cross_entropy(_only(logits, columns), columns)
        return self.seen_classes_loss(logits, columns)

    def seen_classes_loss(self, logits: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
        """Return the cross entropy over the outputs of the classes seen so far, or over all if that is the method's."""
        if self.loss_over != "all":
            logits = _only(logits, self.columns(np.array(self.seen, np.int64)))
        return F.cross_entropy(logits, columns)

    def remember(self, images: Images, labels: Labels, columns: torch.Tensor, task: int) -> None:
        """Keep what is to be kept of the new images, after the step on them: here nothing."""

    # Inputs and outputs ------------------------------------------------------------------------------------------

    def to_input(self, images: Images) -> torch.Tensor:
        """Return inputs as the network's module takes them: (B,H,W) uint8 images in 0..1, or the spikes it sees."""
        self.check_inputs(images)
        if self.sees_spikes:
            return self.network.to_input(images)
        return as_input(images, self.learning.input, self.device)

    def to_learn(self, images: Images) -> torch.Tensor:
        """Return inputs as `to_input`, changed at random if that is how the network learns."""
        if not self.sees_spikes:
            self.check_inputs(images)
            return self.changed(as_input(images, "grey", self.device))
        changes = self.learning.recording_augmentation
        inputs = self.to_input(images)
        return augment_recordings(inputs, changes) if changes.any else inputs

    def changed(self, images: torch.Tensor) -> torch.Tensor:
        """Return images (B,H,W), 0..1, changed at random if that is how the network learns, and as it sees them."""
        changes = self.learning.image_augmentation
        if changes.any:
            images = augment(images, changes)
        return (images > 0.5).float() if self.learning.input == "spikes" else images

    @property
    def sees_spikes(self) -> bool:
        """Whether the network makes spikes of its inputs before all else."""
        return isinstance(self.network, SeesSpikes)

    def check_inputs(self, inputs: Any) -> None:
        """Refuse what is no input of the network; see `spikelore.networks.readout.check_images`."""
        if isinstance(self.network, SeesSpikes):
            self.network.checked(inputs)
        else:
            check_images(inputs, self.input_shape)

    def columns(self, labels: Labels) -> torch.Tensor:
        """Return the network's output column of each label, on its device.

        Raises:
            InputError: a label that is none of the learner's classes.
        """
        return torch.tensor(self._column_numbers(labels), dtype=torch.int64).to(self.device)

    def _column_numbers(self, labels: Labels) -> list[int]:
        places = {label: column for column, label in enumerate(self.classes)}
        outside = sorted(set(labels.tolist()) - set(places))
        if outside:
            raise InputError(
                f"label {outside[0]} is outside the head, whose outputs stand for {list(self.classes)}; give the "
                "network a head with this class or leave it out of the stream"
            )
        return [places[label] for label in labels.tolist()]

    def logits(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return (B,K) logits of (B,...) inputs by the network's readout; see `spikelore.networks.readout.over_steps`.

        Raises:
            InputError: outputs that are not (T,B,K), fewer outputs than classes, or no output potentials where the
                readout needs them.
            SpikeloreError: an exception in the network.
        """
        if self.learning.readout != "spikes":
            network = self.module
            able = isinstance(network, PotentialModule) and has_methods(network, "features", "output")
            if not able or not isinstance(network.threshold, float | int | torch.Tensor):
                raise InputError(
                    f"the readout {self.learning.readout!r} needs output potentials, which {self._name} does not give; "
                    "use the readout 'spikes'"
                )
            return self._decided(outputs(network, inputs), inputs)
        return self._of_classes(self.spikes(inputs).sum(0))

    @property
    def _name(self) -> str:
        return type(self.module).__name__

    def spikes(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the output spikes (T,B,K) of (B,H,W) inputs, from rest."""
        found = over_time(respond(self.module, self.module, inputs), inputs, self._name)
        if not self._order_is_known and len(found) == len(inputs) > 1:
            check_order(self.module, self.module, inputs)
        self._order_is_known |= len(inputs) > 1
        return found

    def logits_of(self, features: torch.Tensor) -> torch.Tensor:
        """Return (B,K) logits of the spikes below the network's split, (T,B,...); see `spikelore.networks.readout`."""
        if not isinstance(features, torch.Tensor) or features.dim() < 2 or not len(features):
            raise InputError(
                f"{self._name}.features returned {kind_of(features)}, expected a tensor (T,B,...) of spikes; return it"
            )
        shown = features[0]
        if self.learning.readout == "spikes":
            assert isinstance(self.module, LayeredModule)
            spikes = over_time(respond(self.module, self.module.head, features), shown, f"{self._name}.head")
            return self._of_classes(spikes.sum(0))
        assert isinstance(self.module, PotentialModule)
        return self._decided(respond(self.module, self.module.output, features), shown)

    def _decided(self, both: Any, like: torch.Tensor) -> torch.Tensor:
        """Return (B,K) logits of output spikes and potentials, by the readout."""
        name = f"{self._name}.output"
        if not isinstance(both, tuple | list) or len(both) != 2:
            raise InputError(
                f"{name} returned {kind_of(both)}, expected spikes and potentials, each (T,B,classes), for the readout "
                f"{self.learning.readout!r}; use the readout 'spikes'"
            )
        spikes, potentials = (over_time(each, like, name) for each in both)
        threshold: Any = self.module.threshold
        return self._of_classes(over_steps(spikes, potentials, threshold, self.learning.readout))

    def _of_classes(self, logits: torch.Tensor) -> torch.Tensor:
        """Return the logits, if there is one for each class or heads are still to come."""
        if logits.shape[1] < len(self.classes) and not self.grows_heads:
            raise InputError(
                f"the network has {logits.shape[1]} outputs, expected one for each of the {len(self.classes)} classes; "
                "give it a larger head"
            )
        return logits

    @torch.no_grad()
    def scores(self, images: Images, batch: int = 500) -> torch.Tensor:
        """Return the (N,K) logits of (N,H,W) uint8 images, by the network as it stands; see `asked`.

        The network is in evaluation mode meanwhile, and nothing in it moves but its generator. They are NaN if a weight
        is not a finite number.
        """
        self.check_inputs(images)
        if not len(images):
            return torch.zeros(0, len(self.classes), device=self.device)
        with at_rest(self.module, still=True):
            parts = [self.to_input(images[n : n + batch]) for n in range(0, len(images), batch)]
            found = torch.cat([self.logits(part) for part in parts])
        return found if weights_are_numbers(self.module) else torch.full_like(found, float("nan"))

    def decide(self, images: Images, among: tuple[int, ...]) -> Labels:
        """Return the class in ``among`` with the largest logit for each image; on a tie the first of ``classes``.

        It is -1 where one of these logits is not a finite number.
        """
        columns = sorted(self._column_numbers(checked_labels(list(among), len(among))))
        if not columns:
            raise InputError("there is no class to decide among, expected at least one; name some of the classes")
        return decided_label(self.scores(images).cpu()[:, columns], [self.classes[column] for column in columns])

    @contextmanager
    def asked(self) -> Iterator[None]:
        """While the block runs, the network is the one that decides; afterwards learning goes on undisturbed.

        That is: averaged weights if there are any, then `rehearse` on a copy in the modes that it learns in, then
        evaluation mode, all with generators of its own. Afterwards each module is in the mode it was in.
        """
        noise = own_generator(self.module)
        if noise is not None and isinstance(self.module, RandomModule):
            self.module.generator = torch_generator(self.seed, "asked", self.questions, "network")
        everywhere = torch.get_rng_state()
        torch.set_rng_state(torch_generator(self.seed, "asked", self.questions, "torch").get_state())
        try:
            with modes_kept(self.module), self.weights(self.averaged):
                self.rehearse()
                self.module.eval()
                yield
        finally:
            self.questions += 1
            torch.set_rng_state(everywhere)
            if noise is not None and isinstance(self.module, RandomModule):
                self.module.generator = noise

    @contextmanager
    def weights(self, others: Mapping[str, torch.Tensor]) -> Iterator[None]:
        """While the block runs, the network has other weights, where any are given; afterwards its own again."""
        kept = tensors_of(self.module, all_buffers=True)
        put_(self.module, others)
        try:
            yield
        finally:
            put_(self.module, kept)

    def rehearse(self) -> None:
        """Change the network, its averaged weights taken, before it is asked: here in nothing. It is put back after."""

    # State -------------------------------------------------------------------------------------------------------

    def optimisers(self) -> dict[str, torch.optim.Optimizer]:
        """Return the optimisers whose state is kept, by name."""
        return {} if self.optimiser is None else {"optimiser": self.optimiser}

    def facts(self) -> dict[str, Any]:
        """Return the part of the state that is no array, as plain values."""
        return {
            "method": self.method.name,
            "growth": self.growth,
            "seen": self.seen,
            "questions": self.questions,
            "steps": self.steps,
        }

    def load_facts(self, facts: Mapping[str, Any]) -> None:
        """Take over what `facts` returned; grows as that learner did."""
        for classes, tasks in facts.get("growth", []):
            self.grow(tuple(classes), tasks)
        self.seen, self.questions, self.steps = list(facts["seen"]), facts["questions"], facts["steps"]

    def state_dict(self) -> tuple[dict[str, NDArray], str]:
        """Return everything that decides how learning goes on: arrays by name, and the rest as JSON."""
        arrays = {f"network/{name}": array_of(tensor) for name, tensor in named_tensors(self.module)}
        arrays |= {f"beside/{name}": array_of(tensor) for name, tensor in self._beside_weights().items()}
        for title, optimiser in self.optimisers().items():
            for index, values in optimiser.state_dict()["state"].items():
                arrays.update({f"{title}/{index}/{key}": array_of(value) for key, value in values.items()})
        arrays.update({f"averaged/{name}": array_of(tensor) for name, tensor in self.averaged.items()})
        arrays["generators/global"] = self.global_draws.numpy()
        noise = own_generator(self.module)
        if noise is not None:
            arrays["generators/network"] = noise.get_state().numpy()
        arrays |= self.kept_arrays()
        return {name: array.copy() for name, array in arrays.items()}, json.dumps(self.facts())

    def _beside_weights(self) -> dict[str, torch.Tensor]:
        """Return what the module's own state holds beside weights and buffers, such as the clocks of synapses."""
        known = {name for name, _ in named_tensors(self.module)}
        state = self.module.state_dict().items()
        return {name: value for name, value in state if name not in known and isinstance(value, torch.Tensor)}

    def kept_arrays(self) -> dict[str, NDArray]:
        """Return the arrays of the state that are this method's own, by name."""
        return {}

    def load_network(self, arrays: Mapping[str, NDArray]) -> None:
        """Take over a network's weights alone, to decide with them.

        Raises:
            InputError: they are of another network, or not numbers.
        """
        for name, _ in self.module.named_parameters(remove_duplicate=False):
            if name in arrays and np.isnan(arrays[name]).any():
                raise InputError(f"{name} of the saved network holds NaN; train it again")
        try:
            put_(self.module, {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}, strict=True)
        except InputError as error:
            raise InputError(f"the saved network does not fit the configuration ({error}); train it again") from error

    def weights_under(self, title: str, arrays: Mapping[str, NDArray]) -> dict[str, torch.Tensor]:
        """Return `tensors_under` a title, each on the network's device, in the type of its tensor of that name."""
        mine = dict(named_tensors(self.module))
        found = tensors_under(title, arrays)
        return {name: tensor.to(mine.get(name, self.device)) for name, tensor in found.items()}

    def load_state_dict(self, arrays: Mapping[str, NDArray], facts: str) -> None:
        """Take over what `state_dict` returned for a learner that was made with the same arguments.

        Raises:
            InputError: a state of another method, network or memory, or no such state.
        """
        try:
            self.take_over(arrays, json.loads(facts))
        except SpikeloreError:
            raise
        except (KeyError, TypeError, ValueError, IndexError, RuntimeError) as error:
            raise InputError(
                f"the saved state is not of such a learner ({reason_of(error)}); make the learner as that one was made"
            ) from error

    def take_over(self, arrays: Mapping[str, NDArray], facts: Any) -> None:
        """Take over the parts of a state; a method with arrays of its own takes those too."""
        method = facts.get("method", self.method.name)
        if method != self.method.name:
            raise InputError(
                f"the saved state is of the method {method!r}, expected {self.method.name!r}; make the learner as "
                "that one was made"
            )
        self.load_facts(facts)
        self.load_network(arrays_under("network", arrays))
        if beside := tensors_under("beside", arrays):
            self.module.load_state_dict(beside, strict=False)
        for title, optimiser in self.optimisers().items():
            state: dict[int, dict[str, torch.Tensor]] = {}
            for name, tensor in tensors_under(title, arrays).items():
                index, _, key = name.partition("/")
                state.setdefault(int(index), {})[key] = tensor
            optimiser.load_state_dict({**optimiser.state_dict(), "state": state})
        self.averaged = self.weights_under("averaged", arrays)
        states = tensors_under("generators", arrays)
        self.global_draws = states.get("global", self.global_draws)
        noise = own_generator(self.module)
        if noise is not None:
            noise.set_state(states["network"])
