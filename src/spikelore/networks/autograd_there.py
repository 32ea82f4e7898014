"""What `spikelore.networks.autograd` does on the processor, on any other device: nothing leaves it.

The scan and the recurrent layer are loops over the steps, vectorised over all else: in torch, on CUDA fused by Triton
where it is installed. All else is torch's own. See docs/decisions/devices.md.
"""

from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch
from torch.nn import functional as F  # noqa: N812 - the field's name

from spikelore.kernels import eligibility
from spikelore.kernels.eligibility import torch_any as online_form
from spikelore.kernels.lif_scan import Leaky
from spikelore.kernels.recurrent import Spiking

Tensor = torch.Tensor


def _form(operation: str, tensor: Tensor) -> Any:
    """Return the fastest form of an operation on a tensor's device."""
    name = "triton_cuda" if tensor.device.type == "cuda" and find_spec("triton") else "torch_any"
    return import_module(f"spikelore.kernels.{operation}.{name}")


def _float(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.float().contiguous()


class _Scan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, currents: Tensor, leaky: Leaky, steps: int, with_potentials: bool) -> Any:
        currents = currents.float().contiguous()
        ctx.save_for_backward(currents)
        ctx.leaky = leaky
        ctx.set_materialize_grads(False)
        return _form("lif_scan", currents).forward(currents, leaky, steps, with_potentials)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> Any:
        (currents,) = ctx.saved_tensors
        spikes, potentials = map(_float, gradients)
        return _form("lif_scan", currents).backward(spikes, potentials, currents, ctx.leaky), None, None, None


def scan(currents: Tensor, leaky: Leaky, steps: int, *, with_potentials: bool) -> tuple[Tensor, Tensor | None]:
    """Return spikes and, if asked for, potentials, (T,M) each, of (T,M) or (1,M) currents."""
    return _Scan.apply(currents, leaky, steps, with_potentials)


def convolve(currents: Tensor, weights: Tensor, bias: Tensor, leaky: Leaky | None, steps: int, pool: int) -> Tensor:
    """Return pooled currents as `spikelore.networks.autograd.convolve` does."""
    spikes = currents
    if leaky is not None:
        flat, _ = scan(currents.reshape(len(currents), -1), leaky, steps, with_potentials=False)
        spikes = flat.reshape(steps, *currents.shape[1:])
    maps = F.conv2d(spikes.flatten(0, 1).permute(0, 3, 1, 2), weights, bias)
    pooled = F.max_pool2d(maps, pool).permute(0, 2, 3, 1)
    return pooled.reshape(*spikes.shape[:2], *pooled.shape[1:]).expand(steps, *([-1] * 4))


class _Recurrent(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        currents: Tensor,
        connections: Tensor | None,
        alpha: Tensor,
        beta: Tensor,
        neuron: Spiking | None,
    ) -> Any:
        alpha, beta = alpha.contiguous(), beta.contiguous()
        currents = currents.contiguous()
        spikes, potentials, synaptic = _form("recurrent", currents).forward(currents, connections, alpha, beta, neuron)
        learned = ctx.needs_input_grad[2] or ctx.needs_input_grad[3]
        ctx.save_for_backward(spikes, potentials, synaptic if learned else None, connections, alpha, beta)
        ctx.neuron = neuron
        ctx.set_materialize_grads(False)
        return spikes, potentials

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> Any:
        spikes, potentials, synaptic, connections, alpha, beta = ctx.saved_tensors
        found, to_alpha, to_beta = _form("recurrent", potentials).backward(
            *map(_float, gradients), spikes, potentials, synaptic, connections, alpha, beta, ctx.neuron
        )
        to_connections = None
        if ctx.needs_input_grad[1] and spikes is not None:
            to_connections = found[1:].flatten(0, 1).T @ spikes[:-1].flatten(0, 1)
        return found, to_connections, to_alpha, to_beta, None


def recurrent_layer(
    inputs: Tensor,
    weights: Tensor,
    bias: Tensor,
    connections: Tensor | None,
    alpha: Tensor,
    beta: Tensor,
    neuron: Spiking | None,
) -> tuple[Tensor | None, Tensor]:
    """Return spikes and potentials as `spikelore.networks.autograd.recurrent_layer` does."""
    return _Recurrent.apply(F.linear(inputs, weights, bias), connections, alpha, beta, neuron)


class _Online(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: Tensor, layers: Sequence[eligibility.Layer], *parameters: Tensor) -> Tensor:
        del parameters
        ctx.save_for_backward(inputs)
        ctx.layers = layers
        return online_form.outputs(inputs, layers)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        found = online_form.gradients(ctx.saved_tensors[0], ctx.layers, gradients[0].contiguous())
        return None, None, *(part for each in found for part in (each.weights, each.bias, each.connections))


def online_layers(inputs: Tensor, layers: Sequence[eligibility.Layer], parameters: Sequence[Tensor | None]) -> Tensor:
    """Return potentials as `spikelore.networks.autograd.online_layers` does, of layers that hold tensors."""
    return _Online.apply(inputs, layers, *parameters)
