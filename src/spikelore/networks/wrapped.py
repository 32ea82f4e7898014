"""Any torch module as a network: `TorchNetwork`."""

import copy
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from spikelore.errors import InputError
from spikelore.files import load_tensors, save_tensors
from spikelore.networks.devices import array_of, device_of
from spikelore.networks.foreign import (
    check_network,
    has_methods,
    kind_of,
    named_tensors,
    own_generator,
    put_,
    respond,
    same_draws,
    tensors_of,
    weights_are_numbers,
)
from spikelore.networks.gradient_learning import GradientLearning
from spikelore.networks.protocol import Cost
from spikelore.networks.readout import Decision, as_input, logits
from spikelore.networks.stored import described, settings
from spikelore.networks.taught import Taught
from spikelore.randomness import check_seed, torch_generator
from spikelore.shapes import Images, Labels, as_labels

if TYPE_CHECKING:
    from spikelore.data.streams import Stream

_FORMAT = "spikelore torch module 1"
_DRAWS = ("draws/global", "draws/module")


class TorchNetwork(Taught):
    """A torch module that answers the contract: a `Network` that is `Differentiable`.

    Each call of the module begins from rest (`spikelore.networks.foreign.at_rest`). It learns in the modes, training or
    evaluation, that its modules are in. It is asked in evaluation mode, one image at a time, so that scores do not
    depend on how images are cut into batches, not even in their last digit; what it draws is of the image and `seed`.

    Args:
        module: from images (B,H,W) in 0..1 to (T,B,K) spikes, see `spikelore.networks.protocol.SpikingModule`.
        classes: the label of each output, in their order.
        input_shape: (H,W).
        learning: how it learns and decides.
        name: in tables; the module's class if not given.
        seed: of what it draws, from its own generator when it is asked and from torch's.

    Raises:
        InputError: no module, one that cannot learn here, no class or one twice, or no shape.

    Example:
        >>> import numpy as np
        >>> import torch
        >>> from spikelore.networks.stepwise import stepwise
        >>> from spikelore.networks.wrapped import TorchNetwork
        >>> class Threshold(torch.nn.Module):
        ...     def forward(self, currents):
        ...         soft = currents.sigmoid()
        ...         return (currents > 0).float() + soft - soft.detach()  # straight through
        >>> one_step = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2), Threshold())
        >>> network = TorchNetwork(stepwise(one_step, steps=3), classes=(3, 8), input_shape=(2, 2))
        >>> images = np.array([[[255, 0], [0, 0]], [[0, 255], [0, 0]]], np.uint8)
        >>> for _ in range(2000):
        ...     network.learn_(images, np.array([3, 8]))
        >>> network.predict(images).tolist()
        [3, 8]
    """

    def __init__(
        self,
        module: nn.Module,
        classes: Sequence[int],
        input_shape: Sequence[int],
        *,
        learning: GradientLearning | None = None,
        name: str = "",
        seed: int = 0,
    ) -> None:
        check_network(module)
        shape = tuple(as_labels(input_shape, what="rows and columns").tolist())
        if len(shape) != 2 or min(shape) < 1:
            raise InputError(f"input_shape is {input_shape!r}, expected rows and columns (H,W); give both")
        self._module = module
        self._shape = (shape[0], shape[1])
        self.name = name or type(module).__name__
        self.learning = learning or GradientLearning()
        self.seed = torch_generator(seed, "network").initial_seed()
        self.classes, self.among = (), ()
        self.classes = self._new_classes(classes)
        self._check_classes()
        self._global_draws = torch_generator(seed, "network", "global").get_state()

    @classmethod
    def for_stream(
        cls,
        stream: "Stream",
        seed: int = 0,
        *,
        module: Callable[[int], nn.Module] | None = None,
        learning: GradientLearning | None = None,
        name: str = "",
        **changes: Any,
    ) -> Self:
        """Return a network around a fresh module for a stream's classes and images.

        Args:
            stream: to be learned.
            seed: root seed: of torch's generator while the module is made, and of what it draws.
            module: makes the module, given the number of outputs.
            learning: how it learns and decides.
            name: in tables.
            changes: none; what a module can be told, its function tells it.

        Raises:
            InputError: no such function, a change, or what `TorchNetwork` refuses.
        """
        if changes:
            raise InputError(f"there is no setting {next(iter(changes))!r}, expected none; let module= make it so")
        if module is None or isinstance(module, nn.Module) or not callable(module):
            raise InputError(
                f"module is {kind_of(module)}, expected a function from the number of outputs to a fresh torch module; "
                "give module=lambda outputs: ..."
            )
        with torch.random.fork_rng(devices=()):
            torch.set_rng_state(torch_generator(seed, "network", "weights").get_state())
            made = module(len(stream.classes))
        shape = stream.tasks[0].train.inputs.shape[1:]
        return cls(made, stream.classes, shape, learning=learning, name=name, seed=seed)

    @property
    def module(self) -> nn.Module:
        """The module that was wrapped."""
        return self._module

    @property
    def input_shape(self) -> tuple[int, int]:
        """Rows and columns of an image."""
        return self._shape

    def learn_(self, inputs: Images, labels: Labels) -> None:
        """Take one step, as `Taught.learn_` says; torch's global generator is the network's own meanwhile."""
        others = torch.get_rng_state()
        torch.set_rng_state(self._global_draws)
        try:
            super().learn_(inputs, labels)
            self._global_draws = torch.get_rng_state()
        finally:
            torch.set_rng_state(others)

    @contextmanager
    def _looking_at(self, image: NDArray[np.uint8]) -> Iterator[torch.Tensor]:
        """Yield an image as input, (1,H,W), while all that is drawn is of this image; nothing moves."""
        state = self._draws_for(image).get_state()
        own = own_generator(self._module)
        with torch.no_grad(), same_draws(self._module):
            torch.set_rng_state(state)
            if own is not None:
                own.set_state(state)
            yield as_input(image[None], self.learning.input, device_of(self._module))

    def class_scores(self, inputs: Images) -> NDArray[np.float32]:
        """Return the (N, classes) logits of (N,H,W) uint8 images, columns in the order of `classes`.

        They are NaN where a weight is not a finite number.

        Raises:
            InputError: images of another kind or size, or a module that answers otherwise than its protocol says.
            SpikeloreError: an exception in the module.
        """
        images = self.checked(inputs)
        scores = np.zeros((len(images), len(self.classes)), np.float32)
        for n, image in enumerate(images):
            with self._looking_at(image) as shown:
                found = logits(self._module, shown, self.learning.readout, still=True)
            if found.shape[1] < len(self.classes):
                raise InputError(
                    f"the module has {found.shape[1]} outputs, expected one for each of the {len(self.classes)} "
                    "classes; give it more"
                )
            scores[n] = array_of(found[0, : len(self.classes)])
        return scores if weights_are_numbers(self._module) else np.full_like(scores, np.nan)

    def cost(self, inputs: Images) -> Cost:
        """Return what deciding images costs, means an image, by the module's ``count_operations(images)``.

        That returns an object with ``spikes``, ``accumulates`` and ``multiply_accumulates``, a number each or one an
        image (B,), as `SurrogateNetwork.count_operations` does.

        Raises:
            InputError: no image, or a module that does not say what it costs.
        """
        images, module = self.checked(inputs), self._module
        if not has_methods(module, "count_operations"):
            raise InputError(
                f"{type(module).__name__} does not say what a decision costs, expected a method count_operations; give "
                "it one that returns spikes, accumulates and multiply_accumulates of images (B,H,W)"
            )
        if not len(images):
            raise InputError("there is no image, expected at least one to count on; give some")
        totals = np.zeros(3)
        for image in images:
            with self._looking_at(image) as shown:
                found = respond(module, module.count_operations, shown, still=True)  # type: ignore[arg-type]
            names = ("spikes", "accumulates", "multiply_accumulates")
            totals += [float(torch.as_tensor(getattr(found, name, 0.0)).double().mean()) for name in names]
        return Cost(*(totals / len(images)).tolist())

    def copy(self) -> Self:
        """Return an equal network that shares no state with this one."""
        return copy.deepcopy(self)

    def grow_(self, classes: Sequence[int]) -> None:
        """Make room for further classes by the module's ``add_head``; see `protocol.GrowingModule`.

        Raises:
            InputError: a class that is there already, or a module that has neither spare outputs nor ``add_head``.
        """
        labels = self._new_classes(classes)
        rows, columns = self.input_shape
        blank = np.zeros((rows, columns), np.uint8)
        with self._looking_at(blank) as shown:
            outputs = logits(self._module, shown, self.learning.readout, still=True).shape[1]
        missing = len(self.classes) + len(labels) - outputs
        if missing > 0:
            if not has_methods(self._module, "add_head"):
                raise InputError(
                    f"{self.name} has {outputs} outputs and no add_head, expected an output for each of "
                    f"{len(self.classes) + len(labels)} classes; give it add_head or enough outputs from the start"
                )
            state = self._learning_state()
            self._module.add_head(missing)  # type: ignore[operator]
            self._load_learning_state(state)
        self._label_(labels)

    def state_dict(self) -> dict[str, NDArray]:
        """Return the module's weights and buffers by name, Adam's moments and the generators' states."""
        found = {**tensors_of(self._module), **self._learning_state(), _DRAWS[0]: self._global_draws}
        if (own := own_generator(self._module)) is not None:
            found[_DRAWS[1]] = own.get_state()
        return {name: array_of(tensor).copy() for name, tensor in found.items()}

    def load_state_dict(self, state: Mapping[str, Any], /) -> None:
        """Go on from what `state_dict` of such a network returned.

        Raises:
            InputError: it is of another network.
        """
        tensors = {name: torch.as_tensor(np.array(value)) for name, value in state.items()}
        moments = {name: tensors.pop(name) for name in list(tensors) if name.startswith("adam/")}
        draws = {name: tensors.pop(name) for name in list(tensors) if name in _DRAWS}
        try:
            put_(self._module, tensors, strict=True)
        except InputError as error:
            raise InputError(f"the saved state does not fit the module: {error}; give one of such a module") from error
        kinds = {name: tensor.dtype for name, tensor in named_tensors(self._module)}
        self._load_learning_state(
            {
                name: value if name.endswith("/step") else value.to(kinds[name.split("/")[1]])
                for name, value in moments.items()
            }
        )
        if (state_of := draws.get(_DRAWS[0])) is not None:
            self._global_draws = state_of
        own = own_generator(self._module)
        if own is not None and _DRAWS[1] in draws:
            own.set_state(draws[_DRAWS[1]])

    def save(self, path: Path | str) -> None:
        """Write a checkpoint: the state, classes and learning in one safetensors file, nothing pickled."""
        description = {
            "classes": self.classes, "among": self.among, "input_shape": self.input_shape, "name": self.name,
            "learning": asdict(self.learning), "seed": self.seed,
        }  # fmt: skip
        save_tensors(path, self.state_dict(), {"format": _FORMAT, "network": json.dumps(description)})

    @classmethod
    def load(cls, path: Path | str, module: nn.Module | None = None) -> Self:
        """Read a checkpoint that `save` wrote into a module.

        Args:
            path: of the checkpoint.
            module: made as that one was; its weights are overwritten.

        Raises:
            InputError: no module, no such file, or one of another module.
        """
        tensors, metadata = load_tensors(path)
        if metadata.get("format") != _FORMAT:
            raise InputError(f"checkpoint {path} holds {metadata.get('format', 'no format')!r}; expected {_FORMAT!r}")
        if module is None:
            raise InputError(
                f"checkpoint {path} holds the weights of a module of one's own, expected the module to put them in; "
                "load it with TorchNetwork.load(path, module)"
            )
        with described(path, "torch module"):
            told = settings(metadata, "network")
            learning = GradientLearning.of(told["learning"])
            network = cls(module, told["classes"], told["input_shape"], learning=learning, name=str(told["name"]))
            among = tuple(as_labels(told["among"], what="classes").tolist())
            network.among = Decision(network.classes, among).among
            network.seed = check_seed(told["seed"])
        network.load_state_dict(tensors)
        return network
