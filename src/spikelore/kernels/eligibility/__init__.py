"""Gradients of recurrent layers by eligibility traces: memory for states and traces that does not grow with time.

Of layers as in `recurrent`, the last a leaky readout, the gradient of a weight from unit i to neuron j of layer l is

    dL/dw[j,i] = sum over t of  D[j,t] e[i,t],     e[i,t] = beta e[i,t-1] + a[i,t],     a[i,t] = alpha a[i,t-1] + x[i,t]
    D[j,t] = g(U[j,t] - threshold) (sum over k of w_above[k,j] D_above[k,t])

where x are the spikes that enter by this weight, those of the layer's own neurons a step before for its connections,
and D_above of the readout are the errors of its potentials, carried back through its own leak (which is the same sum
as carrying traces on through it). So nothing but the last steps' states and traces is kept: a part of all steps at a
time. States are computed once more on the way back.

For one hidden layer without connections and with the reset ``subtract`` this is backpropagation through time exactly;
with connections it is that with the spikes which they carry taken as constants. Left out are a hidden layer's memory
on the way down to the layers below (errors go down within a step) and, in the traces, that a neuron was emptied
(reset ``zero``) or refractory. Time constants are one for all neurons of a layer; they are not learned.

For B examples of T steps a layer takes 2 T B N operations for its traces and T B H N multiply-adds. Beside inputs and
outputs and their errors memory is for a part of about 2^19 / (B N) steps, N of the widest layer.

Source: Bellec et al. 2020 (doi 10.1038/s41467-020-17236-y), e-prop with symmetric feedback; Xiao et al. 2022 (arXiv
2210.04195) for errors that go down within a step. Deviation: the loss is of the whole recording and not a sum over
steps, so that any loss of the logits will do; inputs are gone through twice.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikelore.kernels import DEFAULT_BACKEND, recurrent, spike_linear
from spikelore.kernels.recurrent import Course, Spiking
from spikelore.kernels.recurrent.reference import surrogate_slope

__all__ = ["Gradients", "Layer", "gradients", "outputs"]

Floats = NDArray[np.floating]
_TOGETHER = 2**19


@dataclass(frozen=True, eq=False)
class Layer:
    """A layer's weights and constants: arrays, or tensors for the form on any device, `eligibility.torch_any`.

    Attributes:
        weights: (H,N).
        bias: (H,).
        connections: (H,H), or None.
        alpha: what is left of a synaptic current after a step, a number, or a tensor ().
        beta: what is left of a potential, likewise.
        neuron: None for the readout, the last layer, and only for it.
    """

    weights: Any
    bias: Any
    connections: Any
    alpha: Any
    beta: Any
    neuron: Spiking | None

    def decays(self, size: int) -> tuple[Floats, Floats]:
        """Return alpha and beta, (size,) each."""
        kind = self.weights.dtype
        return np.full(size, self.alpha, kind), np.full(size, self.beta, kind)


@dataclass(frozen=True, eq=False)
class Gradients:
    """Gradients of a `Layer`, of its kind.

    Attributes:
        weights: (H,N).
        bias: (H,).
        connections: (H,H), or None.
    """

    weights: Any
    bias: Any
    connections: Any


class _Running:
    """Layers that go on from part to part."""

    def __init__(self, layers: Sequence[Layer], examples: int, backend: str) -> None:
        self.layers, self.backend = layers, backend
        self.states = [self._rest(layer, examples, len(layer.bias)) for layer in layers]
        self.traces = [self._rest(layer, examples, layer.weights.shape[1]) for layer in layers]
        self.own_traces = [self._rest(layer, examples, len(layer.bias)) for layer in layers]
        self.bias_traces = [self._rest(layer, 1, 1) for layer in layers]

    @staticmethod
    def _rest(layer: Layer, examples: int, size: int) -> Floats:
        return np.zeros((4, examples, size), layer.weights.dtype)

    def run(self, spikes: Floats) -> list[tuple[Floats, Floats, Course]]:
        """Return what enters each layer in a part of the steps, its own spikes a step before, and its course."""
        found = []
        for layer, state in zip(self.layers, self.states, strict=True):
            rows = spike_linear.rows_of(spikes, backend=self.backend)
            currents = spike_linear.forward(rows, layer.weights, layer.bias, backend=self.backend)
            currents = currents.reshape(*spikes.shape[:2], -1)
            last = state[2].copy()
            course = recurrent.forward(
                currents, layer.connections, *layer.decays(len(layer.bias)), layer.neuron, state=state,
                backend=self.backend,
            )  # fmt: skip
            own = currents if course.spikes is None else np.concatenate([last[None], course.spikes[:-1]])
            found.append((spikes, own, course))
            spikes = spikes if course.spikes is None else course.spikes
        return found

    def filtered(self, layer: Layer, spikes: Floats, state: Floats) -> Floats:
        """Return the eligibility traces e of spikes, of their shape, and move the state on."""
        decays = layer.decays(spikes.shape[2])
        return recurrent.forward(spikes, None, *decays, None, state=state, backend=self.backend).potentials


def parts(shape: Sequence[int], layers: Sequence[Layer]) -> list[slice]:
    """Return the parts of the steps of inputs, (T,B,N), that are gone through at once."""
    widest = shape[1] * max(max(layer.weights.shape) for layer in layers)
    together = max(1, _TOGETHER // widest)
    return [slice(start, start + together) for start in range(0, shape[0], together)]


def outputs(inputs: Floats, layers: Sequence[Layer], *, backend: str = DEFAULT_BACKEND) -> Floats:
    """Return the readout's potentials, (T,B,K).

    Args:
        inputs: (T,B,N) spikes, 0 or 1, in the type of the weights.
        layers: from input to readout.
        backend: ``numba_cpu``, in float32, or ``reference``.
    """
    running = _Running(layers, inputs.shape[1], backend)
    return np.concatenate([running.run(inputs[part])[-1][2].potentials for part in parts(inputs.shape, layers)])


def gradients(
    inputs: Floats, layers: Sequence[Layer], errors: Floats, *, backend: str = DEFAULT_BACKEND
) -> list[Gradients]:
    """Return the gradients of all layers.

    Args:
        inputs: as given to `outputs`.
        layers: likewise.
        errors: (T,B,K), those of the readout's potentials.
        backend: likewise.
    """
    *hidden, readout = layers
    course = Course(None, errors, None, None)  # of the readout only the shape is looked at
    decays = readout.decays(errors.shape[2])
    carried = recurrent.backward(None, errors, course, None, *decays, None, backend=backend).currents
    running = _Running(layers, inputs.shape[1], backend)
    weights = [np.zeros_like(layer.weights) for layer in layers]
    bias = [np.zeros_like(layer.bias) for layer in layers]
    own = [None if layer.connections is None else np.zeros_like(layer.connections) for layer in layers]
    for part in parts(inputs.shape, layers):
        courses = running.run(inputs[part])
        error = carried[part]
        weights[-1] += _product(error, courses[-1][0])
        bias[-1] += error.sum(axis=(0, 1))
        error = error @ readout.weights
        for index in range(len(hidden) - 1, -1, -1):
            layer, (entered, before, passed) = layers[index], courses[index]
            assert layer.neuron is not None
            error = error * surrogate_slope(passed.potentials - layer.neuron.threshold, layer.neuron).astype(
                error.dtype
            )
            traces = running.filtered(layer, entered, running.traces[index])
            weights[index] += _product(error, traces)
            ones = np.ones((len(error), 1, 1), error.dtype)
            bias[index] += (error * running.filtered(layer, ones, running.bias_traces[index])).sum(axis=(0, 1))
            if (found := own[index]) is not None:
                found += _product(error, running.filtered(layer, before, running.own_traces[index]))
            if index:
                error = error @ layer.weights
    return [Gradients(*each) for each in zip(weights, bias, own, strict=True)]


def _product(errors: Floats, entered: Floats) -> Floats:
    """Return the sum over steps and examples of errors (T,B,H) times what entered (T,B,N): (H,N)."""
    return errors.reshape(-1, errors.shape[2]).T @ entered.reshape(-1, entered.shape[2])
