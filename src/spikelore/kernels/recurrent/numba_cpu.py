"""The layer on the processor: an example's steps one after the other, examples spread over the cores."""

import numpy as np
from numpy.typing import NDArray

from spikelore.kernels import memory
from spikelore.kernels.compiled import compiled, over_cores
from spikelore.kernels.lif_scan.numba_cpu import Constants, add_, clear_, copy_, slopes_
from spikelore.kernels.recurrent.model import Spiking
from spikelore.kernels.row_sums import TOGETHER, add_products_
from spikelore.kernels.spike_linear.numba_cpu import add_rows_, list_
from spikelore.kernels.vector import LANES

_SMALLEST = np.float32(1e-17)
"""Errors below are 0: what is made of them, such as squares in Adam, is denormal and takes ten times as long."""
_NONE = np.empty((0, 0), np.float32)
_NO_STEPS = np.empty((0, 0, 0), np.float32)


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


@over_cores
@compiled(error_model="numpy")
def _forward(begin, end, currents, table, alpha, beta, neuron, silent_steps, state, spikes, potentials, synaptic):
    steps, _, size = currents.shape
    current, potential, earlier = np.empty(size, np.float32), np.empty(size, np.float32), np.empty(size, np.float32)
    received, silent, units = np.empty(size, np.float32), np.empty(size, np.float32), np.empty(size + LANES, np.int32)
    for example in range(begin, end):
        if len(state):
            copy_(state[0, example], current)
            copy_(state[1, example], potential)
            copy_(state[2, example], earlier)
            copy_(state[3, example], silent)
        else:
            clear_(current)
            clear_(potential)
            clear_(earlier)
            clear_(silent)
        count = list_(earlier, units) if len(table) else 0
        for t in range(steps):
            decay_(alpha, currents[t, example], current)
            if count:
                clear_(received)
                add_rows_(table, units, 0, count, received)
                add_(received, current)
            if len(spikes):
                before = spikes[t - 1, example] if t else earlier
                neurons_step_(current, beta, neuron, silent_steps, silent, before, potential, spikes[t, example])
                if len(table):
                    count = list_(spikes[t, example], units)
            else:
                decay_(beta, current, potential)
            for n in range(size):
                potentials[t, example, n] = potential[n]
            if len(synaptic):
                for n in range(size):
                    synaptic[t, example, n] = current[n]
        if len(state):
            copy_(current, state[0, example])
            copy_(potential, state[1, example])
            copy_(silent, state[3, example])
            if len(spikes):
                copy_(spikes[steps - 1, example], state[2, example])


@compiled()
def _silence(spikes, t, example, silent_steps, at_potential):
    """Empty the gradients of neurons that are silent at step t."""
    for earlier in range(max(0, t - silent_steps), t):
        spike = spikes[earlier, example]
        for n in range(len(at_potential)):
            at_potential[n] = at_potential[n] if spike[n] == 0 else np.float32(0)


@over_cores
@compiled(error_model="numpy")
def _backward(
    begin, end, spike_gradients, potential_gradients, spikes, potentials, synaptic, recurrent, alpha, beta, neuron,
    silent_steps, gradients, to_alpha, to_beta,
):  # fmt: skip
    steps, examples, size = gradients.shape
    states = np.empty((TOGETHER, size), np.float32)
    received = np.empty((TOGETHER, size), np.float32)
    slopes, taken = np.empty(size, np.float32), np.empty(size, np.float32)
    none, zero = np.zeros(size, np.float32), np.float32(0)
    spiking, learned = len(spikes) > 0, len(synaptic) > 0
    for job in range(begin, end):
        first = job * TOGETHER
        together = min(examples, first + TOGETHER) - first
        for g in range(together):
            clear_(states[g])
        if learned:
            clear_(to_alpha[job])
            clear_(to_beta[job])
        for t in range(steps - 1, -1, -1):
            if spiking:
                given = spike_gradients[t, first : first + together]
                if len(recurrent) and t + 1 < steps:
                    add_products_(gradients[t + 1, first : first + together], recurrent, given, received[:together])
                else:
                    for g in range(together):
                        copy_(given[g], received[g])
            for g in range(together):
                example = first + g
                state = states[g]
                after = gradients[t + 1, example] if t + 1 < steps else none
                for n in range(size):
                    state[n] = beta[n] * state[n]
                if spiking:
                    slopes_(potentials[t, example], neuron, slopes)
                    for n in range(size):
                        received[g, n] *= slopes[n]
                    _silence(spikes, t, example, silent_steps, received[g])
                    add_(received[g], state)
                if len(potential_gradients):
                    add_(potential_gradients[t, example], state)
                for n in range(size):
                    taken[n] = state[n]
                if spiking:
                    _silence(spikes, t, example, silent_steps, taken)
                    if neuron.to_zero:
                        for n in range(size):
                            state[n] = taken[n]
                now = gradients[t, example]
                for n in range(size):
                    error = taken[n] + alpha[n] * after[n]
                    now[n] = error if abs(error) > _SMALLEST else zero
                if learned and t:
                    for n in range(size):
                        to_alpha[job, n] += now[n] * synaptic[t - 1, example, n]
                        to_beta[job, n] += state[n] * potentials[t - 1, example, n]


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
        currents.shape[1],
        currents,
        _NONE if recurrent is None else np.ascontiguousarray(recurrent.T),
        alpha,
        beta,
        _INTEGRATES if neuron is None else constants(neuron),
        np.float32(0 if neuron is None else neuron.silent_steps),
        _given(state),
        _given(spikes),
        potentials,
        _given(synaptic),
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
    jobs = -(-potentials.shape[1] // TOGETHER)
    gradients = memory.empty(potentials.shape)
    parts = (_NONE, _NONE) if synaptic is None else [np.empty((jobs, len(alpha)), np.float32) for _ in range(2)]
    if spikes is not None and spike_gradients is None:
        spike_gradients = np.zeros_like(spikes)
    _backward(
        jobs,
        _given(spike_gradients),
        _given(potential_gradients),
        _given(spikes),
        potentials,
        _given(synaptic),
        _NONE if recurrent is None else recurrent,
        alpha,
        beta,
        _INTEGRATES if neuron is None else constants(neuron),
        0 if neuron is None else neuron.silent_steps,
        gradients,
        *parts,
    )
    if synaptic is None:
        return gradients, None, None
    return gradients, parts[0].sum(axis=0), parts[1].sum(axis=0)


def _given(array: NDArray[np.float32] | None) -> NDArray[np.float32]:
    return _NO_STEPS if array is None else array
