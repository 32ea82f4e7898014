"""Convolutional networks of leaky integrate-and-fire neurons, differentiable by surrogate gradients."""

import json
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from inspect import getclosurevars
from itertools import pairwise
from numbers import Integral
from pathlib import Path
from types import FunctionType, MethodType
from typing import Any, Self

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
from spikelore.networks.foreign import at_rest, decided_label, kind_of, weights_are_numbers
from spikelore.networks.readout import Decision, as_input, drive
from spikelore.networks.surrogate_config import SurrogateConfig
from spikelore.shapes import Images, Labels, as_images, as_labels

_FORMAT = "spikelore surrogate network 1"
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


class SurrogateNetwork(nn.Module):
    """conv - max pool - LIF, repeated; then linear - LIF, repeated; then one or more linear - LIF heads.

    Signals are (T,B,...), or (1,B,...) where they are the same at every step; such a signal is convolved once.
    The network is trained like any torch module and answers `spikelore.networks.protocol.SpikingModule`.

    Args:
        config: sizes and constants.
        generator: draws the initial weights, those of later heads, and the Bernoulli inputs; may be replaced.
        backend: of the kernels.

    Attributes:
        decision: what its outputs stand for, so that it can `predict`; None until it is set. Kept in checkpoints.

    Source: Proietti et al. 2023 (MLSP), with torch's default initial weights.
    """

    def __init__(self, config: SurrogateConfig, generator: torch.Generator, *, backend: str = DEFAULT_BACKEND) -> None:
        super().__init__()
        self.config = config
        self.generator = generator
        self.backend = backend
        self.decision: Decision | None = None
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

    def _initialise_(self, layer: nn.Module) -> None:
        assert isinstance(layer, nn.Conv2d | nn.Linear)
        bound = _size(layer.weight.shape[1:]) ** -0.5
        with torch.no_grad():
            for parameter in layer.parameters():
                parameter.uniform_(-bound, bound, generator=self.generator)

    def add_head(self, classes: int) -> None:
        """Append a head of ``classes`` output neurons; its columns come after those of the heads before.

        An optimiser made before does not know its weights.
        """
        if not isinstance(classes, Integral) or classes < 1:
            raise InputError(f"a head of {classes} classes was asked for; it needs at least 1")
        head = nn.Linear(_size(self.config.shapes()[-1]), classes)
        self._initialise_(head)
        self.heads.append(head)

    @property
    def threshold(self) -> float:
        """Firing threshold of every neuron."""
        return self.config.neuron.threshold

    @property
    def head_sizes(self) -> list[int]:
        """Output neurons of each head."""
        return [head.out_features for head in _linear(self.heads)]

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
        """Return the output spikes, (T,B,classes), from `features`."""
        return self._all_steps(self._spikes(self._through(features, self.config.split, self.config.layers)))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the output spikes, (T,B,classes), of (B,H,W) or (B,C,H,W) images in 0..1."""
        return self._all_steps(self._spikes(self._through(self.encode(images), 0, self.config.layers)))

    def with_potentials(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the output neurons' spikes and membrane potentials, each (T,B,classes)."""
        return self._output(self._through(self.encode(images), 0, self.config.layers))

    def output(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what `with_potentials` does, from `features`."""
        return self._output(self._through(features, self.config.split, self.config.layers))

    def _output(self, currents: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        folded, steps = self._folded(currents)
        both = scan_with_potentials(folded, self.config.neuron, steps, backend=self.backend)
        spikes, potentials = (self._all_steps(each.reshape(-1, *currents.shape[1:])) for each in both)
        return spikes, potentials

    @torch.no_grad()
    def count_operations(self, images: torch.Tensor) -> Operations:
        """Return spikes and synaptic operations of each image.

        A spike costs one accumulate a synapse that it reaches: features x kernel places that lie inside the
        layer's output before pooling, or the next layer's neurons.
        """
        signals = [self.encode(images)]
        for index in range(self.config.layers + 1):
            signals.append(self._spikes(self._currents(signals[-1], index, None)))
        counts = [signal.sum(0) * (self.config.steps // len(signal)) for signal in signals]
        fan_outs = [self._fan_out(index) for index in range(len(signals) - 1)]
        events = [
            (count * fan_out).double().flatten(1).sum(1) for count, fan_out in zip(counts, fan_outs, strict=False)
        ]
        spikes = [count.double().flatten(1).sum(1) for count in counts]
        multiplies = torch.zeros(len(images), dtype=torch.float64)
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
        sizes = [*self.config.hidden, sum(self.head_sizes)]
        return torch.tensor([float(sizes[index - len(self.convolutions)])])

    def class_scores(self, images: Images) -> NDArray[np.float32]:
        """Return the (N,K) logits of (N,H,W) uint8 images, columns in the order of ``decision.classes``.

        They are NaN where a weight is not a finite number.

        Raises:
            InputError: images of another kind, or ``decision`` is not set or names more classes than there are outputs.
        """
        decision, images = self._known_decision(), as_images(images)
        found = [np.zeros((0, sum(self.head_sizes)), np.float32)]
        with torch.no_grad():
            for n in range(0, len(images), _DECIDED_AT_ONCE):
                inputs = as_input(images[n : n + _DECIDED_AT_ONCE], decision.input)
                if decision.readout == "drive":
                    logits = drive(*self.with_potentials(inputs), self.threshold)
                else:
                    logits = self(inputs).sum(0)
                found.append(logits.numpy())
        scores = np.concatenate(found)
        return scores if weights_are_numbers(self) else np.full_like(scores, np.nan)

    def predict(self, images: Images, among: Sequence[int] = ()) -> Labels:
        """Return the class with the largest score for each of (N,H,W) uint8 images, (N,) int64; on a tie the first.

        It is -1 where a score is not a finite number.

        Args:
            images: as `class_scores` takes them.
            among: classes that are decided among; none for ``decision.among``.

        Raises:
            InputError: as `class_scores`.
        """
        decision = self._known_decision()
        asked = set(as_labels(among, what="classes").tolist()) or set(decision.among)
        if not asked or not asked <= set(decision.classes):
            raise InputError(
                f"classes to decide among are {sorted(asked)}, expected some of the network's "
                f"{list(decision.classes)}; name some of these"
            )
        columns = [column for column, label in enumerate(decision.classes) if label in asked]
        scores = torch.from_numpy(self.class_scores(images)[:, columns])
        return decided_label(scores, [decision.classes[column] for column in columns])

    def _known_decision(self) -> Decision:
        if self.decision is None:
            raise InputError(
                "the network does not know what its outputs stand for, expected its decision to be set; set it to a "
                "spikelore.networks.readout.Decision with the class of each output"
            )
        if len(self.decision.classes) > sum(self.head_sizes):
            raise InputError(
                f"the network's decision names {len(self.decision.classes)} classes, expected at most one for each of "
                f"its {sum(self.head_sizes)} outputs; name the class of each output"
            )
        return self.decision

    def save(self, path: Path) -> None:
        """Write a checkpoint: float32 weights, configuration and decision in one safetensors file, nothing pickled."""
        tensors = {name: tensor.detach().float().numpy() for name, tensor in self.state_dict().items()}
        description = {"config": asdict(self.config), "heads": self.head_sizes}
        if self.decision is not None:
            description["decision"] = asdict(self.decision)
        save_tensors(path, tensors, {"format": _FORMAT, "network": json.dumps(description)})

    @classmethod
    def load(cls, path: Path, generator: torch.Generator | None = None) -> Self:
        """Read a checkpoint that `save` wrote.

        Args:
            path: of the checkpoint.
            generator: for the Bernoulli inputs; by default one of seed 0.

        Raises:
            InputError: not such a file, damaged, of other shapes than its configuration says, or with
                weights that are not finite numbers.
        """
        tensors, metadata = load_tensors(path)
        if metadata.get("format") != _FORMAT:
            found = metadata.get("format", "no format")
            raise InputError(f"checkpoint {path} holds {found!r}; expected {_FORMAT!r}")
        try:
            description = json.loads(metadata["network"])
            raw = description["config"]
            sizes = {name: tuple(raw.pop(name)) for name in ("image", "channels", "hidden")}
            config = SurrogateConfig(neuron=Leaky(**raw.pop("neuron")), **sizes, **raw)
            network = cls(replace(config, classes=0), torch.Generator())
            for size in description["heads"]:
                network.add_head(size)
            network.load_state_dict({name: torch.from_numpy(array) for name, array in tensors.items()})
            if told := description.get("decision"):
                labels = {name: tuple(told.pop(name)) for name in ("classes", "among")}
                network.decision = Decision(**labels, **told)
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())
            raise InputError(f"checkpoint {path} does not describe a surrogate network: {reason}") from error
        for name, tensor in network.state_dict().items():
            if not bool(torch.isfinite(tensor).all()):
                raise InputError(f"checkpoint {path}: {name} has weights that are not finite numbers; train it again")
        network.config = config
        network.generator = torch.Generator().manual_seed(0) if generator is None else generator
        return network


def _linear(layers: nn.ModuleList) -> list[nn.Linear]:
    return [layer for layer in layers if isinstance(layer, nn.Linear)]


def _size(shape: Sequence[int]) -> int:
    size = 1
    for side in shape:
        size *= side
    return size
