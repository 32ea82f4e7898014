"""The definition, in plain NumPy: one loop over the steps each way, in the type of the currents."""

import numpy as np
from numpy.typing import NDArray

from spikelore.kernels.recurrent.model import Spiking

Floats = NDArray[np.floating]


def forward(
    currents: Floats,
    recurrent: Floats | None,
    alpha: Floats,
    beta: Floats,
    neuron: Spiking | None,
    with_synaptic: bool,
    state: Floats | None,
) -> tuple[Floats | None, Floats, Floats | None]:
    """Return spikes, potentials and synaptic currents, each (T,B,H) or None; see the package's `forward`."""
    spikes, potentials, synaptic = (np.zeros_like(currents) for _ in range(3))
    # silent: steps for which a neuron takes no current yet
    current, potential, spike, silent = np.zeros((4, *currents.shape[1:]), currents.dtype) if state is None else state
    for t in range(len(currents)):
        current = alpha * current + currents[t]
        if recurrent is not None:
            current = current + spike @ recurrent.T
        if neuron is None:
            potential = beta * potential + current
        elif neuron.reset == "zero":
            potential = np.where(silent > 0, 0, beta * potential + current)
        else:
            potential = beta * potential + np.where(silent > 0, 0, current) - neuron.threshold * spike
        if neuron is not None:
            spike = ((potential > neuron.threshold) & (silent == 0)).astype(currents.dtype)
            silent = np.where(spike > 0, neuron.silent_steps, np.maximum(silent - 1, 0))
        spikes[t], potentials[t], synaptic[t] = spike, potential, current
    if state is not None:
        state[:] = current, potential, spike, silent
    return None if neuron is None else spikes, potentials, synaptic if with_synaptic else None


def surrogate_slope(distance: Floats, neuron: Spiking) -> Floats:
    """Return dS/dU at ``distance`` = U - threshold."""
    if neuron.surrogate == "fast_sigmoid":
        return 1 / (neuron.slope * np.abs(distance) + 1) ** 2
    return neuron.slope / 2 / (1 + (np.pi / 2 * neuron.slope * distance) ** 2)


def takes_current(spikes: Floats | None, neuron: Spiking | None, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return at which steps, (T,B,H), each neuron takes its current."""
    takes = np.ones(shape, np.bool_)
    if spikes is not None and neuron is not None:
        for after in range(1, neuron.silent_steps + 1):
            takes[after:] &= spikes[:-after] == 0
    return takes


def backward(
    spike_gradients: Floats | None,
    potential_gradients: Floats | None,
    spikes: Floats | None,
    potentials: Floats,
    synaptic: Floats | None,
    recurrent: Floats | None,
    alpha: Floats,
    beta: Floats,
    neuron: Spiking | None,
) -> tuple[Floats, Floats | None, Floats | None]:
    """Return the gradients of currents, alpha and beta; see the package's `backward`."""
    takes = takes_current(spikes, neuron, potentials.shape)
    empties = neuron is not None and neuron.reset == "zero"
    gradients = np.zeros_like(potentials)
    to_alpha, to_beta = np.zeros_like(alpha), np.zeros_like(beta)
    at_potential = at_current = np.zeros_like(potentials[0])
    for t in range(len(potentials) - 1, -1, -1):
        at_potential = beta * at_potential
        if neuron is not None:
            at_spike = np.zeros_like(at_current) if spike_gradients is None else spike_gradients[t]
            if recurrent is not None:
                at_spike = at_spike + at_current @ recurrent
            slopes = surrogate_slope(potentials[t] - neuron.threshold, neuron)
            at_potential = at_potential + takes[t] * at_spike * slopes
        if potential_gradients is not None:
            at_potential = at_potential + potential_gradients[t]
        taken = np.where(takes[t], at_potential, 0)
        at_potential = taken if empties else at_potential
        gradients[t] = at_current = taken + alpha * at_current
        if t and synaptic is not None:
            to_alpha += (at_current * synaptic[t - 1]).sum(axis=0)
            to_beta += (at_potential * potentials[t - 1]).sum(axis=0)
    return (gradients, None, None) if synaptic is None else (gradients, to_alpha, to_beta)
