"""The layer on any device that torch has: one loop over the steps each way, vectorised over examples and neurons."""

import torch

from spikelore.kernels.lif_scan.torch_any import surrogate_slope
from spikelore.kernels.recurrent.model import Spiking

Tensor = torch.Tensor


def forward(
    currents: Tensor,
    recurrent: Tensor | None,
    alpha: Tensor | float,
    beta: Tensor | float,
    neuron: Spiking | None,
    state: Tensor | None = None,
) -> tuple[Tensor | None, Tensor, Tensor]:
    """Return spikes, or None of neurons without ``neuron``, potentials and synaptic currents, each (T,B,H).

    See the package's `forward`. A ``state``, (4,B,H), is moved on.
    """
    spikes, potentials, synaptic = [], [], []
    # silent: steps for which a neuron takes no current yet
    current, potential, spike, silent = torch.zeros_like(currents[:1]).repeat(4, 1, 1) if state is None else state
    for drive in currents:
        current = alpha * current + drive
        if recurrent is not None:
            current = current + spike @ recurrent.T
        potential = beta * potential
        if neuron is None:
            potential = potential + current
        else:
            takes = silent == 0
            if neuron.reset == "zero":
                potential = torch.where(takes, potential + current, 0)
            else:
                potential = potential + torch.where(takes, current, 0) - neuron.threshold * spike
            fires = (potential > neuron.threshold) & takes
            spike = fires.to(currents.dtype)
            silent = torch.where(fires, neuron.silent_steps, (silent - 1).clamp(min=0))
            spikes.append(spike)
        potentials.append(potential)
        synaptic.append(current)
    if state is not None:
        state.copy_(torch.stack([current, potential, spike, silent]))
    return torch.stack(spikes) if spikes else None, torch.stack(potentials), torch.stack(synaptic)


def takes_current(spikes: Tensor, neuron: Spiking) -> Tensor:
    """Return at which steps, (T,B,H), each neuron takes its current."""
    takes = torch.ones_like(spikes, dtype=torch.bool)
    for after in range(1, neuron.silent_steps + 1):
        takes[after:] &= spikes[:-after] == 0
    return takes


def backward(
    spike_gradients: Tensor | None,
    potential_gradients: Tensor | None,
    spikes: Tensor | None,
    potentials: Tensor,
    synaptic: Tensor | None,
    recurrent: Tensor | None,
    alpha: Tensor | float,
    beta: Tensor | float,
    neuron: Spiking | None,
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Return the gradients of currents, alpha and beta; see the package's `backward`."""
    takes = slopes = None
    if neuron is not None and spikes is not None:
        takes = takes_current(spikes, neuron)
        slopes = takes * surrogate_slope(potentials - neuron.threshold, neuron.surrogate, neuron.slope)
    empties = neuron is not None and neuron.reset == "zero"
    at_potentials, at_currents = [], []
    at_potential = at_current = torch.zeros_like(potentials[0])
    for t in range(len(potentials) - 1, -1, -1):
        at_potential = beta * at_potential
        if slopes is not None:
            at_spike = 0 if spike_gradients is None else spike_gradients[t]
            if recurrent is not None:
                at_spike = at_spike + at_current @ recurrent
            at_potential = at_potential + at_spike * slopes[t]
        if potential_gradients is not None:
            at_potential = at_potential + potential_gradients[t]
        taken = at_potential if takes is None else torch.where(takes[t], at_potential, 0)
        at_potential = taken if empties else at_potential
        at_current = taken + alpha * at_current
        at_potentials.append(at_potential)
        at_currents.append(at_current)
    gradients = torch.stack(at_currents[::-1])
    if synaptic is None:
        return gradients, None, None
    to_alpha = (gradients[1:] * synaptic[:-1]).sum((0, 1))
    return gradients, to_alpha, (torch.stack(at_potentials[-2::-1]) * potentials[:-1]).sum((0, 1))
