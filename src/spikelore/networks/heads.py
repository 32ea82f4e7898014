"""Output neurons in heads: one for each time that a network grew."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any, Self

import torch
from torch import nn

from spikelore.errors import InputError
from spikelore.metrics.learning_cost import Work
from spikelore.networks.devices import device_of
from spikelore.networks.gradient_learning import Readout


@dataclass(frozen=True)
class Operations:
    """What one input costs; each (B,) float64.

    Attributes:
        spikes: of all neurons over all steps, input spikes counted too.
        accumulates: additions of a weight to a neuron's input, one for each synapse that a spike reaches.
        multiply_accumulates: the same for inputs that are not spikes (``constant`` coding), once an input.
    """

    spikes: torch.Tensor
    accumulates: torch.Tensor
    multiply_accumulates: torch.Tensor


class Headed(nn.Module):
    """A module whose last layer are heads of output neurons; answers `spikelore.networks.protocol.HeadedModule`.

    A class may have several output neurons, its units; what they say is their mean, so that classes with more of them
    have no advantage.

    Attributes:
        config: with ``units_per_class``.
        generator: draws initial weights, those of later heads too.
        heads: a linear layer each.
        head_units: the number of units of each class of each head.
    """

    config: Any
    generator: torch.Generator
    heads: nn.ModuleList
    head_units: list[tuple[int, ...]]

    @property
    def head_inputs(self) -> int:
        """How many neurons each output neuron hears."""
        raise NotImplementedError

    def _operations(self, signal: torch.Tensor) -> Operations:
        """Return what an encoded input costs."""
        raise NotImplementedError

    def work_of(self, signal: torch.Tensor, columns: torch.Tensor, readout: Readout) -> dict[str, Work]:
        """Return what each kind of work takes once, means an input, for encoded inputs and their classes' columns."""
        raise NotImplementedError

    def _layer_inputs(self, signal: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return what enters each layer from an encoded input, (T,B,...), by the layer's name as a submodule."""
        raise NotImplementedError

    def encode(self, inputs: torch.Tensor, /) -> torch.Tensor:
        """Return the signal, (T,B,...), of inputs as the module takes them."""
        raise NotImplementedError

    @torch.no_grad()
    def count_operations(self, inputs: torch.Tensor) -> Operations:
        """Return spikes and synaptic operations of each input: an accumulate for each spike and synapse it reaches.

        They are counted on the processor, wherever the weights are.
        """
        counted = self.on_processor()
        return counted._operations(counted.encode(inputs.cpu()))

    def on_processor(self) -> Self:
        """Return the module, or where its weights are on another device a copy on the processor, for what counts."""
        return self if device_of(self).type == "cpu" else copy.deepcopy(self).cpu()

    def feature_layers(self) -> list[nn.Module]:
        """Return the modules below the heads."""
        raise NotImplementedError

    def _initialise_(self, layer: nn.Module) -> None:
        assert isinstance(layer, nn.Conv2d | nn.Linear)
        bound = size_of(layer.weight.shape[1:]) ** -0.5
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
        head = nn.Linear(self.head_inputs, sum(units))
        self._initialise_(head)
        self.heads.append(head.to(device_of(self)))
        self.head_units.append(units)

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
        *old, new = (head.weight for head in linear_layers(self.heads))
        mean = torch.cat([weight.norm(dim=1) for weight in old]).mean()
        size = new.norm(dim=1).mean()
        if size > 0:
            new.mul_(mean / size)

    def _of_classes(self, units: torch.Tensor) -> torch.Tensor:
        """Return the mean of each class's units, (T,B,classes), of (T,B,F)."""
        sizes = [size for head in self.head_units for size in head]
        if all(size == 1 for size in sizes):
            return units
        return torch.stack([each.mean(2) for each in units.split(sizes, 2)], 2)

    def _head_matrix(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return weight and bias of all output neurons.

        Raises:
            InputError: there is no head.
        """
        layers = linear_layers(self.heads)
        if not layers:
            raise InputError("the network has no head; add one with add_head before the first input")
        return torch.cat([layer.weight for layer in layers]), torch.cat([layer.bias for layer in layers])


def linear_layers(layers: nn.ModuleList) -> list[nn.Linear]:
    """Return layers as what they are."""
    return [layer for layer in layers if isinstance(layer, nn.Linear)]


def size_of(shape: Sequence[int]) -> int:
    """Return how many numbers an array of a shape has."""
    size = 1
    for side in shape:
        size *= side
    return size
