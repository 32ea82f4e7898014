"""The layer on the processor: an example's steps one after the other, examples spread over the cores."""

import numpy as np
from numpy.typing import NDArray

from spikelore.kernels import memory
from spikelore.kernels.compiled import compiled, over_cores
from spikelore.kernels.lif_scan.numba_cpu import Constants, add_, clear_, copy_, slopes_
from spikelore.kernels.recurrent.model import Spiking
from spikelore.kernels.row_sums import add_products_
from spikelore.kernels.spike_linear.numba_cpu import add_rows_, list_
from spikelore.kernels.vector import LANES

_SMALLEST = np.float32(1e-17)
"""Errors below are 0: what is made of them, such as squares in Adam, is denormal and takes ten times as long."""
_TOGETHER = 8
"""Examples of a job, whose neurons are one loop: loops over few neurons mostly begin and end."""
_NONE = np.empty((0, 0), np.float32)


def constants(neuron: Spiking) -> Constants:
    """Return what the loops are told of a neuron."""
    atan = neuron.surrogate == "atan"
    slope = np.float32(np.pi / 2 * neuron.slope if atan else neuron.slope)
    scale = np.float32(neuron.slope / 2 if atan else 1)
    return Constants(np.float32(0), np.float32(neuron.threshold), neuron.reset == "zero", atan, False, slope, scale)


_INTEGRATES = Constants(np.float32(0), np.float32(np.inf), False, False, False, np.float32(1), np.float32(1))


@compiled()
def decay_(decay, change, state):
    """Let states fall by their decay and add their change."""
    for n in range(len(state)):
        state[n] = decay[n] * state[n] + change[n]


@compiled(error_model="numpy")
def neurons_step_(current, beta, neuron, silent_steps, silent, before, potential, spike):
    """Move potentials and the counts of silent steps on by a step; ``before`` are the spikes of the step before."""
    threshold, zero, one = neuron.threshold, np.float32(0), np.float32(1)
    if neuron.to_zero:
        for n in range(len(potential)):
            potential[n] = zero if silent[n] > zero else beta[n] * potential[n] + current[n]
    else:
        for n in range(len(potential)):
            taken = zero if silent[n] > zero else current[n]
            potential[n] = (beta[n] * potential[n] + taken) - threshold * before[n]
    for n in range(len(potential)):
        spikes = (potential[n] > threshold) & (silent[n] == zero)
        spike[n] = one if spikes else zero
        waits = silent[n] - one
        silent[n] = silent_steps if spikes else (waits if waits > zero else zero)


@compiled()
def _for_all(constants):
    """Return the constants of a job's neurons, one example after the other."""
    size = len(constants)
    found = np.empty(_TOGETHER * size, np.float32)
    for n in range(len(found)):
        found[n] = constants[n % size]
    return found


@over_cores
@compiled(error_model="numpy")
def _forward(begin, end, currents, table, alpha, beta, neuron, silent_steps, state, spikes, potentials, synaptic):
    size = len(alpha)
    steps, wide = len(currents), _TOGETHER * size
    alphas, betas, received = _for_all(alpha), _for_all(beta), np.empty(size, np.float32)
    states = np.empty((4, wide), np.float32)
    units, counts = np.empty((_TOGETHER, size + LANES), np.int32), np.zeros(_TOGETHER, np.int64)
    for job in range(begin, end):
        first = job * wide
        last = min(currents.shape[1], first + wide)
        count = last - first
        listed = count // size if len(table) else 0
        for n in range(len(states)):
            if len(state):
                copy_(state[n, first:last], states[n, :count])
            else:
                clear_(states[n, :count])
        current, potential, earlier, silent = states[0, :count], states[1, :count], states[2, :count], states[3, :count]
        for g in range(listed):
            counts[g] = list_(earlier[g * size : (g + 1) * size], units[g])
        for t in range(steps):
            decay_(alphas, currents[t, first:last], current)
            for g in range(listed):
                if counts[g]:
                    clear_(received)
                    add_rows_(table, units[g], 0, counts[g], received)
                    add_(received, current[g * size : (g + 1) * size])
            if len(spikes):
                before, now = spikes[t - 1, first:last] if t else earlier, spikes[t, first:last]
                neurons_step_(current, betas, neuron, silent_steps, silent, before, potential, now)
                for g in range(listed):
                    counts[g] = list_(now[g * size : (g + 1) * size], units[g])
            else:
                decay_(betas, current, potential)
            copy_(potential, potentials[t, first:last])
            if len(synaptic):
                copy_(current, synaptic[t, first:last])
        if len(state):
            if len(spikes):
                copy_(spikes[steps - 1, first:last], earlier)
            for n in range(len(states)):
                copy_(states[n, :count], state[n, first:last])


@compiled()
def _silence(spikes, t, first, silent_steps, at_potential):
    """Empty the gradients of neurons, from the ``first`` on, that are silent at step t."""
    for earlier in range(max(0, t - silent_steps), t):
        spike = spikes[earlier, first : first + len(at_potential)]
        for n in range(len(at_potential)):
            at_potential[n] = at_potential[n] if spike[n] == 0 else np.float32(0)


@over_cores
@compiled(error_model="numpy")
def _backward(
    begin, end, spike_gradients, potential_gradients, spikes, potentials, synaptic, recurrent, alpha, beta, neuron,
    silent_steps, gradients, to_alpha, to_beta,
):  # fmt: skip
    size = len(alpha)
    steps, wide = len(gradients), _TOGETHER * size
    alphas, betas, none, zero = _for_all(alpha), _for_all(beta), np.zeros(wide, np.float32), np.float32(0)
    parts = np.empty((4, wide), np.float32)
    spiking, learned = len(spikes) > 0, len(synaptic) > 0
    for job in range(begin, end):
        first = job * wide
        last = min(gradients.shape[1], first + wide)
        count = last - first
        state, received, slopes, taken = parts[0, :count], parts[1, :count], parts[2, :count], parts[3, :count]
        shape = count // size, size
        clear_(state)
        if learned:
            clear_(to_alpha[job])
            clear_(to_beta[job])
        for t in range(steps - 1, -1, -1):
            after = gradients[t + 1, first:last] if t + 1 < steps else none[:count]
            for n in range(count):
                state[n] = betas[n] * state[n]
            if spiking:
                given = spike_gradients[t, first:last]
                if len(recurrent) and t + 1 < steps:
                    add_products_(after.reshape(shape), recurrent, given.reshape(shape), received.reshape(shape))
                else:
                    copy_(given, received)
                slopes_(potentials[t, first:last], neuron, slopes)
                for n in range(count):
                    received[n] *= slopes[n]
                _silence(spikes, t, first, silent_steps, received)
                add_(received, state)
            if len(potential_gradients):
                add_(potential_gradients[t, first:last], state)
            copy_(state, taken)
            if spiking:
                _silence(spikes, t, first, silent_steps, taken)
                if neuron.to_zero:
                    copy_(taken, state)
            now = gradients[t, first:last]
            for n in range(count):
                error = taken[n] + alphas[n] * after[n]
                now[n] = error if abs(error) > _SMALLEST else zero
            if learned and t:
                for begun in range(0, count, size):
                    for n in range(size):
                        to_alpha[job, n] += now[begun + n] * synaptic[t - 1, first + begun + n]
                        to_beta[job, n] += state[begun + n] * potentials[t - 1, first + begun + n]


def forward(
    currents: NDArray[np.float32],
    recurrent: NDArray[np.float32] | None,
    alpha: NDArray[np.float32],
    beta: NDArray[np.float32],
    neuron: Spiking | None,
    with_synaptic: bool,
    state: NDArray[np.float32] | None,
) -> tuple[NDArray[np.float32] | None, NDArray[np.float32], NDArray[np.float32] | None]:
    """Return spikes, potentials and synaptic currents, each (T,B,H) or None; see the package's `forward`."""
    spikes = None if neuron is None else memory.empty(currents.shape)
    potentials = memory.empty(currents.shape)
    synaptic = memory.empty(currents.shape) if with_synaptic else None
    _forward(
        -(-currents.shape[1] // _TOGETHER),
        _flat(currents),
        _NONE if recurrent is None else np.ascontiguousarray(recurrent.T),
        alpha,
        beta,
        _INTEGRATES if neuron is None else constants(neuron),
        np.float32(0 if neuron is None else neuron.silent_steps),
        _flat(state),
        _flat(spikes),
        _flat(potentials),
        _flat(synaptic),
    )
    return spikes, potentials, synaptic


def backward(
    spike_gradients: NDArray[np.float32] | None,
    potential_gradients: NDArray[np.float32] | None,
    spikes: NDArray[np.float32] | None,
    potentials: NDArray[np.float32],
    synaptic: NDArray[np.float32] | None,
    recurrent: NDArray[np.float32] | None,
    alpha: NDArray[np.float32],
    beta: NDArray[np.float32],
    neuron: Spiking | None,
) -> tuple[NDArray[np.float32], NDArray[np.float32] | None, NDArray[np.float32] | None]:
    """Return the gradients of currents, alpha and beta; see the package's `backward`."""
    jobs = -(-potentials.shape[1] // _TOGETHER)
    gradients = memory.empty(potentials.shape)
    parts = (_NONE, _NONE) if synaptic is None else [np.empty((jobs, len(alpha)), np.float32) for _ in range(2)]
    if spikes is not None and spike_gradients is None:
        spike_gradients = np.zeros_like(spikes)
    _backward(
        jobs,
        _flat(spike_gradients),
        _flat(potential_gradients),
        _flat(spikes),
        _flat(potentials),
        _flat(synaptic),
        _NONE if recurrent is None else recurrent,
        alpha,
        beta,
        _INTEGRATES if neuron is None else constants(neuron),
        0 if neuron is None else neuron.silent_steps,
        _flat(gradients),
        *parts,
    )
    if synaptic is None:
        return gradients, None, None
    return gradients, parts[0].sum(axis=0), parts[1].sum(axis=0)


def _flat(array: NDArray[np.float32] | None) -> NDArray[np.float32]:
    """Return the memory of an array (T,B,H) as (T,B H), or an empty one."""
    return _NONE if array is None else array.reshape(len(array), -1)
