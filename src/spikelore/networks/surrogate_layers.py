"""Layers of convolutional networks of leaky integrate-and-fire neurons, differentiable by surrogate gradients."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - the field's name

from spikelore.errors import InputError, shown
from spikelore.kernels import DEFAULT_BACKEND
from spikelore.kernels.lif_scan import Leaky
from spikelore.kernels.windows import LARGEST_WINDOW
from spikelore.metrics.learning_cost import Tally, Work
from spikelore.networks.autograd import convolve, scan, scan_with_potentials
from spikelore.networks.foreign import kind_of
from spikelore.networks.gradient_learning import Readout
from spikelore.networks.heads import Headed, Operations, linear_layers, size_of
from spikelore.networks.readout import over_steps
from spikelore.networks.stored import Arrays
from spikelore.networks.surrogate_config import SurrogateConfig

_ROUNDED = 1e-5
"""By how much a probability may lie outside 0..1."""


class SurrogateLayers(Headed):
    """conv - max pool - LIF, repeated; then linear - LIF, repeated; then one or more linear - LIF heads.

    Without pooling (``pooling: stride``) the convolutions go in strides.

    Signals are (T,B,...), or (1,B,...) where they are the same at every step; such a signal is convolved once.
    It is trained like any torch module and answers `spikelore.networks.protocol.SpikingModule`.

    Args:
        config: sizes and constants.
        generator: draws the initial weights, those of later heads, and the Bernoulli inputs; may be replaced.
        backend: of the kernels.

    Attributes:
        tally: how often it has done what `work_of` names.

    Source: Proietti et al. 2023 (MLSP), with torch's default initial weights.
    """

    def __init__(self, config: SurrogateConfig, generator: torch.Generator, *, backend: str = DEFAULT_BACKEND) -> None:
        super().__init__()
        self.config = config
        self.generator = generator
        self.backend = backend
        self.tally = Tally()
        self.head_units: list[tuple[int, ...]] = []
        shapes = config.shapes()
        convolutions = pairwise(shapes[: len(config.channels) + 1])
        self.convolutions = nn.ModuleList(
            nn.Conv2d(before[0], after[0], config.kernel, config.stride) for before, after in convolutions
        )
        sizes = [size_of(shape) for shape in shapes[len(config.channels) :]]
        self.hidden = nn.ModuleList(nn.Linear(before, after) for before, after in pairwise(sizes))
        self.heads = nn.ModuleList()
        for layer in (*self.convolutions, *self.hidden):
            self._initialise_(layer)
        if config.classes:
            self.add_head(config.classes)

    @property
    def head_inputs(self) -> int:
        """How many neurons each output neuron hears."""
        return size_of(self.config.shapes()[-1])

    def feature_layers(self) -> list[nn.Module]:
        """Return the modules below the heads."""
        return [*self.convolutions, *self.hidden]

    @property
    def threshold(self) -> float:
        """Firing threshold of every neuron."""
        return self.config.neuron.threshold

    def encode(self, images: torch.Tensor, /) -> torch.Tensor:
        """Return the input signal, (T,B,C,H,W) or (1,B,C,H,W), of (B,H,W) or (B,C,H,W) images in 0..1, or of events.

        It is on the images' device, which is to be that of the weights; draws are the same on every device.
        """
        if not isinstance(images, torch.Tensor):
            raise InputError(f"images are {kind_of(images)}, expected a float32 tensor (B,H,W); use torch.as_tensor")
        if self.config.coding == "events":
            return self._spikes_over_time(images)
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
        if images.device != self.generator.device:  # the same draws as on the generator's own device
            return (torch.rand(shown.shape, generator=self.generator).to(images.device) < shown).float()
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

    def _spikes_over_time(self, spikes: torch.Tensor) -> torch.Tensor:
        """Return (B,T,C,H,W) spikes as the signal (T,B,C,H,W)."""
        expected = (self.config.steps, *self.config.image)
        shape = ",".join(map(str, expected))
        if tuple(spikes.shape[1:]) != expected or spikes.dtype != torch.float32 or not len(spikes):
            raise InputError(
                f"inputs are {kind_of(spikes)}, expected float32 spikes (B,{shape}), B at least 1; convert them"
            )
        return spikes.transpose(0, 1)

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
        pooled = self.config.pooling == "max"
        if index and pooled:
            folded, steps = self._folded(signal)
            currents = convolve(
                folded, convolution.weight, convolution.bias, neurons, steps, self.config.pool, backend=self.backend
            )
            return currents.reshape(-1, signal.shape[1], *currents.shape[2:])
        if index:
            signal = (signal if neurons is None else self._spikes(signal)).permute(0, 1, 4, 2, 3)
        maps = convolution(signal.flatten(0, 1)).contiguous(memory_format=torch.channels_last)  # pools 3 x as fast
        currents = F.max_pool2d(maps, self.config.pool) if pooled else maps
        return currents.permute(0, 2, 3, 1).reshape(*signal.shape[:2], *currents.shape[2:], -1)

    def _matrix(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return weight and bias of a fully connected layer or of all heads, for inputs in their order here."""
        place = index - len(self.convolutions)
        layers = linear_layers(self.hidden)
        weight, bias = (layers[place].weight, layers[place].bias) if place < len(layers) else self._head_matrix()
        if place == 0 and self.convolutions:
            weight = weight.unflatten(1, self.config.shapes()[index]).permute(0, 2, 3, 1).flatten(1)
        return weight, bias

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
            images, goes_on = signal.shape[1], signal.requires_grad and torch.is_grad_enabled()
            signal = self._currents(signal, index, neurons)
            neurons = self.config.neuron
            self.tally.add(f"forward {index}", images)
            if goes_on:
                self.tally.add(f"inputs {index}", images)
            if torch.is_grad_enabled() and self._learns(index):
                self.tally.add(f"weights {index}", images)
        return signal

    def _learns(self, index: int) -> bool:
        layers = [*self.convolutions, *self.hidden]
        return any(
            each.requires_grad for layer in (layers[index : index + 1] or self.heads) for each in layer.parameters()
        )

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

    def _operations(self, signal: torch.Tensor) -> Operations:
        """Return what an encoded image costs.

        A spike costs one accumulate a synapse that it reaches: features x kernel places that lie inside the
        layer's output before pooling, or the next layer's neurons.
        """
        signals = self._signals(signal, self.config.layers + 1)
        events, spikes = self._forward_operations(signals), [self._over_steps(each) for each in signals]
        spikes = [count.double().flatten(1).sum(1) for count in spikes]
        multiplies = torch.zeros(signal.shape[1], dtype=torch.float64)
        if self.config.coding == "constant":
            multiplies, events, spikes = events[0], events[1:], spikes[1:]
        return Operations(torch.stack(spikes).sum(0), torch.stack(events).sum(0), multiplies)

    def _over_steps(self, signal: torch.Tensor) -> torch.Tensor:
        return signal.sum(0) * (self.config.steps // len(signal))

    def _forward_operations(self, signals: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Return the operations into each layer, (B,) each: a number once an image, a spike each time."""
        counts = [self._over_steps(signal) for signal in signals[:-1]]
        if self.config.coding == "constant":
            counts[0] = signals[0][0] != 0
        return [(count * self._fan_out(index)).double().flatten(1).sum(1) for index, count in enumerate(counts)]

    def work_of(self, signal: torch.Tensor, columns: torch.Tensor, readout: Readout) -> dict[str, Work]:
        """Return what each kind of work takes once, means an image, for an encoded image and the column of its class.

        ================ =============================================================================================
        ``forward l``    into layer l, 0 the first: an accumulate for each spike and synapse, for pixels as currents a
                         multiply-accumulate once an image
        ``inputs l``     errors back through layer l: a multiply-accumulate for each error that is not 0 and synapse
        ``weights l``    gradients: for each synapse and step where neither the input nor the error is 0, an accumulate
                         where the input is a spike, else a multiply-accumulate
        ``step``         Adam on a batch: three multiply-accumulates a weight, for two moments and the weight
        ================ =============================================================================================

        Errors are those of the mean cross entropy of the logits. Of a max pooling only the largest has one. A neuron's
        potential is read and written each step, and once more where it is kept for the way back; so is its error.
        """
        if self.config.coding != "constant":
            signal = self._all_steps(signal)
        signals, maps, currents = [signal], [], signal
        with torch.enable_grad():
            for index in range(self.config.layers + 1):
                currents, found = self._currents_apart(signals[-1], index)
                maps.append(found)
                signals.append(self._spikes(currents))
            spikes, potentials = self._output(currents)
            logits = over_steps(spikes, potentials, self.threshold, readout)
            errors = torch.autograd.grad(F.cross_entropy(logits, columns), maps)
        images, steps, found = signal.shape[1], self.config.steps, {}
        signals = [each.detach() for each in signals]
        forward = self._forward_operations(signals)
        for index, error in enumerate(errors):
            pixels = index == 0 and self.config.coding == "constant"
            wrong, shown = error != 0, (signals[index] != 0).double()
            operations, met = float(forward[index].mean()), self._met(shown, wrong, index) / images
            back = float(wrong.sum()) * self._fan_in(index) / images
            state = size_of(signals[index + 1].shape[2:]) * steps

            def told(count: float, *rest: float, pixels: bool = pixels) -> Work:
                return Work(0.0, count, *rest) if pixels else Work(count, 0.0, *rest)

            found[f"forward {index}"] = told(operations, operations, 0.0, state, state)
            found[f"inputs {index}"] = Work(0.0, back, back)
            found[f"weights {index}"] = told(met, 0.0, 0.0, met + 2 * state, met + 2 * state)
        weights = sum(each.numel() for each in self.parameters() if each.requires_grad)
        found["step"] = Work(0.0, 3 * weights, weights, weights, 3 * weights, 2 * weights)
        return found

    def _currents_apart(self, spikes: torch.Tensor, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return a layer's currents from the spikes before it, and the same before pooling, (T B,F,H,W) or (T,B,F)."""
        if index >= len(self.convolutions):
            weight, bias = self._matrix(index)
            currents = F.linear(spikes.flatten(2), weight, bias)
            currents = currents if currents.requires_grad else currents.requires_grad_()
            return currents, currents
        maps = self.convolutions[index]((spikes.permute(0, 1, 4, 2, 3) if index else spikes).flatten(0, 1))
        maps = maps if maps.requires_grad else maps.requires_grad_()
        pooled = F.max_pool2d(maps, self.config.pool) if self.config.pooling == "max" else maps
        return pooled.permute(0, 2, 3, 1).unflatten(0, spikes.shape[:2]), maps

    def _met(self, shown: torch.Tensor, wrong: torch.Tensor, index: int) -> float:
        """Return at how many synapses, over all steps and images, neither the input nor the error is 0."""
        if index >= len(self.convolutions):
            return float((shown.flatten(2).sum(2) * wrong.sum(2)).sum())
        inputs = (shown.permute(0, 1, 4, 2, 3) if index else shown).flatten(0, 1).sum(1, keepdim=True)
        side = self.config.kernel
        seen = F.conv2d(inputs, torch.ones(1, 1, side, side, dtype=inputs.dtype), stride=self.config.stride)
        return float((seen[:, 0] * wrong.sum(1)).sum())

    def _fan_in(self, index: int) -> int:
        """Return how many synapses a neuron of a layer has, biases left out."""
        shapes = self.config.shapes()
        return shapes[index][0] * self.config.kernel**2 if index < len(self.convolutions) else size_of(shapes[index])

    def _fan_out(self, index: int) -> torch.Tensor:
        """Return how many synapses one spike of each input of layer ``index`` reaches, (1,H,W), (H,W,1) or (1,)."""
        if index < len(self.convolutions):
            side, stride = self.config.kernel, self.config.stride
            steps = [size - side for size in self.config.shapes()[index][1:]]
            places = torch.ones(1, 1, *(most // stride + 1 for most in steps))
            beyond = [most % stride for most in steps]
            reached = F.conv_transpose2d(places, torch.ones(1, 1, side, side), stride=stride, output_padding=beyond)
            reached = reached[0] * self.config.channels[index]
            return reached.permute(1, 2, 0) if index else reached
        sizes = [*self.config.hidden, sum(map(sum, self.head_units))]
        return torch.tensor([float(sizes[index - len(self.convolutions)])])

    def _signals(self, signal: torch.Tensor, layers: int) -> list[torch.Tensor]:
        """Return an encoded image and the spikes of the first so many layers."""
        signals = [signal]
        for index in range(layers):
            signals.append(self._spikes(self._currents(signals[-1], index, None)))
        return signals

    def layer_inputs(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return what enters each layer, by its name as a submodule, of (B,H,W) or (B,C,H,W) images in 0..1.

        It is (T,B,C,H,W) before convolutions and (T,B,D) before other layers, in the order of the weights; (1,B,...)
        where all steps are alike.
        """
        return self._layer_inputs(self.encode(images))

    def _layer_inputs(self, signal: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return what enters each layer from an encoded image."""
        signals = self._signals(signal, self.config.layers)
        for index in range(1, len(signals)):
            if signals[index].dim() == 5:
                signals[index] = signals[index].permute(0, 1, 4, 2, 3)
        dense = [each.flatten(2) for each in signals[len(self.convolutions) :]]
        found = {f"convolutions.{n}": signals[n] for n in range(len(self.convolutions))}
        found |= {f"hidden.{n}": each for n, each in enumerate(dense[:-1])}
        return found | {f"heads.{n}": dense[-1] for n in range(len(self.heads))}

    def dense_layers(self) -> list[list[nn.Linear]]:
        """Return the fully connected layers, from input to output, each as its parts: the last is of all heads."""
        return [*([layer] for layer in linear_layers(self.hidden)), linear_layers(self.heads)]

    def dense_inputs(self, spikes: torch.Tensor) -> torch.Tensor:
        """Return what enters the first fully connected layer, (T,B,D), where (T,B,C,H,W) spikes enter the network."""
        return next(each for name, each in self._layer_inputs(spikes).items() if not name.startswith("convolutions"))


def expected_arrays(config: SurrogateConfig, heads: Sequence[int | Sequence[int]]) -> Arrays:
    """Return shape and type of the weights of a network, by name.

    Args:
        config: of the network.
        heads: the units of each class of each head, or the number of classes of one unit.
    """
    shapes, side = config.shapes(), config.kernel
    layers: dict[str, tuple[int, ...]] = {}
    for n, (before, after) in enumerate(pairwise(shapes)):
        if n < len(config.channels):
            layers[f"convolutions.{n}"] = (after[0], before[0], side, side)
        else:
            layers[f"hidden.{n - len(config.channels)}"] = (after[0], size_of(before))
    for n, units in enumerate(heads):
        sizes = (units,) if isinstance(units, int) else units
        if not sizes or not all(type(one) is int and 0 < one < 2**31 for one in sizes):
            raise InputError(f"head {n} has units {shown(units)}, expected numbers of 1 or more; take another copy")
        layers[f"heads.{n}"] = (sum(sizes), size_of(shapes[-1]))
    found: dict[str, tuple[tuple[int, ...], type]] = {}
    for name, shape in layers.items():
        found |= {f"{name}.weight": (shape, np.float32), f"{name}.bias": (shape[:1], np.float32)}
    return found
