"""Recurrent layers of current-based leaky integrate-and-fire neurons, differentiable by surrogate gradients."""

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - the field's name

from spikelore.errors import InputError, shown
from spikelore.kernels import DEFAULT_BACKEND, recurrent
from spikelore.kernels.recurrent import Spiking
from spikelore.kernels.spike_linear import SpikeRows
from spikelore.metrics.learning_cost import Tally, Work
from spikelore.networks.autograd import online_layers, recurrent_layer
from spikelore.networks.foreign import kind_of
from spikelore.networks.gradient_learning import Readout
from spikelore.networks.heads import Headed, Operations, linear_layers
from spikelore.networks.readout import over_steps
from spikelore.networks.recurrent_config import RecurrentConfig
from spikelore.networks.stored import Arrays

_Constants = tuple[np.ndarray | None, np.ndarray, np.ndarray, Spiking | None]


class TimeConstants(nn.Module):
    """Membrane and synaptic time constants of a layer, kept as logarithms so that they stay positive.

    Args:
        tau_mem_ms: of the membranes.
        tau_syn_ms: of the synapses.
        size: how many of each: 1 for all neurons, or one a neuron.
        bin_ms: length of a step.
        learned: whether they are.

    Attributes:
        log_mem: (size,) logarithms of milliseconds.
        log_syn: (size,) likewise.
    """

    def __init__(self, tau_mem_ms: float, tau_syn_ms: float, size: int, bin_ms: float, learned: bool) -> None:
        super().__init__()
        self.bin_ms = bin_ms
        self.log_mem = nn.Parameter(torch.full((size,), math.log(tau_mem_ms)), requires_grad=learned)
        self.log_syn = nn.Parameter(torch.full((size,), math.log(tau_syn_ms)), requires_grad=learned)

    def forward(self, neurons: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what is left after a step of synaptic currents and of potentials, alpha and beta, (H,) each."""
        alpha, beta = (torch.exp(-self.bin_ms * torch.exp(-each)) for each in (self.log_syn, self.log_mem))
        return alpha.expand(neurons), beta.expand(neurons)


class RecurrentLayers(Headed):
    """Recurrent layers, then one or more heads of output neurons that integrate or spike.

    Signals are spikes (T,B,N). The equations are in `spikelore.kernels.recurrent`. It is trained like any torch module
    and answers `spikelore.networks.protocol.SpikingModule`; output neurons that only integrate give potentials in place
    of spikes.

    Args:
        config: sizes and constants.
        generator: draws the initial weights and those of later heads; may be replaced.
        backend: of the kernels.

    Attributes:
        hidden: weights and bias of each layer from the layer before.
        connections: weights of each recurrent layer from its own spikes a step before, by the layer's number.
        times: time constants of each layer.
        readout_times: those of the output neurons.
        tally: how often it has done what `work_of` names.

    Source: as `RecurrentConfig`; initial weights are torch's default ones, those of the connections likewise.
    """

    def __init__(self, config: RecurrentConfig, generator: torch.Generator, *, backend: str = DEFAULT_BACKEND) -> None:
        super().__init__()
        self.config = config
        self.generator = generator
        self.backend = backend
        self.tally = Tally()
        self.head_units = []
        learned = config.times != "fixed"
        self.hidden = nn.ModuleList(nn.Linear(before, after) for before, after in pairwise(config.sizes))
        self.connections = nn.ModuleDict(
            {
                str(n): nn.Linear(size, size, bias=False)
                for n, (size, connected) in enumerate(zip(config.hidden, config.connected, strict=True))
                if connected
            }
        )
        self.times = nn.ModuleList(
            TimeConstants(
                config.tau_mem_ms, config.tau_syn_ms, size if config.times == "neuron" else 1, config.bin_ms, learned
            )
            for size in config.hidden
        )
        self.readout_times = TimeConstants(
            config.readout_tau_mem_ms, config.readout_tau_syn_ms, 1, config.bin_ms, learned
        )
        self.heads = nn.ModuleList()
        for layer in (*self.hidden, *self.connections.values()):
            self._initialise_(layer)
        if config.classes:
            self.add_head(config.classes)

    @property
    def head_inputs(self) -> int:
        """How many neurons each output neuron hears."""
        return self.config.hidden[-1]

    def feature_layers(self) -> list[nn.Module]:
        """Return the modules below the heads."""
        return [*self.hidden, *self.connections.values(), *self.times]

    @property
    def threshold(self) -> float:
        """Firing threshold of every neuron that spikes."""
        return self.config.neuron.threshold

    def encode(self, inputs: torch.Tensor, /) -> torch.Tensor:
        """Return the signal, (T,B,N), of (B,T,*units) spikes, 0 or 1.

        Raises:
            InputError: another shape or type, or no input.
        """
        if not isinstance(inputs, torch.Tensor):
            raise InputError(f"inputs are {kind_of(inputs)}, expected a float32 tensor (B,T,units); convert them")
        if inputs.dim() < 3 or tuple(inputs.shape[2:]) != self.config.units or not inputs.shape[1]:
            units = ",".join(map(str, self.config.units))
            raise InputError(f"inputs have shape {tuple(inputs.shape)}, expected (inputs, steps, {units})")
        if not len(inputs):
            raise InputError("the batch has no input, expected at least one; leave it out")
        return inputs.flatten(2).transpose(0, 1)

    def _layer(
        self, signal: torch.Tensor, index: int, rows: SpikeRows | None = None
    ) -> tuple[torch.Tensor, torch.Tensor, SpikeRows | None]:
        """Return spikes and potentials of layer ``index``, the output being the last, from the spikes before it.

        ``rows`` are these spikes as lists, if they are known; the layer's own come last.
        """
        if index < self.config.layers:
            layer = linear_layers(self.hidden)[index]
            weight, bias, neuron = layer.weight, layer.bias, self.config.neuron
            connections = self._connections(index)
            times = self.times[index]
        else:
            weight, bias = self._head_matrix()
            connections, times = None, self.readout_times
            neuron = self.config.neuron if self.config.output == "spiking" else None
        alpha, beta = times(len(bias))
        spikes, potentials, own = recurrent_layer(
            signal, weight, bias, connections, alpha, beta, neuron, rows, backend=self.backend
        )
        return torch.zeros_like(potentials) if spikes is None else spikes, potentials, own

    def _connections(self, index: int) -> torch.Tensor | None:
        """Return the weights between the neurons of a hidden layer."""
        if str(index) not in self.connections:
            return None
        layer = self.connections[str(index)]
        assert isinstance(layer, nn.Linear)
        return layer.weight

    def _learns(self, index: int) -> bool:
        layers = self.heads if index == self.config.layers else (self.hidden[index], *self._own(index))
        return any(each.requires_grad for layer in layers for each in layer.parameters())

    def _own(self, index: int) -> list[nn.Module]:
        return [self.connections[str(index)]] if str(index) in self.connections else []

    def _through(self, signal: torch.Tensor, first: int, last: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return spikes and potentials of layer ``last`` from the spikes before layer ``first``."""
        if self.config.gradient == "e-prop" and last == self.config.layers and torch.is_grad_enabled():
            return self._online(signal, first)
        potentials, rows = signal, None
        for index in range(first, last + 1):
            inputs, goes_on = signal.shape[1], signal.requires_grad and torch.is_grad_enabled()
            signal, potentials, rows = self._layer(signal, index, rows)
            self.tally.add(f"forward {index}", inputs)
            if goes_on:
                self.tally.add(f"inputs {index}", inputs)
            if torch.is_grad_enabled() and self._learns(index):
                self.tally.add(f"weights {index}", inputs)
        return signal, potentials

    def _online(self, signal: torch.Tensor, first: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what `_through` does of the outputs, with gradients by eligibility traces."""
        if signal.requires_grad:
            raise InputError(
                "e-prop gives no gradient to what it is given, and these spikes want one; call the network as a whole, "
                "or freeze what lies below its split"
            )
        parts = []
        for index in range(first, self.config.layers + 1):
            hidden = index < self.config.layers
            layer = linear_layers(self.hidden)[index] if hidden else None
            weight, bias = self._head_matrix() if layer is None else (layer.weight, layer.bias)
            alpha, beta = (each.detach()[0] for each in (self.times[index] if hidden else self.readout_times)(1))
            connections = self._connections(index) if hidden else None
            parts.append((weight, bias, connections, alpha, beta, self.config.neuron if hidden else None))
            for work in ("forward", "weights", "inputs")[: 3 if index > first else 2]:
                self.tally.add(f"{work} {index}", signal.shape[1])
        potentials = online_layers(signal, parts, backend=self.backend)
        return potentials.new_zeros(()).expand_as(potentials), potentials

    def features(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the spikes of layer ``config.split``, (T,B,H); with split 0 the inputs', (T,B,N)."""
        signal = self.encode(inputs)
        return self._through(signal, 0, self.config.split - 1)[0] if self.config.split else signal

    def _outputs(self, signal: torch.Tensor, first: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the outputs' spikes and potentials, each (T,B,classes), from the spikes before layer ``first``."""
        spikes, potentials = self._through(signal, first, self.config.layers)
        return self._of_classes(spikes), self._of_classes(potentials)

    def _shown(self, spikes: torch.Tensor, potentials: torch.Tensor) -> torch.Tensor:
        return spikes if self.config.output == "spiking" else potentials

    def head(self, features: torch.Tensor) -> torch.Tensor:
        """Return the output spikes, or potentials of those that integrate, (T,B,classes), from `features`."""
        return self._shown(*self._outputs(features, self.config.split))

    def output(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the outputs' spikes and potentials, each (T,B,classes), from `features`; no spikes are zeros."""
        return self._outputs(features, self.config.split)

    def with_potentials(self, inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what `output` does, from inputs."""
        return self._outputs(self.encode(inputs), 0)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the output spikes, or potentials of those that integrate, (T,B,classes), of (B,T,*units) spikes."""
        return self._shown(*self.with_potentials(inputs))

    # Costs ------------------------------------------------------------------------------------------------------------

    def _operations(self, signal: torch.Tensor) -> Operations:
        signals = self._signals(signal)
        counts = [each.double().sum((0, 2)) for each in signals]
        parts = zip(counts, self._reached(), self._within(signals), strict=False)
        accumulates = [count * reached + own for count, reached, own in parts]
        zeros = torch.zeros(signal.shape[1], dtype=torch.float64)
        return Operations(torch.stack(counts).sum(0), torch.stack(accumulates).sum(0), zeros)

    def _reached(self) -> list[int]:
        """Return how many neurons of each layer a spike from the layer before reaches, the output's last."""
        return [*self.config.hidden, sum(map(sum, self.head_units))]

    def _within(self, signals: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Return the operations between the neurons of each layer, (B,) each: of spikes but those of the last step."""
        none = torch.zeros(signals[0].shape[1], dtype=torch.float64)
        hidden = zip(signals[1:], self.config.connected, strict=False)
        found = [each[:-1].double().sum((0, 2)) * each.shape[2] if own else none for each, own in hidden]
        return [*found[: self.config.layers], none]

    def _signals(self, signal: torch.Tensor) -> list[torch.Tensor]:
        """Return the spikes of the input, of each hidden layer and, where they are spiking, of the output neurons."""
        signals = [signal]
        for index in range(self.config.layers + (self.config.output == "spiking" and len(self.heads) > 0)):
            signals.append(self._layer(signals[-1], index)[0])
        return signals

    @torch.no_grad()
    def work_of(self, signal: torch.Tensor, columns: torch.Tensor, readout: Readout) -> dict[str, Work]:
        """Return what each kind of work takes once, means an input, for encoded inputs and their classes' columns.

        ================ =============================================================================================
        ``forward l``    into layer l, 0 the first: an accumulate for each spike and synapse, its own layer's too
        ``inputs l``     errors back through layer l: a multiply-accumulate for each error that is not 0 and synapse
                         from the layer before
        ``weights l``    gradients: an accumulate for each synapse and step where neither the spike nor the error is 0;
                         and errors back to the layer's own spikes, a multiply-accumulate each
        ``step``         Adam on a batch: three multiply-accumulates a weight, for two moments and the weight
        ================ =============================================================================================

        Errors are those of the mean cross entropy of the logits by backpropagation. A neuron's current and potential
        are read and written each step, and once more where they are kept for the way back; so is its error.
        """
        steps, examples, _ = signal.shape
        spikes, errors = self._errors(signal, columns, readout)
        reached, within, found = self._reached(), self._within(spikes), {}
        for index, error in enumerate(errors):
            wrong, before = error != 0, spikes[index]
            own = index < self.config.layers and self.config.connected[index]
            forward = float((before.double().sum((0, 2)) * reached[index] + within[index]).mean())
            count = float(wrong.sum()) / examples
            met = float((before.double().sum(2) * wrong.double().sum(2)).sum()) / examples
            if own:
                met += float((spikes[index + 1][:-1].double().sum(2) * wrong[1:].double().sum(2)).sum()) / examples
            state = 2.0 * error.shape[2] * steps
            back = count * error.shape[2] if own else 0.0
            found[f"forward {index}"] = Work(forward, 0.0, forward, 0.0, state, state)
            found[f"inputs {index}"] = Work(0.0, count * before.shape[2], count * before.shape[2])
            found[f"weights {index}"] = Work(met, back, back, 0.0, met + 2 * state, met + 2 * state)
        weights = sum(each.numel() for each in self.parameters() if each.requires_grad)
        found["step"] = Work(0.0, 3 * weights, weights, weights, 3 * weights, 2 * weights)
        return found

    def _errors(
        self, signal: torch.Tensor, columns: torch.Tensor, readout: Readout
    ) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """Return what enters each layer and the errors of the currents, (T,B,H), of each."""
        parts = [self._constants(index) for index in range(self.config.layers + 1)]
        signals, courses = [signal.contiguous()], []
        for weight, bias, constants in parts:
            currents = F.linear(signals[-1], weight, bias).numpy()
            courses.append(recurrent.forward(currents, *constants, backend=self.backend))
            signals.append(torch.from_numpy(courses[-1].spikes if courses[-1].spikes is not None else currents))
        course = courses[-1]
        with torch.enable_grad():
            outputs = [
                torch.zeros(course.potentials.shape) if each is None else torch.from_numpy(each)
                for each in (course.spikes, course.potentials)
            ]
            outputs = [each.requires_grad_() for each in outputs]
            spoken, held = (self._of_classes(each) for each in outputs)
            logits = over_steps(spoken, held, self.threshold, readout)
            given = torch.autograd.grad(F.cross_entropy(logits, columns), outputs, allow_unused=True)
        back: list[np.ndarray | None] = [None if each is None else each.numpy() for each in given]
        errors: list[torch.Tensor] = []
        for (weight, _, constants), course in zip(reversed(parts), reversed(courses), strict=True):
            to_spikes, to_potentials = back
            gradients = recurrent.backward(to_spikes, to_potentials, course, *constants, backend=self.backend)
            errors.insert(0, torch.from_numpy(gradients.currents))
            back = [(errors[0] @ weight).numpy(), None]
        return signals[: len(errors) + (self.config.output == "spiking")], errors

    def _constants(self, index: int) -> tuple[torch.Tensor, torch.Tensor, _Constants]:
        """Return weights, bias and what the kernel is told of a layer."""
        hidden = index < self.config.layers
        layer = linear_layers(self.hidden)[index] if hidden else None
        weight, bias = self._head_matrix() if layer is None else (layer.weight, layer.bias)
        connections = self._connections(index) if hidden else None
        times = self.times[index] if hidden else self.readout_times
        alpha, beta = (each.detach().contiguous().numpy() for each in times(len(bias)))
        neuron = self.config.neuron if hidden or self.config.output == "spiking" else None
        return weight, bias, (None if connections is None else connections.numpy(), alpha, beta, neuron)

    # What enters layers -----------------------------------------------------------------------------------------------

    def layer_inputs(self, inputs: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return what enters each layer of weights, (T,B,D), by its name as a submodule, of (B,T,*units) spikes."""
        return self._layer_inputs(self.encode(inputs))

    def _layer_inputs(self, signal: torch.Tensor) -> dict[str, torch.Tensor]:
        signals = self._signals(signal)
        found = {f"hidden.{n}": signals[n] for n in range(self.config.layers)}
        for name in self.connections:
            own = signals[int(name) + 1]
            found[f"connections.{name}"] = torch.cat([torch.zeros_like(own[:1]), own[:-1]])
        return found | {f"heads.{n}": signals[self.config.layers] for n in range(len(self.heads))}


def expected_arrays(config: RecurrentConfig, heads: Sequence[int | Sequence[int]]) -> Arrays:
    """Return shape and type of the weights of a network, by name.

    Args:
        config: of the network.
        heads: the units of each class of each head.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for n, (before, after) in enumerate(pairwise(config.sizes)):
        shapes |= {f"hidden.{n}.weight": (after, before), f"hidden.{n}.bias": (after,)}
        times = after if config.times == "neuron" else 1
        shapes |= {f"times.{n}.log_mem": (times,), f"times.{n}.log_syn": (times,)}
        if config.connected[n]:
            shapes[f"connections.{n}.weight"] = (after, after)
    shapes |= {"readout_times.log_mem": (1,), "readout_times.log_syn": (1,)}
    for n, sizes in enumerate(heads):
        if isinstance(sizes, int) or not sizes or not all(type(one) is int and 0 < one < 2**31 for one in sizes):
            raise InputError(f"head {n} has units {shown(sizes)}, expected numbers of 1 or more; take another copy")
        shapes |= {f"heads.{n}.weight": (sum(sizes), config.hidden[-1]), f"heads.{n}.bias": (sum(sizes),)}
    return {name: (shape, np.float32) for name, shape in shapes.items()}
