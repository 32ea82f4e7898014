"""Spiking layers as differentiable functions of torch tensors: on the processor, by kernels on the tensors' memory.

Where tensors are on another device, `spikelore.networks.autograd_there` computes the same on it.
"""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from spikelore.errors import InputError
from spikelore.kernels import DEFAULT_BACKEND, eligibility, lif_convolution, lif_scan, recurrent, spike_linear
from spikelore.kernels.lif_scan import Leaky
from spikelore.kernels.recurrent import Spiking
from spikelore.kernels.spike_linear import SpikeRows
from spikelore.networks import autograd_there

if hasattr(os, "register_at_fork"):
    # torch's threads do not come along into a forked process, which would wait for them without end.
    os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))


def _array(tensor: torch.Tensor) -> np.ndarray:
    """Return a tensor's memory as a contiguous float32 array."""
    return tensor.detach().float().contiguous().numpy()


class _Scan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, currents: torch.Tensor, leaky: Leaky, steps: int, with_potentials: bool, backend: str) -> Any:
        spikes, potentials = lif_scan.forward(
            _array(currents), leaky, steps=steps, with_potentials=with_potentials, backend=backend
        )
        ctx.save_for_backward(currents)
        ctx.setting = leaky, backend
        ctx.set_materialize_grads(False)
        return torch.from_numpy(spikes), None if potentials is None else torch.from_numpy(potentials)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor | None) -> Any:
        (currents,) = ctx.saved_tensors
        leaky, backend = ctx.setting
        spikes, potentials = (None if each is None else _array(each) for each in gradients)
        if spikes is None:
            spikes = np.zeros_like(potentials)
        found = lif_scan.backward(spikes, potentials, _array(currents), leaky, backend=backend)
        return torch.from_numpy(found), None, None, None, None


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        currents: torch.Tensor,
        weights: torch.Tensor,
        bias: torch.Tensor,
        leaky: Leaky | None,
        steps: int,
        pool: int,
        backend: str,
    ) -> torch.Tensor:
        pooled, winners = lif_convolution.forward(
            _array(currents), _array(weights), _array(bias), leaky, steps=steps, pool=pool, backend=backend
        )
        ctx.save_for_backward(currents, weights, torch.from_numpy(winners))
        ctx.setting = leaky, pool, backend
        return torch.from_numpy(pooled)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        currents, weights, winners = ctx.saved_tensors
        leaky, pool, backend = ctx.setting
        found = lif_convolution.backward(
            _array(gradients[0]), winners.numpy(), _array(currents), _array(weights), leaky, pool=pool, backend=backend
        )
        return *(torch.from_numpy(each) for each in found), None, None, None, None


_DENSE = 0.2
"""Share of spikes from which the dense product of inputs and errors is the faster one."""


def _weight_gradients(rows: SpikeRows, inputs: torch.Tensor, gradients: torch.Tensor, backend: str) -> torch.Tensor:
    """Return dL/dw, (H,N), from spikes (T,B,N) and dL/dI, (T B,H)."""
    if len(rows.units) >= _DENSE * inputs.numel():
        return gradients.T @ inputs.reshape(-1, rows.size).to(gradients.dtype)
    return torch.from_numpy(spike_linear.weight_gradients(rows, gradients.numpy(), backend=backend))


class _Layer(torch.autograd.Function):
    """Synapses from spikes, then a recurrent layer of neurons."""

    @staticmethod
    def forward(
        ctx: Any,
        inputs: torch.Tensor,
        weights: torch.Tensor,
        bias: torch.Tensor,
        connections: torch.Tensor | None,
        alpha: torch.Tensor,
        beta: torch.Tensor,
        neuron: Spiking | None,
        rows: SpikeRows | None,
        backend: str,
    ) -> Any:
        if rows is None:
            rows = spike_linear.rows_of(inputs.detach().float().numpy(), backend=backend)
        currents = spike_linear.forward(rows, _array(weights), _array(bias), backend=backend)
        constants = None if connections is None else _array(connections), _array(alpha), _array(beta), neuron
        learned = ctx.needs_input_grad[4] or ctx.needs_input_grad[5]
        shape = *inputs.shape[:2], len(weights)
        course = recurrent.forward(currents.reshape(shape), *constants, with_synaptic=learned, backend=backend)
        ctx.save_for_backward(weights, inputs)
        ctx.kept = rows, course, constants, backend
        ctx.set_materialize_grads(False)
        spikes = None if course.spikes is None else torch.from_numpy(course.spikes)
        return spikes, torch.from_numpy(course.potentials), course.rows

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor | None) -> Any:
        (weights, inputs), (rows, course, constants, backend) = ctx.saved_tensors, ctx.kept
        to_spikes, to_potentials = (None if each is None else _array(each) for each in gradients[:2])
        found = recurrent.backward(to_spikes, to_potentials, course, *constants, backend=backend)
        flat = found.currents.reshape(-1, len(weights))
        currents = torch.from_numpy(flat)
        to_inputs = to_weights = to_bias = None
        if ctx.needs_input_grad[0]:
            to_inputs = (currents @ weights).reshape(*found.currents.shape[:2], -1)
        if ctx.needs_input_grad[1]:
            to_weights = _weight_gradients(rows, inputs, currents, backend)
        if ctx.needs_input_grad[2]:
            to_bias = currents.sum(0)
        to_connections = None
        if ctx.needs_input_grad[3] and course.spikes is not None:
            before, later = torch.from_numpy(course.spikes[:-1]), torch.from_numpy(found.currents[1:])
            past = course.rows.before(before.shape[0] * before.shape[1])
            to_connections = _weight_gradients(past, before, later.reshape(-1, len(weights)), backend)
        rest = (None if each is None else torch.from_numpy(each) for each in (found.alpha, found.beta))
        return to_inputs, to_weights, to_bias, to_connections, *rest, None, None, None


class _Online(torch.autograd.Function):
    """All layers, with gradients by eligibility traces."""

    @staticmethod
    def forward(
        ctx: Any, inputs: torch.Tensor, layers: Sequence[eligibility.Layer], backend: str, *parameters: torch.Tensor
    ) -> torch.Tensor:
        del parameters
        ctx.save_for_backward(inputs)
        ctx.kept = layers, backend
        return torch.from_numpy(eligibility.outputs(_array(inputs), layers, backend=backend))

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        (inputs,), (layers, backend) = ctx.saved_tensors, ctx.kept
        found = eligibility.gradients(_array(inputs), layers, _array(gradients[0]), backend=backend)
        parts = [part for each in found for part in (each.weights, each.bias, each.connections)]
        return None, None, None, *(None if part is None else torch.from_numpy(part) for part in parts)


def _elsewhere(tensor: torch.Tensor) -> bool:
    """Return whether a tensor is on another device than the processor."""
    return tensor.device.type != "cpu"


def _check(currents: torch.Tensor, steps: int) -> None:
    if currents.dtype == torch.float64 or not currents.is_floating_point():
        kind = str(currents.dtype).removeprefix("torch.")
        raise InputError(f"currents are {kind}; these layers compute in float32, convert the network with float()")
    if len(currents) not in (1, steps):
        raise InputError(f"currents have {len(currents)} steps; expected {steps}, or 1 for a constant input")


def scan(currents: torch.Tensor, leaky: Leaky, steps: int, *, backend: str = DEFAULT_BACKEND) -> torch.Tensor:
    """Return the spikes, (T,...), of neurons that start from rest; the equations are in `kernels.lif_scan`.

    Args:
        currents: (T,...) input at each step, or (1,...): the same at every step.
        leaky: the neurons' constants.
        steps: T.
        backend: of the kernel, on the processor.

    Raises:
        InputError: the tensor is float64 or of integers, or its first axis is neither T nor 1.
    """
    spikes, _ = _scanned(currents, leaky, steps, False, backend)
    return spikes.reshape(steps, *currents.shape[1:])


def scan_with_potentials(
    currents: torch.Tensor, leaky: Leaky, steps: int, *, backend: str = DEFAULT_BACKEND
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return spikes and membrane potentials, both differentiable; otherwise as `scan`."""
    both = _scanned(currents, leaky, steps, True, backend)
    spikes, potentials = (each.reshape(steps, *currents.shape[1:]) for each in both)
    return spikes, potentials


def _scanned(currents: torch.Tensor, leaky: Leaky, steps: int, with_potentials: bool, backend: str) -> Any:
    """Return spikes and potentials, (T,M) each; None for potentials that are not asked for."""
    _check(currents, steps)
    flat = currents.reshape(len(currents), -1)
    if _elsewhere(currents):
        return autograd_there.scan(flat, leaky, steps, with_potentials=with_potentials)
    return _Scan.apply(flat, leaky, steps, with_potentials, backend)


def convolve(
    currents: torch.Tensor,
    weights: torch.Tensor,
    bias: torch.Tensor,
    leaky: Leaky | None,
    steps: int,
    pool: int,
    *,
    backend: str = DEFAULT_BACKEND,
) -> torch.Tensor:
    """Return the pooled currents, (T,B,H',W',F), that a convolution layer gets from the neurons before it.

    The equations are in `kernels.lif_convolution`.

    Args:
        currents: (T,B,H,W,C) or (1,B,H,W,C) input of those neurons; without ``leaky``, their spikes.
        weights: (F,C,K,K).
        bias: (F,).
        leaky: constants of those neurons, or None.
        steps: T.
        pool: side and stride of the pooling.
        backend: of the kernel.

    Raises:
        InputError: as `scan`.
    """
    _check(currents, steps)
    if _elsewhere(currents):
        return autograd_there.convolve(currents, weights, bias, leaky, steps, pool)
    return _Convolution.apply(currents, weights, bias, leaky, steps, pool, backend)


def recurrent_layer(
    inputs: torch.Tensor,
    weights: torch.Tensor,
    bias: torch.Tensor,
    connections: torch.Tensor | None,
    alpha: torch.Tensor,
    beta: torch.Tensor,
    neuron: Spiking | None,
    rows: SpikeRows | None = None,
    *,
    backend: str = DEFAULT_BACKEND,
) -> tuple[torch.Tensor | None, torch.Tensor, SpikeRows | None]:
    """Return a layer's spikes and potentials, (T,B,H), both differentiable, and on the processor the spikes as lists.

    The equations are in `kernels.recurrent` and `kernels.spike_linear`. Gradients reach all of the tensors. Neurons
    without ``neuron`` have no spikes.

    Args:
        inputs: (T,B,N) spikes, 0 or 1.
        weights: (H,N) from the inputs.
        bias: (H,).
        connections: (H,H) from the layer's own spikes a step before, or None.
        alpha: (H,) what is left of the synaptic current after a step.
        beta: (H,) what is left of the potential after a step.
        neuron: when the neurons spike; None for neurons that only integrate.
        rows: the inputs as lists, a row for each step and example, if they are known, as of the layer before.
        backend: of the kernels.

    Raises:
        InputError: as `scan`, or, on the processor, inputs that are no spikes.
    """
    _check(inputs, len(inputs))
    if _elsewhere(inputs):
        return *autograd_there.recurrent_layer(inputs, weights, bias, connections, alpha, beta, neuron), None
    return _Layer.apply(inputs, weights, bias, connections, alpha, beta, neuron, rows, backend)


def online_layers(
    inputs: torch.Tensor,
    parts: Sequence[tuple[torch.Tensor, torch.Tensor, torch.Tensor | None, torch.Tensor, torch.Tensor, Spiking | None]],
    *,
    backend: str = DEFAULT_BACKEND,
) -> torch.Tensor:
    """Return a readout's potentials, (T,B,K), whose gradients go to all weights by eligibility traces.

    The equations are in `kernels.eligibility`. No gradient goes to the inputs.

    Args:
        inputs: (T,B,N) spikes, 0 or 1.
        parts: of each layer, from input to readout, its weights (H,N), bias (H,), connections (H,H) or None, alpha and
            beta, each (), and neuron, None for the readout.
        backend: of the kernels.

    Raises:
        InputError: as `recurrent_layer`.
    """
    _check(inputs, len(inputs))
    parameters = [each for weights, bias, own, *_ in parts for each in (weights, bias, own)]
    there = _elsewhere(inputs)
    weights_of, number_of = (torch.Tensor.detach, torch.Tensor.detach) if there else (_array, float)
    layers = [
        eligibility.Layer(
            weights_of(weights), weights_of(bias), None if own is None else weights_of(own), number_of(alpha),
            number_of(beta), neuron,
        )
        for weights, bias, own, alpha, beta, neuron in parts
    ]  # fmt: skip
    if there:
        return autograd_there.online_layers(inputs, layers, parameters)
    return _Online.apply(inputs, layers, backend, *parameters)
