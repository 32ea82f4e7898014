"""Leaky integrate-and-fire neurons as a differentiable function of torch tensors."""

from typing import Any

import torch

from spikelore.errors import InputError
from spikelore.kernels import DEFAULT_BACKEND, lif_scan
from spikelore.kernels.lif_scan import Leaky


class _Scan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, currents: torch.Tensor, leaky: Leaky, steps: int, backend: str) -> Any:
        flat = currents.detach().float().numpy()
        arrays = lif_scan.forward(flat, leaky, steps, backend=backend)
        spikes, potentials = (torch.from_numpy(array) for array in arrays)
        ctx.save_for_backward(potentials)
        ctx.setting = leaky, len(currents) == 1 and steps > 1, currents.dtype, backend
        ctx.set_materialize_grads(False)
        return spikes, potentials

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor | None) -> Any:
        (potentials,) = ctx.saved_tensors
        leaky, constant, dtype, backend = ctx.setting
        spikes, direct = gradients
        spike_gradients = torch.zeros_like(potentials) if spikes is None else spikes.float().contiguous()
        found = lif_scan.backward(
            spike_gradients.numpy(),
            None if direct is None else direct.float().contiguous().numpy(),
            potentials.numpy(),
            leaky,
            constant=constant,
            backend=backend,
        )
        return torch.from_numpy(found).to(dtype), None, None, None


def scan(
    currents: torch.Tensor, leaky: Leaky, steps: int, *, backend: str = DEFAULT_BACKEND
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the spikes and membrane potentials of neurons that all start from rest, both differentiable.

    The equations are those of `spikelore.kernels.lif_scan`.

    Args:
        currents: (T,...) input at each step, or (1,...): the same at every step.
        leaky: the neurons' constants.
        steps: T.
        backend: of the kernel.

    Raises:
        InputError: the tensors are not on the processor, or their first axis is neither T nor 1.
    """
    if currents.device.type != "cpu":
        raise InputError(f"currents are on {currents.device}; the scan runs on the cpu")
    if len(currents) not in (1, steps):
        raise InputError(f"currents have {len(currents)} steps; expected {steps}, or 1 for a constant input")
    spikes, potentials = _Scan.apply(currents.reshape(len(currents), -1), leaky, steps, backend)
    shape = (steps, *currents.shape[1:])
    return spikes.reshape(shape), potentials.reshape(shape)
