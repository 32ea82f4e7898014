"""Convolutional networks of leaky integrate-and-fire neurons, differentiable by surrogate gradients."""

import copy
import hashlib
import json
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from inspect import getclosurevars
from itertools import pairwise
from numbers import Integral
from pathlib import Path
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F  # noqa: N812 - the field's name

from spikelore.errors import InputError
from spikelore.files import load_tensors, save_tensors
from spikelore.kernels import DEFAULT_BACKEND
from spikelore.kernels.lif_convolution import LARGEST_WINDOW
from spikelore.kernels.lif_scan import Leaky
from spikelore.networks.autograd import convolve, scan, scan_with_potentials
from spikelore.networks.foreign import at_rest, kind_of, reason_of, weights_are_numbers
from spikelore.networks.gradient_learning import GradientLearning
from spikelore.networks.layer_use import LayerUse
from spikelore.networks.protocol import Cost
from spikelore.networks.readout import Decision, as_input, drive
from spikelore.networks.surrogate_config import SurrogateConfig
from spikelore.networks.taught import Taught
from spikelore.randomness import torch_generator
from spikelore.shapes import Images, as_labels, as_shares

if TYPE_CHECKING:
    from spikelore.data.streams import Stream

_FORMAT = "spikelore surrogate network 2"
_FIRST_FORMAT = "spikelore surrogate network 1"
_BESIDE_WEIGHTS = ("adam/", "clocks/", "plasticity", "frozen", "generator")
_DECIDED_AT_ONCE = 500
_ROUNDED = 1e-5
"""By how much a probability may lie outside 0..1."""


class Stepwise(nn.Module):
    """A model of one step in a loop over time; see `stepwise`."""

    def __init__(self, step: Callable[[torch.Tensor], Any], steps: int, reset: Callable[[], Any] | None) -> None:
        super().__init__()
        if steps < 1:
            raise InputError(f"steps is {steps}, expected at least 1; choose another number")
        if not callable(step) or isinstance(step, type):
            raise InputError(f"step is {step!r}, expected a module or a function of one step; make one first")
        known = _known_to(step)
        self.models = nn.ModuleList(each for each in known if isinstance(each, nn.Module))
        self.steps = steps
        self._step = [step]  # in a list, so that a module is not registered twice
        self._known = [vars(each) if hasattr(each, "__dict__") else each for each in known if _may_hold_state(each)]
        self._reset = reset

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return (T,B,classes) spikes."""
        if self._reset is not None:
            self._reset()
        with at_rest(self):
            return torch.stack([self._one(images) for _ in range(self.steps)])

    def _one(self, images: torch.Tensor) -> torch.Tensor:
        output = self._step[0](images)
        spikes = output[0] if isinstance(output, tuple | list) and output else output
        if not isinstance(spikes, torch.Tensor) or spikes.dim() != 2 or len(spikes) != len(images):
            raise InputError(
                f"the step returned {kind_of(output)} for {len(images)} images, expected a tensor (B,classes) of one "
                "step's spikes; return the spikes alone or first"
            )
        return spikes


def _known_to(step: Any) -> list[Any]:
    """Return where a step may keep its state: itself, the object it is a method of, or what a function names."""
    if isinstance(step, partial):
        return [each for part in (step.func, *step.args, *step.keywords.values()) for each in _known_to(part)]
    if isinstance(step, MethodType):
        return [step.__self__]
    if not isinstance(step, FunctionType):
        return [step]
    named = getclosurevars(step)
    return list({id(each): each for each in (*named.nonlocals.values(), *named.globals.values())}.values())


def _may_hold_state(value: Any) -> bool:
    """Return whether a value that is no module is a container or somebody's object."""
    ours = type(value).__module__.partition(".")[0] in ("builtins", "torch", "numpy")
    return isinstance(value, list | dict | deque) or not (ours or isinstance(value, nn.Module))


def stepwise(step: Callable[[torch.Tensor], Any], steps: int, reset: Callable[[], Any] | None = None) -> Stepwise:
    """Return a module from images to (T,B,classes) spikes around a model of one step that keeps its own state.

    Each call starts from rest. What the steps left in the model's attributes, or in buffers by another shape or with
    gradients, is put back after it, and neurons of snnTorch and SpikingJelly are reset before it. State that is
    elsewhere, as in a function's variable that it assigns anew, needs ``reset``.

    Args:
        step: maps images to the (B,classes) spikes of the next step, or a tuple or list of which they are the first: a
            module, a method of one, or a function that names one.
        steps: T.
        reset: called before the first step of each call.

    Raises:
        InputError: no step, a number of steps below 1, or, when called, an answer of another form.
    """
    return Stepwise(step, steps, reset)


@dataclass(frozen=True)
class Operations:
    """What one image costs; each (B,) float64.

    Attributes:
        spikes: of all neurons over all steps, input spikes counted too.
        accumulates: additions of a weight to a neuron's input, one for each synapse that a spike reaches.
        multiply_accumulates: the same for inputs that are not spikes (``constant`` coding), once an image.
    """

    spikes: torch.Tensor
    accumulates: torch.Tensor
    multiply_accumulates: torch.Tensor


class SurrogateNetwork(Taught, nn.Module):
    """conv - max pool - LIF, repeated; then linear - LIF, repeated; then one or more linear - LIF heads.

    Signals are (T,B,...), or (1,B,...) where they are the same at every step; such a signal is convolved once.
    The network is trained like any torch module and answers `spikelore.networks.protocol.SpikingModule`; it is a
    `Network` that is `Differentiable` and has `Units` and `Synapses`.

    A class may have several output neurons, its units; its spikes and potential are their means, so that classes with
    more of them have no advantage.

    `state_dict` holds what a torch module's does, weights by name. What has happened beside them goes with them once it
    has: Adam's moments of `learn_` and the generator, ``plasticity``, ``frozen`` features, the ``clocks`` of synapses.

    Args:
        config: sizes and constants.
        generator: draws the initial weights, those of later heads, and the Bernoulli inputs; may be replaced.
        classes: the label of each output; 0, 1, ... if not given.
        learning: how it learns and decides.
        backend: of the kernels.

    Attributes:
        classes: the label of each output, in their order.
        among: those that it decides among where it is not told; none for all.
        learning: how it learns and decides.
        seed: of the draws by which Bernoulli coding looks at an image that is decided: of its pixels and this alone.

    Source: Proietti et al. 2023 (MLSP), with torch's default initial weights.

    Example:
        >>> from spikelore.data.streams import split_stream
        >>> from spikelore.networks.surrogate import SurrogateNetwork
        >>> stream = split_stream("digits-sample", [(0, 1)])
        >>> network = SurrogateNetwork.for_stream(stream, seed=0)
        >>> train, test = stream.tasks[0].train, stream.tasks[0].test
        >>> for n in range(0, 128, 32):
        ...     network.learn_(train.images[n : n + 32], train.labels[n : n + 32])
        >>> bool((network.predict(test.images) == test.labels).mean() > 0.9)
        True
    """

    name = "surrogate"

    def __init__(
        self,
        config: SurrogateConfig,
        generator: torch.Generator,
        *,
        classes: Sequence[int] | None = None,
        learning: GradientLearning | None = None,
        backend: str = DEFAULT_BACKEND,
    ) -> None:
        super().__init__()
        self.config = config
        self.generator = generator
        self.seed = generator.initial_seed()
        self.backend = backend
        self.learning = learning or GradientLearning()
        self.classes = tuple(range(config.classes)) if classes is None else ()
        self.among = ()
        self.head_units: list[tuple[int, ...]] = []
        self._optimiser = None
        self._uses: dict[str, LayerUse] = {}
        shapes = config.shapes()
        convolutions = pairwise(shapes[: len(config.channels) + 1])
        self.convolutions = nn.ModuleList(
            nn.Conv2d(before[0], after[0], config.kernel) for before, after in convolutions
        )
        sizes = [_size(shape) for shape in shapes[len(config.channels) :]]
        self.hidden = nn.ModuleList(nn.Linear(before, after) for before, after in pairwise(sizes))
        self.heads = nn.ModuleList()
        for layer in (*self.convolutions, *self.hidden):
            self._initialise_(layer)
        if config.classes:
            self.add_head(config.classes)
        if classes is not None:
            self.classes = self._new_classes(classes)
            if len(self.classes) > config.classes:
                raise InputError(
                    f"there are {len(self.classes)} classes and config.classes is {config.classes}, expected an output "
                    "for each; enlarge it"
                )

    @classmethod
    def for_stream(
        cls, stream: "Stream", seed: int = 0, *, learning: GradientLearning | None = None, **changes: Any
    ) -> Self:
        """Return an untrained network of the ``best`` preset for a stream's classes and images.

        Args:
            stream: to be learned.
            seed: root seed.
            learning: how it learns and decides; `GradientLearning.best` if not given.
            changes: other values of any field of `SurrogateConfig`; ``classes=0`` starts without a head.

        Raises:
            InputError: images too small for the layers, or a setting that is none.
        """
        rows, columns = stream.tasks[0].train.images.shape[1:]
        sizes = {"image": (1, rows, columns), "classes": len(stream.classes)}
        try:
            config = SurrogateConfig.best(**{**sizes, **changes})
        except TypeError as error:
            raise InputError(f"{reason_of(error)}; give fields of SurrogateConfig") from error
        labels = stream.classes[: config.classes]
        learning = learning or GradientLearning.best()
        return cls(config, torch_generator(seed, "network"), classes=labels, learning=learning)

    @property
    def module(self) -> Self:
        """The network itself."""
        return self

    @property
    def input_shape(self) -> tuple[int, int]:
        """Rows and columns of an image."""
        return self.config.image[1], self.config.image[2]

    @property
    def decision(self) -> Decision | None:
        """Its `classes` and `learning` as what a decision needs; None where it has no classes. Setting it sets them."""
        if not self.classes:
            return None
        return Decision(self.classes, self.among or self.classes, self.learning.readout, self.learning.input)

    @decision.setter
    def decision(self, value: Decision | None) -> None:
        self.classes, self.among = (value.classes, value.among) if value else ((), ())
        if value:
            self.learning = replace(self.learning, readout=value.readout, input=value.input)

    def _initialise_(self, layer: nn.Module) -> None:
        assert isinstance(layer, nn.Conv2d | nn.Linear)
        bound = _size(layer.weight.shape[1:]) ** -0.5
        with torch.no_grad():
            for parameter in layer.parameters():
                parameter.uniform_(-bound, bound, generator=self.generator)

    def add_head(self, classes: int) -> None:
        """Append a head of ``classes`` outputs; its columns come after those of the heads before.

        An optimiser made before does not know its weights. What the outputs stand for is for `grow_` to say.
        """
        if not isinstance(classes, Integral) or classes < 1:
            raise InputError(f"a head of {classes} classes was asked for; it needs at least 1")
        self._add_head_of((self.config.units_per_class,) * int(classes))

    def _add_head_of(self, units: tuple[int, ...]) -> None:
        """Append a head with so many units of each class."""
        head = nn.Linear(_size(self.config.shapes()[-1]), sum(units))
        self._initialise_(head)
        self.heads.append(head)
        self.head_units.append(units)
        if self._optimiser is not None:
            self._optimiser.add_param_group({"params": list(head.parameters())})

    def grow_(self, classes: Sequence[int]) -> None:
        """Make room for further classes after those there are: a head of them, or outputs that have no label yet.

        Raises:
            InputError: a class that is there already, or is no label.
        """
        labels = self._new_classes(classes)
        missing = len(self.classes) + len(labels) - sum(self.head_sizes)
        if missing > 0:
            self.add_head(missing)
        self._label_(labels)

    @property
    def threshold(self) -> float:
        """Firing threshold of every neuron."""
        return self.config.neuron.threshold

    @property
    def head_sizes(self) -> list[int]:
        """Classes of each head."""
        return [len(units) for units in self.head_units]

    def head_columns(self, index: int) -> slice:
        """Return which output columns belong to head ``index`` (negative: from the newest)."""
        sizes = self.head_sizes
        index = range(len(sizes))[index]
        start = sum(sizes[:index])
        return slice(start, start + sizes[index])

    @torch.no_grad()
    def align_heads_(self) -> None:
        """Scale the newest head's weights so that their mean norm is that of the older heads'.

        The norm is that of an output neuron's weight vector. Nothing happens with one head, or where the newest
        head's weights are all 0.

        Source: weight alignment, Zhao et al. 2020 (arXiv 1911.07053), as Proietti et al. 2023 use it.
        """
        if len(self.heads) < 2:
            return
        *old, new = (head.weight for head in _linear(self.heads))
        mean = torch.cat([weight.norm(dim=1) for weight in old]).mean()
        size = new.norm(dim=1).mean()
        if size > 0:
            new.mul_(mean / size)

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        """Return the input signal, (T,B,C,H,W) or (1,B,C,H,W), of (B,H,W) or (B,C,H,W) images in 0..1."""
        if not isinstance(images, torch.Tensor):
            raise InputError(f"images are {kind_of(images)}, expected a float32 tensor (B,H,W); use torch.as_tensor")
        if images.dim() == 3:
            images = images.unsqueeze(1)
        if tuple(images.shape[1:]) != self.config.image:
            raise InputError(f"images have shape {tuple(images.shape[1:])}; the network takes {self.config.image}")
        if not len(images):
            raise InputError("the batch has no image, expected at least one; leave it out")
        weight = next(self.parameters(), images)
        if images.dtype != torch.float32 or weight.dtype != torch.float32:
            kinds = [str(each.dtype).removeprefix("torch.") for each in (images, weight)]
            raise InputError(
                f"images are {kinds[0]} and weights {kinds[1]}, expected float32, images in 0..1; convert with float()"
            )
        if self.config.coding == "constant":
            return images.unsqueeze(0)
        shown = images.unsqueeze(0)
        if self.config.coding == "bernoulli":
            shown = shown.expand(self.config.steps, *images.shape)
        before = self.generator.get_state()
        try:
            return torch.bernoulli(shown, generator=self.generator)
        except RuntimeError as error:
            low, high = (float(each) for each in images.aminmax())
            if low >= -_ROUNDED and high <= 1 + _ROUNDED:  # an image between whose pixels others were interpolated
                self.generator.set_state(before)
                return torch.bernoulli(shown.clamp(0, 1), generator=self.generator)
            raise InputError(
                f"pixels are {low:g} to {high:g}, expected probabilities of a spike, 0 to 1; divide grey images by 255"
            ) from error

    def _currents(self, signal: torch.Tensor, index: int, neurons: Leaky | None) -> torch.Tensor:
        """Return the input currents of layer ``index``, the read-out being the last, from the signal before it.

        The signal is the encoded image, or the currents of the ``neurons`` before, or without them their spikes.
        """
        if index >= len(self.convolutions):
            weight, bias = self._matrix(index)
            if neurons is None or index < self.config.layers or weight.shape[1] > LARGEST_WINDOW:
                spikes = signal if neurons is None else self._spikes(signal)
                return F.linear(spikes.flatten(2), weight, bias)
            folded, steps = self._folded(signal.flatten(2)[:, :, None, None])  # few outputs: few spikes to add up
            currents = convolve(folded, weight[:, :, None, None], bias, neurons, steps, 1, backend=self.backend)
            return currents.reshape(-1, signal.shape[1], len(bias))
        convolution = self.convolutions[index]
        assert isinstance(convolution, nn.Conv2d)
        assert convolution.bias is not None
        if index:
            folded, steps = self._folded(signal)
            currents = convolve(
                folded, convolution.weight, convolution.bias, neurons, steps, self.config.pool, backend=self.backend
            )
            return currents.reshape(-1, signal.shape[1], *currents.shape[2:])
        maps = convolution(signal.flatten(0, 1)).contiguous(memory_format=torch.channels_last)  # pools 3 x as fast
        currents = F.max_pool2d(maps, self.config.pool)
        return currents.permute(0, 2, 3, 1).reshape(*signal.shape[:2], *currents.shape[2:], -1)

    def _matrix(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return weight and bias of a fully connected layer or of all heads, for inputs in their order here."""
        place = index - len(self.convolutions)
        layers = _linear(self.hidden)[place : place + 1] or _linear(self.heads)
        if not layers:
            raise InputError("the network has no head; add one with add_head before the first image")
        weight = torch.cat([layer.weight for layer in layers])
        if place == 0 and self.convolutions:
            weight = weight.unflatten(1, self.config.shapes()[index]).permute(0, 2, 3, 1).flatten(1)
        return weight, torch.cat([layer.bias for layer in layers])

    def _folded(self, currents: torch.Tensor) -> tuple[torch.Tensor, int]:
        """Return currents and their number of steps as the neurons see them: without memory each step is alone."""
        if self.config.membrane == "carried":
            return currents, self.config.steps
        return currents.flatten(0, 1).unsqueeze(0), 1

    def _spikes(self, currents: torch.Tensor) -> torch.Tensor:
        """Return a layer's spikes; one step of them where all steps are alike."""
        folded, steps = self._folded(currents)
        return scan(folded, self.config.neuron, steps, backend=self.backend).reshape(-1, *currents.shape[1:])

    def _through(self, signal: torch.Tensor, first: int, last: int) -> torch.Tensor:
        """Return the currents of layer ``last`` from an image or spikes before layer ``first``."""
        neurons = None
        for index in range(first, last + 1):
            signal = self._currents(signal, index, neurons)
            neurons = self.config.neuron
        return signal

    def _all_steps(self, signal: torch.Tensor) -> torch.Tensor:
        return signal.expand(self.config.steps, *signal.shape[1:])

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Return the spikes of layer ``config.split``, (T,B,H,W,C) or (T,B,F); (1,B,...) if alike at every step.

        With split 0 they are the encoded images, (T,B,C,H,W) or (1,B,C,H,W).
        """
        signal = self.encode(images)
        if self.config.split == 0:
            return signal
        return self._spikes(self._through(signal, 0, self.config.split - 1))

    def head(self, features: torch.Tensor) -> torch.Tensor:
        """Return the output spikes, (T,B,classes), from `features`; of several units a class, the share that spikes."""
        return self._class_spikes(self._through(features, self.config.split, self.config.layers))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the output spikes, (T,B,classes), of (B,H,W) or (B,C,H,W) images in 0..1; see `head`."""
        return self._class_spikes(self._through(self.encode(images), 0, self.config.layers))

    def _class_spikes(self, currents: torch.Tensor) -> torch.Tensor:
        return self._all_steps(self._of_classes(self._spikes(currents)))

    def _of_classes(self, units: torch.Tensor) -> torch.Tensor:
        """Return the mean of each class's units, (T,B,classes), of (T,B,F)."""
        sizes = [size for head in self.head_units for size in head]
        if all(size == 1 for size in sizes):
            return units
        return torch.stack([each.mean(2) for each in units.split(sizes, 2)], 2)

    def with_potentials(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the outputs' spikes and membrane potentials, each (T,B,classes); of several units a class, means."""
        return self._output(self._through(self.encode(images), 0, self.config.layers))

    def output(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what `with_potentials` does, from `features`."""
        return self._output(self._through(features, self.config.split, self.config.layers))

    def _output(self, currents: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        folded, steps = self._folded(currents)
        both = scan_with_potentials(folded, self.config.neuron, steps, backend=self.backend)
        spikes, potentials = (self._all_steps(self._of_classes(each.reshape(-1, *currents.shape[1:]))) for each in both)
        return spikes, potentials

    @torch.no_grad()
    def count_operations(self, images: torch.Tensor) -> Operations:
        """Return spikes and synaptic operations of each image.

        A spike costs one accumulate a synapse that it reaches: features x kernel places that lie inside the
        layer's output before pooling, or the next layer's neurons.
        """
        return self._operations(self.encode(images))

    def _operations(self, signal: torch.Tensor) -> Operations:
        """Return what an encoded image costs."""
        signals = self._signals(signal, self.config.layers + 1)
        counts = [signal.sum(0) * (self.config.steps // len(signal)) for signal in signals]
        fan_outs = [self._fan_out(index) for index in range(len(signals) - 1)]
        events = [
            (count * fan_out).double().flatten(1).sum(1) for count, fan_out in zip(counts, fan_outs, strict=False)
        ]
        spikes = [count.double().flatten(1).sum(1) for count in counts]
        multiplies = torch.zeros(signal.shape[1], dtype=torch.float64)
        if self.config.coding == "constant":
            multiplies = ((signals[0][0] != 0) * fan_outs[0]).double().flatten(1).sum(1)
            events, spikes = events[1:], spikes[1:]
        return Operations(torch.stack(spikes).sum(0), torch.stack(events).sum(0), multiplies)

    def _fan_out(self, index: int) -> torch.Tensor:
        """Return how many synapses one spike of each input of layer ``index`` reaches, (1,H,W), (H,W,1) or (1,)."""
        if index < len(self.convolutions):
            _, rows, columns = self.config.shapes()[index]
            places = torch.ones(1, 1, rows - self.config.kernel + 1, columns - self.config.kernel + 1)
            reached = F.conv_transpose2d(places, torch.ones(1, 1, self.config.kernel, self.config.kernel))
            reached = reached[0] * self.config.channels[index]
            return reached.permute(1, 2, 0) if index else reached
        sizes = [*self.config.hidden, len(self.unit_classes)]
        return torch.tensor([float(sizes[index - len(self.convolutions)])])

    def _signals(self, signal: torch.Tensor, layers: int) -> list[torch.Tensor]:
        """Return an encoded image and the spikes of the first so many layers."""
        signals = [signal]
        for index in range(layers):
            signals.append(self._spikes(self._currents(signals[-1], index, None)))
        return signals

    # Answers: what they are does not depend on how images are cut into batches ---------------------------------------

    def _looks(self, images: Images) -> Iterator[torch.Tensor]:
        """Yield parts of the images as encoded signals; an image's draws are its own."""
        at_once = _DECIDED_AT_ONCE if self.convolutions else 1  # sums of grey pixels differ between sizes of a batch
        for n in range(0, len(images), at_once):
            part = images[n : n + at_once]
            inputs = as_input(part, self.learning.input)
            if self.config.coding == "constant":
                yield self.encode(inputs)
                continue
            running = self.generator
            try:
                shown = []
                for image, one in zip(part, inputs, strict=True):
                    self.generator = self._draws_for(image)
                    shown.append(self.encode(one[None]))
            finally:
                self.generator = running
            yield torch.cat(shown, 1)

    @torch.no_grad()
    def class_scores(self, inputs: Images) -> NDArray[np.float32]:
        """Return the (N, classes) logits of (N,H,W) uint8 images, columns in the order of `classes`.

        They are NaN where a weight is not a finite number. An image's logits depend on its pixels and the network
        alone: Bernoulli coding looks at it by draws of its own.

        Raises:
            InputError: images of another kind or size, or no `classes` or more than there are outputs.
        """
        self._check_classes()
        outputs, images = sum(self.head_sizes), self._checked(inputs)
        if len(self.classes) > outputs:
            raise InputError(
                f"the network's decision names {len(self.classes)} classes, expected at most one for each of its "
                f"{outputs} outputs; name the class of each output"
            )
        found = [np.zeros((0, outputs), np.float32)]
        for signal in self._looks(images):
            currents = self._through(signal, 0, self.config.layers)
            if self.learning.readout == "drive":
                logits = drive(*self._output(currents), self.threshold)
            else:
                logits = self._class_spikes(currents).sum(0)
            found.append(logits.numpy())
        scores = np.concatenate(found)[:, : len(self.classes)]
        return scores if weights_are_numbers(self) else np.full_like(scores, np.nan)

    @torch.no_grad()
    def cost(self, inputs: Images) -> Cost:
        """Return what deciding images costs, means an image; see `count_operations`.

        Raises:
            InputError: images of another kind or size, or none.
        """
        images = self._checked(inputs)
        if not len(images):
            raise InputError("there is no image, expected at least one to count on; give some")
        found = [self._operations(signal) for signal in self._looks(images)]
        spikes, accumulates, multiplies = (
            float(torch.cat([getattr(each, name) for each in found]).mean())
            for name in ("spikes", "accumulates", "multiply_accumulates")
        )
        return Cost(spikes, accumulates, multiplies)

    # Units ----------------------------------------------------------------------------------------------------------

    @property
    def unit_classes(self) -> NDArray[np.int64]:
        """(F,) class of each output neuron; the number of its output where that has no label."""
        sizes = [size for head in self.head_units for size in head]
        labels = [*self.classes, *range(len(self.classes), len(sizes))][: len(sizes)]
        return np.repeat(np.array(labels, np.int64), sizes)

    @property
    def unit_weights(self) -> NDArray[np.float32]:
        """(F, inputs + 1) weights of each output neuron, a copy; the last is its bias, an input that is always 1."""
        heads = _linear(self.heads)
        rows = [torch.cat([head.weight, head.bias[:, None]], 1) for head in heads]
        return torch.cat(rows).detach().numpy() if rows else np.zeros((0, _size(self.config.shapes()[-1]) + 1), "f4")

    @property
    def unit_gains(self) -> NDArray[np.float32]:
        """(F,) ones: `with_units` multiplies weights by gains."""
        return np.ones(len(self.unit_classes), np.float32)

    @property
    def unit_centres(self) -> NDArray[np.float32]:
        """(F,) zeros: `with_units` subtracts centres from weights."""
        return np.zeros(len(self.unit_classes), np.float32)

    @property
    def unit_plasticity(self) -> NDArray[np.float32]:
        """(F,) share of each step by which an output neuron's weights and bias move; 0 holds them.

        It holds for every step of `spikelore.learning.surrogate_gradient.step_`, of whatever method and optimiser.
        """
        shares = [getattr(head.bias, "plasticity", torch.ones(head.out_features)) for head in _linear(self.heads)]
        return torch.cat(shares).numpy().copy() if shares else np.ones(0, np.float32)

    @unit_plasticity.setter
    def unit_plasticity(self, value: NDArray[np.float32]) -> None:
        shares = torch.from_numpy(as_shares(value, len(self.unit_classes), "plasticity").copy())
        heads = _linear(self.heads)
        for head, each in zip(heads, shares.split([head.out_features for head in heads]), strict=True):
            for parameter, share in ((head.weight, each[:, None]), (head.bias, each)):
                if bool((each == 1).all()):
                    vars(parameter).pop("plasticity", None)
                else:
                    parameter.plasticity = share  # type: ignore[attr-defined]

    @property
    def features_digest(self) -> str:
        """SHA-256 of what decides the spikes below the output neurons: input, coding, neurons and weights."""
        settings = {**asdict(self.config), "input": self.learning.input}
        for name in ("classes", "units_per_class", "split"):
            del settings[name]
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
        for layer in (*self.convolutions, *self.hidden):
            for parameter in layer.parameters():
                digest.update(parameter.detach().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def with_units(
        self,
        weights: NDArray[np.float32],
        classes: NDArray[np.int64],
        gains: NDArray[np.float32] | None = None,
        centres: NDArray[np.float32] | None = None,
    ) -> Self:
        """Return the network with other output neurons: ``gain (w - centre)`` for their weights and biases.

        Args:
            weights: (F, inputs + 1), the last the bias.
            classes: (F,) label of each, ascending; any number of each.
            gains: (F,) ones if not given.
            centres: (F,) zeros if not given.

        Raises:
            InputError: another shape, or classes that do not ascend.
        """
        labels = as_labels(classes, len(weights), what="classes")
        rows = np.asarray(weights, np.float32)
        inputs = _size(self.config.shapes()[-1])
        if rows.shape != (len(labels), inputs + 1) or not len(labels) or (np.diff(labels) < 0).any():
            raise InputError(
                f"units have weights of shape {rows.shape} and classes {labels.tolist()}, expected "
                f"(units, {inputs + 1}), the bias last, and ascending classes; sort them"
            )
        if centres is not None:
            rows = rows - np.asarray(centres, np.float32)[:, None]
        if gains is not None:
            rows = rows * np.asarray(gains, np.float32)[:, None]
        ours, sizes = np.unique(labels, return_counts=True)
        other = self._without_heads(ours.tolist())
        other._add_head_of(tuple(sizes.tolist()))
        with torch.no_grad():
            (head,) = _linear(other.heads)
            head.weight.copy_(torch.from_numpy(rows[:, :-1].copy()))
            head.bias.copy_(torch.from_numpy(rows[:, -1].copy()))
        return other

    def with_fresh_units(self, classes: Sequence[int], seed: int) -> Self:
        """Return a network of the same features with as many untrained output neurons in all, for these classes.

        The first classes get the odd ones. Features that are frozen here are frozen there.

        Args:
            classes: labels.
            seed: root seed of the weights and draws.

        Raises:
            InputError: no class, one twice, or more than output neurons.
        """
        labels, units = tuple(as_labels(classes, what="classes").tolist()), len(self.unit_classes)
        if not labels or len(set(labels)) < len(labels) or len(labels) > units:
            raise InputError(
                f"classes are {list(labels)}, expected each once and at most one for each of the {units} units; name "
                "fewer"
            )
        share, odd = divmod(units, len(labels))
        other = self._without_heads(labels)
        other.generator = torch_generator(seed, "network")
        other.seed = other.generator.initial_seed()
        other._add_head_of(tuple(share + (position < odd) for position in range(len(labels))))
        return other

    def _without_heads(self, classes: Sequence[int]) -> Self:
        """Return a copy that has learned nothing above its features, with other classes."""
        other = self.copy()
        other._optimiser = None
        other.heads, other.head_units = nn.ModuleList(), []
        other.classes, other.among = tuple(classes), ()
        other.config = replace(self.config, classes=len(classes))
        return other

    def freeze_features_(self) -> None:
        """Let everything below the output neurons learn no more."""
        for layer in (*self.convolutions, *self.hidden):
            layer.requires_grad_(False)

    @property
    def features_are_frozen(self) -> bool:
        """Whether nothing below the output neurons learns."""
        weights = [each for layer in (*self.convolutions, *self.hidden) for each in layer.parameters()]
        return bool(weights) and not any(each.requires_grad for each in weights)

    # Synapses -------------------------------------------------------------------------------------------------------

    def synapses(self) -> dict[str, LayerUse]:
        """Return each layer's synapses by its name as a submodule, from input to output.

        Weights are the network's own, (F,C,K,K) or, fully connected, (F,C,1,1), without biases. See `LayerUse`.
        """
        seen = max((use.images_seen for use in self._uses.values()), default=0)
        uses = {}
        for name, layer in self.named_modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                weights = layer.weight.detach().numpy()
                weights = weights if weights.ndim == 4 else weights[:, :, None, None]
                uses[name] = self._uses.get(name) or LayerUse(weights, padding=0)
                uses[name].weights, uses[name].images_seen = weights, seen
        self._uses = uses
        return uses

    @torch.no_grad()
    def use_(self, inputs: Images) -> None:
        """Let the clocks run on by images, 500 ms each, and note which inputs of each layer spiked in each.

        Of inputs that are numbers (coding ``constant``) those count that are not 0.

        Raises:
            InputError: images of another kind or size.
        """
        uses = self.synapses()
        for signal in self._looks(self._checked(inputs)):
            signals = self._signals(signal, self.config.layers)
            for name, use in uses.items():
                kind, _, number = name.partition(".")
                index = {"convolutions": 0, "hidden": len(self.convolutions), "heads": self.config.layers}[kind]
                index += int(number) if kind != "heads" else 0
                spiked = (signals[index] != 0).any(0)  # (B,C,H,W) of images, (B,H,W,C) of neurons, or (B,C)
                if index and spiked.dim() == 4:
                    spiked = spiked.permute(0, 3, 1, 2)
                if kind != "convolutions":
                    spiked = spiked.flatten(1)[:, :, None, None]
                use.show_(spiked.numpy())

    # State ----------------------------------------------------------------------------------------------------------

    def copy(self) -> Self:
        """Return an equal network that shares no state with this one."""
        other = copy.deepcopy(self)
        other.generator = torch.Generator()
        other.generator.set_state(self.generator.get_state())
        other.unit_plasticity = self.unit_plasticity
        return other

    def _beside_weights(self) -> dict[str, torch.Tensor]:
        found = self._learning_state()
        if found:
            found["generator"] = self.generator.get_state()
        if (self.unit_plasticity != 1).any():
            found["plasticity"] = torch.from_numpy(self.unit_plasticity)
        if self.features_are_frozen:
            found["frozen"] = torch.ones(1, dtype=torch.uint8)
        for name, use in self.synapses().items() if self._uses else ():
            found[f"clocks/{name}"] = torch.from_numpy(use.last_presynaptic_spike_ms.copy())
            found["clocks/images"] = torch.tensor([use.images_seen])
        return found

    def _load_beside_weights(self, state: Mapping[str, torch.Tensor]) -> None:
        self._load_learning_state({name: value for name, value in state.items() if name.startswith("adam/")})
        if "generator" in state:
            self.generator.set_state(state["generator"])
        units = len(self.unit_classes)
        self.unit_plasticity = state["plasticity"].numpy() if "plasticity" in state else np.ones(units, np.float32)
        if "frozen" in state:
            self.freeze_features_()
        self._uses = {}
        if "clocks/images" in state:
            for name, use in self.synapses().items():
                use.images_seen = int(state["clocks/images"])
                use.last_presynaptic_spike_ms = state[f"clocks/{name}"].numpy().copy()

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination.update({f"{prefix}{name}": value for name, value in self._beside_weights().items()})

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any, **named: Any) -> None:
        ours = [name for name in state_dict if name.startswith(tuple(prefix + each for each in _BESIDE_WEIGHTS))]
        beside = {name.removeprefix(prefix): state_dict.pop(name) for name in ours}
        super()._load_from_state_dict(state_dict, prefix, *rest, **named)
        self._load_beside_weights(beside)

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Go on from what `state_dict` of such a network returned, tensors or arrays by name.

        Raises:
            InputError: it is of another network.
        """
        tensors = {name: torch.as_tensor(value) for name, value in state_dict.items()}
        try:
            return super().load_state_dict(tensors, strict, assign)
        except (RuntimeError, KeyError) as error:
            raise InputError(
                f"the saved state does not fit the network: {' '.join(str(error).split())}; give one of such a network"
            ) from error

    def save(self, path: Path) -> None:
        """Write a checkpoint: state, configuration, classes and learning in one safetensors file, nothing pickled.

        Weights are float32.
        """
        weights = {name for name, _ in self.named_parameters()}
        state = {**self.state_dict(), "generator": self.generator.get_state()}
        tensors = {
            name: (each.detach().float() if name in weights else each.detach()).numpy() for name, each in state.items()
        }
        description = {
            "config": asdict(self.config), "heads": self.head_units, "classes": self.classes, "among": self.among,
            "learning": asdict(self.learning), "seed": self.seed,
        }  # fmt: skip
        save_tensors(path, tensors, {"format": _FORMAT, "network": json.dumps(description)})

    @classmethod
    def load(cls, path: Path, generator: torch.Generator | None = None) -> Self:
        """Read a checkpoint that `save` wrote.

        Args:
            path: of the checkpoint.
            generator: for the Bernoulli inputs that it learns from; by default as saved.

        Raises:
            InputError: not such a file, damaged, of other shapes than its configuration says, or with
                weights that are not finite numbers.
        """
        tensors, metadata = load_tensors(path)
        if metadata.get("format") not in (_FORMAT, _FIRST_FORMAT):
            found = metadata.get("format", "no format")
            raise InputError(f"checkpoint {path} holds {found!r}; expected {_FORMAT!r}")
        try:
            description = json.loads(metadata["network"])
            raw = description["config"]
            sizes = {name: tuple(raw.pop(name)) for name in ("image", "channels", "hidden")}
            config = SurrogateConfig(neuron=Leaky(**raw.pop("neuron")), **sizes, **raw)
            network = cls(replace(config, classes=0), torch.Generator().manual_seed(0))
            for units in description["heads"]:
                network._add_head_of((1,) * units if isinstance(units, int) else tuple(units))
            network._describe_(description)
            network.generator.manual_seed(0)
            network.load_state_dict(tensors)
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())
            raise InputError(f"checkpoint {path} does not describe a surrogate network: {reason}") from error
        for name, tensor in network.state_dict().items():
            if not bool(torch.isfinite(tensor).all()):
                raise InputError(f"checkpoint {path}: {name} has weights that are not finite numbers; train it again")
        network.config = config
        network.generator = network.generator if generator is None else generator
        return network

    def _describe_(self, description: Mapping[str, Any]) -> None:
        """Take over what a checkpoint says beside its tensors; the first format has a decision or none."""
        if "learning" in description:
            self.classes, self.among = (tuple(description[name]) for name in ("classes", "among"))
            self.learning, self.seed = GradientLearning(**description["learning"]), description["seed"]
        elif told := description.get("decision"):
            labels = {name: tuple(told[name]) for name in ("classes", "among")}
            self.decision = Decision(**{**told, **labels})


def _linear(layers: nn.ModuleList) -> list[nn.Linear]:
    return [layer for layer in layers if isinstance(layer, nn.Linear)]


def _size(shape: Sequence[int]) -> int:
    size = 1
    for side in shape:
        size *= side
    return size
