"""The LIF network in plain NumPy, one step at a time: the definition of the operation."""

import numpy as np
from numpy.typing import NDArray

from spikelore.kernels.exponential import exponential
from spikelore.kernels.lif_network.model import (
    Constants,
    Counts,
    Delays,
    Events,
    Floats,
    Forcing,
    Integers,
    Plasticity,
    Spikes,
    State,
    initial_state,
)
from spikelore.kernels.lif_network.spike_trains import poisson_spikes, stream_key


def _pre_traces(state: State, c: Constants, step: int, inputs: Integers | slice) -> Floats:
    elapsed = (step - state.last_input_spike[inputs]) * c.dt_ms
    return state.pre_trace[inputs] * exponential(-elapsed / c.pre_trace_tau_ms)


def _post_traces(state: State, c: Constants, step: int, neurons: Integers | slice) -> Floats:
    elapsed = (step - state.exc_last_spike[neurons]) * c.dt_ms
    return state.post_trace[neurons] * exponential(-elapsed / c.post_trace_tau_ms)


def _update_neurons(state: State, c: Constants) -> None:
    v, g, h = state.exc_potential, state.exc_conductance, state.inh_conductance
    vt, u, d = state.adaptive_threshold, state.inh_potential, state.inh_drive
    drive = g * (c.exc_reversal_mv - v) + h * (c.inh_reversal_mv - v) + (c.exc_rest_mv - v)
    state.exc_potential = v + c.dt_ms / c.exc_tau_ms * drive
    state.exc_conductance = g - c.dt_ms / c.exc_conductance_tau_ms * g
    state.inh_conductance = h - c.dt_ms / c.inh_conductance_tau_ms * h
    state.adaptive_threshold = vt + c.dt_ms / c.threshold_tau_ms * (c.threshold_rest_mv - vt)
    state.inh_potential = u + c.dt_ms / c.inh_tau_ms * (d * (c.exc_reversal_mv - u) + (c.inh_rest_mv - u))
    state.inh_drive = d - c.dt_ms / c.exc_conductance_tau_ms * d


def _fire(state: State, c: Constants, step: int) -> tuple[Integers, Integers]:
    if c.continuous_threshold:
        state.firing_threshold = state.adaptive_threshold.copy()
    exc = (state.exc_potential > state.firing_threshold) & (step - state.exc_last_spike >= c.exc_refractory_steps)
    inh = (state.inh_potential > c.inh_threshold_mv) & (step - state.inh_last_spike >= c.inh_refractory_steps)
    return np.flatnonzero(exc), np.flatnonzero(inh)


def _input_spikes(state: State, c: Constants, plasticity: Plasticity, step: int, inputs: NDArray[np.int32]) -> None:
    for i in inputs:
        elapsed_ms = (step - state.last_input_spike[i]) * c.dt_ms
        if c.tau_prune_ms > 0:
            state.weights[i] *= exponential(-plasticity.decay * (elapsed_ms / c.tau_prune_ms) ** 2)
        state.exc_conductance += state.weights[i]
        state.pre_trace[i] = _pre_traces(state, c, step, i) + c.pre_trace_step
        change = plasticity.pre * _post_traces(state, c, step, slice(None))
        state.weights[i] = np.clip(state.weights[i] + change, 0, c.weight_max)
        state.last_input_spike[i] = step


def _output_spikes(state: State, c: Constants, plasticity: Plasticity, step: int, neurons: Integers) -> None:
    for j in neurons:
        state.post_trace[j] = _post_traces(state, c, step, j) + c.post_trace_step
        state.exc_last_spike[j] = step
        change = plasticity.post[j] * _pre_traces(state, c, step, slice(None))
        state.weights[:, j] = np.clip(state.weights[:, j] + change, 0, c.weight_max)


def _deliver(state: State, c: Constants, delays: Delays, step: int, exc: Integers, inh: Integers) -> None:
    neurons = np.arange(len(state.exc_potential))
    for j in exc:
        state.to_inh_queue[(step + int(delays.exc_to_inh[j])) % len(state.to_inh_queue), j] += 1
    for k in inh:
        others = neurons[neurons != k]
        state.to_exc_queue[
            (step + delays.inh_to_exc[k, others].astype(np.int64)) % len(state.to_exc_queue), others
        ] += 1
    for queue, target, weight in (
        (state.to_inh_queue, state.inh_drive, c.exc_to_inh_weight),
        (state.to_exc_queue, state.inh_conductance, c.inh_to_exc_weight),
    ):
        arriving = queue[step % len(queue)]
        while arriving.any():
            target[arriving > 0] += weight
            arriving[arriving > 0] -= 1


def run_(state: State, constants: Constants, delays: Delays, events: Events, plasticity: Plasticity) -> Spikes:
    """See `spikelore.kernels.lif_network.run_`."""
    c = constants
    exc_spikes, inh_spikes = [], []
    for t in range(len(events.starts) - 1):
        step = int(state.step[0])
        _update_neurons(state, c)
        exc, inh = _fire(state, c, step)
        _input_spikes(state, c, plasticity, step, events.inputs[events.starts[t] : events.starts[t + 1]])
        _output_spikes(state, c, plasticity, step, exc)
        _deliver(state, c, delays, step, exc, inh)
        state.exc_potential[exc] = c.exc_reset_mv
        state.adaptive_threshold[exc] += c.threshold_step_mv
        state.inh_potential[inh] = c.inh_reset_mv
        state.inh_last_spike[inh] = step
        exc_spikes += [(step, j) for j in exc]
        inh_spikes += [(step, k) for k in inh]
        state.step += 1
    return Spikes(*(np.array(spikes, np.int64).reshape(-1, 2) for spikes in (exc_spikes, inh_spikes)))


def train_(state, constants, delays, presentation, rule, images, targets, neuron_class, rates, seed, stream, first):
    """See `spikelore.kernels.lif_network.train_`."""
    neurons = len(neuron_class)
    counts = np.zeros((len(images), neurons), np.int64)
    silence = Events(np.zeros(presentation.silent_steps + 1, np.int64), np.zeros(0, np.int32))
    for n, image in enumerate(images):
        post = np.where(neuron_class == targets[n], rule.target_post_rate, rule.other_post_rate)
        plasticity = Plasticity(rates, rates * post, rates)
        if not constants.continuous_threshold:
            state.firing_threshold = state.adaptive_threshold.copy()
        for events in (_events(presentation, image, stream_key(seed, stream, first + n)), silence):
            spikes = run_(state, constants, delays, events, plasticity)
            counts[n] += np.bincount(spikes.exc[:, 1], minlength=neurons)
    return counts


def train_forced_(
    state, constants, delays, presentation, forcing, images, targets, neuron_class, rates, seed, stream, first
):
    """See `spikelore.kernels.lif_network.train_forced_`."""
    counts = np.zeros((len(images), len(neuron_class)), np.int64)
    for n, image in enumerate(images):
        members = np.flatnonzero(neuron_class == targets[n])
        part = Delays(delays.exc_to_inh[members], delays.inh_to_exc[np.ix_(members, members)])
        group = initial_state(
            state.weights[:, members], constants, part, (constants.exc_rest_mv, constants.inh_rest_mv)
        )
        group.firing_threshold += state.homeostatic_threshold[members]
        group.last_input_spike, group.step = state.last_input_spike, state.step
        group.pre_trace = state.pre_trace
        group.pre_trace[:] = 0
        only_post = Plasticity(np.zeros(len(members)), rates[members], rates[members])
        events = _events(presentation, image, stream_key(seed, stream, first + n))
        spikes = run_(group, constants, part, events, only_post)
        fired = np.bincount(spikes.exc[:, 1], minlength=len(members))
        _scale_(group, constants, forcing, np.flatnonzero(fired), rates[members])
        state.weights[:, members] = group.weights
        state.step += presentation.silent_steps
        shares = fired / max(1, fired.sum())
        change = forcing.homeostasis_mv * (shares - 1 / len(members))
        state.homeostatic_threshold[members] += rates[members] * change
        counts[n, members] = fired
    return counts


def _scale_(state: State, c: Constants, forcing: Forcing, neurons: Integers, rates: Floats) -> None:
    used = state.step[0] - state.last_input_spike <= forcing.in_use_steps
    for j in neurons:
        norm = np.sqrt((state.weights[used, j] ** 2).sum())
        if norm > 0:
            scale = rates[j] * (forcing.weight_norm / norm) + (1 - rates[j])
            state.weights[used, j] = np.minimum(state.weights[used, j] * scale, c.weight_max)


def count_spikes(state, constants, delays, presentation, images, seed, stream, indices):
    """See `spikelore.kernels.lif_network.count_spikes`."""
    neurons = len(state.exc_potential)
    counts = Counts(*(np.zeros(shape, np.int64) for shape in (len(images), (len(images), neurons), len(images))))
    nothing = Plasticity(np.zeros(neurons), np.zeros(neurons), np.zeros(neurons))
    for n, image in enumerate(images):
        events = _events(presentation, image, stream_key(seed, stream, int(indices[n])))
        spikes = run_(state.copy(), constants._replace(tau_prune_ms=0.0), delays, events, nothing)
        counts.inputs[n] = len(events.inputs)
        counts.exc[n] = np.bincount(spikes.exc[:, 1], minlength=neurons)
        counts.inh[n] = len(spikes.inh)
    return counts


def _events(presentation, image, key) -> Events:
    return Events(*poisson_spikes(presentation.probabilities[image.ravel()], presentation.active_steps, key))
