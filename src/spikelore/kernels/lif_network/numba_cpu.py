"""The LIF network on the processor: equal to `reference` spike for spike.

What makes it fast: input spikes come as events, so nothing as wide as the image is touched in a step without
one; neurons are vectorised, padded to whole vectors by ones that cannot fire; the STDP traces belong to
inputs and neurons (input synapses have no delay) and decay when they are read; and a neuron's spike visits
only the inputs whose trace is not yet below exp(-40) of one spike's, about 4e-18 of it, the one thing that
may differ from the reference.
"""

import math
from collections import namedtuple
from dataclasses import fields

import numpy as np
from numba import prange

from spikelore.kernels.compiled import compiled
from spikelore.kernels.exponential import exponential
from spikelore.kernels.lif_network.model import (
    LONG_AGO,
    Constants,
    Counts,
    Delays,
    Events,
    Plasticity,
    Spikes,
    State,
)
from spikelore.kernels.lif_network.spike_trains import GOLDEN_GAMMA, LOG_2, LOG_SERIES, SQRT_HALF

_Arrays = namedtuple("_Arrays", [field.name for field in fields(State)])  # Numba takes no dataclass
_exponential = compiled()(exponential)
_LANES = 8
_BLOCK = 256  # logarithms drawn at once
_C = LOG_SERIES
_FORGOTTEN = 40.0  # time constants after which a trace counts as zero
_NEGLIGIBLE = 1e-100  # conductances below it cannot change a potential; cleared before they become denormal


@compiled()
def _mix(value):
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


@compiled()
def _stream_key(seed, stream, image):
    gamma = np.uint64(GOLDEN_GAMMA)
    return _mix(_mix(_mix(np.uint64(seed) + gamma) + np.uint64(stream) + gamma) + np.uint64(image) + gamma)


@compiled()
def _logs_(key, draw, values, mantissas, logs):
    """Fill ``logs`` with log(u) of the draws from ``draw`` on, as `spike_trains.log_uniform`."""
    bits, mantissa_bits = values.view(np.int64), mantissas.view(np.int64)
    for k in range(logs.size):
        counter = key + np.uint64(draw + k) * np.uint64(GOLDEN_GAMMA)
        values[k] = np.float64(np.int64(_mix(counter) >> np.uint64(11)) + 1)
    for k in range(logs.size):
        mantissa_bits[k] = (bits[k] & 0x000FFFFFFFFFFFFF) | 0x3FE0000000000000
    for k in range(logs.size):
        exponent = np.float64((bits[k] >> 52) - 1022 - 53)
        m = mantissas[k]
        low = m < SQRT_HALF
        m = 2.0 * m if low else m
        exponent = exponent - 1.0 if low else exponent
        s = (m - 1.0) / (m + 1.0)
        square = s * s
        series = _C[10] * square + _C[9]
        series = series * square + _C[8]
        series = series * square + _C[7]
        series = series * square + _C[6]
        series = series * square + _C[5]
        series = series * square + _C[4]
        series = series * square + _C[3]
        series = series * square + _C[2]
        series = series * square + _C[1]
        series = series * square + _C[0]
        logs[k] = s * series + exponent * LOG_2


@compiled()
def _poisson(pixels, probabilities, scales, steps, key, starts, times, sources, inputs):
    """Draw the spikes of an image as `spike_trains.poisson_spikes` does, by step; return the buffers."""
    logs, values, mantissas = np.empty(_BLOCK), np.empty(_BLOCK), np.empty(_BLOCK)
    drawn = 0
    count = 0
    starts[:] = 0
    for i in range(pixels.size):
        level = pixels[i]
        if probabilities[level] == 0.0:
            continue
        scale = scales[level]
        t = -1
        while True:
            if drawn % _BLOCK == 0:
                _logs_(key, drawn + 1, values, mantissas, logs)
            gap = logs[drawn % _BLOCK] * scale
            drawn += 1
            if gap >= steps - 1 - t:
                break
            t += 1 + int(gap)
            if count == times.size:
                times = np.concatenate((times, np.empty_like(times)))
                sources = np.concatenate((sources, np.empty_like(sources)))
            times[count] = t
            sources[count] = i
            starts[t + 1] += 1
            count += 1
    for t in range(steps):
        starts[t + 1] += starts[t]
    if inputs.size < count:
        inputs = np.empty(times.size, np.int32)
    for k in range(count):
        t = times[k]
        inputs[starts[t]] = sources[k]
        starts[t] += 1
    for t in range(steps, 0, -1):
        starts[t] = starts[t - 1]
    starts[0] = 0
    return times, sources, inputs


@compiled()
def _draw(pixels, shown, key, image, starts, buffers):
    """Draw the spikes of ``image`` and return the buffers, the last of which holds the inputs by step."""
    return _poisson(
        pixels,
        shown.probabilities,
        shown.scales,
        shown.active_steps,
        _stream_key(key[0], key[1], image),
        starts,
        buffers[0],
        buffers[1],
        buffers[2],
    )


@compiled()
def _column_(weights, neuron, rate, weight_max, active, pre_trace, last_input_spike, step, decay):
    """Change the weights of ``neuron``, which spikes now, by the traces of the recently active inputs."""
    for i in active:
        elapsed = step - last_input_spike[i]
        if elapsed < decay.size:
            changed = weights[i, neuron] + rate * (pre_trace[i] * decay[elapsed])
            weights[i, neuron] = min(max(changed, 0.0), weight_max)


@compiled()
def _active_inputs(state, starts, inputs, horizon):
    """Return the inputs, ascending, that spike in these events or spiked at most ``horizon`` steps before."""
    is_active = (state.step[0] - state.last_input_spike < horizon) & (state.pre_trace != 0)
    for k in range(starts[0], starts[-1]):
        is_active[inputs[k]] = True
    return np.flatnonzero(is_active)


@compiled()
def _clear_negligible_(conductance):
    for j in range(conductance.size):
        if conductance[j] < _NEGLIGIBLE:
            conductance[j] = 0.0


@compiled()
def _run_(state, c, delays, starts, inputs, plasticity, pre_decay, post_decay, spikes, counts):
    """Run the steps of ``starts``, without learning if ``plasticity`` is None, unrecorded if ``spikes`` is.

    Returns the number of excitatory and inhibitory spikes recorded.
    """
    v, g, h = state.exc_potential, state.exc_conductance, state.inh_conductance
    vt, firing = state.adaptive_threshold, state.firing_threshold
    u, d = state.inh_potential, state.inh_drive
    neurons = v.size
    exc_rate, inh_rate = c.dt_ms / c.exc_tau_ms, c.dt_ms / c.inh_tau_ms
    g_rate, h_rate = c.dt_ms / c.exc_conductance_tau_ms, c.dt_ms / c.inh_conductance_tau_ms
    vt_rate = c.dt_ms / c.threshold_tau_ms
    to_inh, to_exc = state.to_inh_queue, state.to_exc_queue
    waiting_inh = np.zeros(to_inh.shape[0], np.int64)
    waiting_exc = np.zeros(to_exc.shape[0], np.int64)
    for row in range(to_inh.shape[0]):
        waiting_inh[row] = to_inh[row].sum()
    for row in range(to_exc.shape[0]):
        waiting_exc[row] = to_exc[row].sum()
    for conductance in (g, h, d):
        _clear_negligible_(conductance)
    post = np.zeros(neurons)  # post traces, decayed to step post_step
    post_step = state.step[0]
    tracing = False  # whether any post trace is left
    active = np.empty(0, np.int64)
    if plasticity is not None:
        active = _active_inputs(state, starts, inputs, pre_decay.size)
        for j in range(neurons):
            elapsed = post_step - state.exc_last_spike[j]
            if elapsed < post_decay.size:
                post[j] = state.post_trace[j] * post_decay[elapsed]
                tracing = True
    exc_ready = state.exc_last_spike + c.exc_refractory_steps
    inh_ready = state.inh_last_spike + c.inh_refractory_steps
    last_fired = state.exc_last_spike.max()
    fired = np.empty(neurons, np.int64)
    exc_count = inh_count = 0
    for t in range(starts.size - 1):
        step = state.step[0]
        for j in range(neurons):
            x = v[j]
            v[j] = x + exc_rate * (
                g[j] * (c.exc_reversal_mv - x) + h[j] * (c.inh_reversal_mv - x) + (c.exc_rest_mv - x)
            )
        for j in range(neurons):
            g[j] -= g_rate * g[j]
        for j in range(neurons):
            h[j] -= h_rate * h[j]
        if plasticity is not None or c.continuous_threshold:
            for j in range(neurons):
                vt[j] += vt_rate * (c.threshold_rest_mv - vt[j])
        if c.continuous_threshold:
            for j in range(neurons):
                firing[j] = vt[j]
        above = 0
        for j in range(neurons):
            above += v[j] > firing[j]
        inh_above = 0
        for j in range(neurons):
            u[j] += inh_rate * (d[j] * (c.exc_reversal_mv - u[j]) + (c.inh_rest_mv - u[j]))
            inh_above += u[j] > c.inh_threshold_mv
        for j in range(neurons):
            d[j] -= g_rate * d[j]
        exc_fired = 0
        if above > 0:
            for j in range(delays.exc_to_inh.size):  # without the padding
                if v[j] > firing[j] and step >= exc_ready[j]:
                    fired[exc_fired] = j
                    exc_fired += 1

        if starts[t + 1] > starts[t]:
            if plasticity is not None and tracing:
                elapsed = step - post_step
                if step - last_fired >= post_decay.size:
                    tracing = False
                    post[:] = 0.0
                elif elapsed > 0:
                    for j in range(neurons):
                        post[j] *= post_decay[elapsed]
                post_step = step
            for k in range(starts[t], starts[t + 1]):
                i = inputs[k]
                row = state.weights[i]
                if plasticity is not None:
                    elapsed = step - state.last_input_spike[i]
                    if c.tau_prune_ms > 0:
                        exponent = -((elapsed * c.dt_ms / c.tau_prune_ms) ** 2)
                        kept = _exponential(exponent)
                        for j in range(neurons):
                            share = plasticity.decay[j]
                            row[j] *= kept if share == 1.0 else _exponential(share * exponent)
                    left = pre_decay[elapsed] if elapsed < pre_decay.size else 0.0
                    state.pre_trace[i] = state.pre_trace[i] * left + c.pre_trace_step
                    state.last_input_spike[i] = step
                for j in range(neurons):
                    g[j] += row[j]
                if plasticity is not None and tracing:
                    for j in range(neurons):
                        changed = row[j] + plasticity.pre[j] * post[j]
                        row[j] = min(max(changed, 0.0), c.weight_max)

        if exc_fired > 0:
            if plasticity is not None:
                elapsed = step - post_step
                if tracing and elapsed > 0:
                    left = post_decay[elapsed] if elapsed < post_decay.size else 0.0
                    for j in range(neurons):
                        post[j] *= left
                post_step = step
                last_fired = step
                tracing = True
            for n in range(exc_fired):
                j = fired[n]
                if plasticity is not None:
                    post[j] += c.post_trace_step
                    state.post_trace[j] = post[j]
                    _column_(
                        state.weights,
                        j,
                        plasticity.post[j],
                        c.weight_max,
                        active,
                        state.pre_trace,
                        state.last_input_spike,
                        step,
                        pre_decay,
                    )
                row_ahead = (step + delays.exc_to_inh[j]) % to_inh.shape[0]
                to_inh[row_ahead, j] += 1
                waiting_inh[row_ahead] += 1
                if spikes is not None:
                    spikes.exc[exc_count, 0] = step
                    spikes.exc[exc_count, 1] = j
                counts[j] += 1
                exc_count += 1
                v[j] = c.exc_reset_mv
                vt[j] += c.threshold_step_mv
                state.exc_last_spike[j] = step
                exc_ready[j] = step + c.exc_refractory_steps

        if inh_above > 0:
            for k in range(delays.exc_to_inh.size):
                if u[k] > c.inh_threshold_mv and step >= inh_ready[k]:
                    for j in range(delays.exc_to_inh.size):
                        if j != k:
                            row_ahead = (step + delays.inh_to_exc[k, j]) % to_exc.shape[0]
                            to_exc[row_ahead, j] += 1
                            waiting_exc[row_ahead] += 1
                    if spikes is not None:
                        spikes.inh[inh_count, 0] = step
                        spikes.inh[inh_count, 1] = k
                    inh_count += 1
                    u[k] = c.inh_reset_mv
                    state.inh_last_spike[k] = step
                    inh_ready[k] = step + c.inh_refractory_steps

        arriving = step % to_inh.shape[0]
        if waiting_inh[arriving] > 0:
            waiting_inh[arriving] = 0
            for j in range(neurons):
                while to_inh[arriving, j] > 0:
                    d[j] += c.exc_to_inh_weight
                    to_inh[arriving, j] -= 1
        arriving = step % to_exc.shape[0]
        if waiting_exc[arriving] > 0:
            waiting_exc[arriving] = 0
            for j in range(neurons):
                while to_exc[arriving, j] > 0:
                    h[j] += c.inh_to_exc_weight
                    to_exc[arriving, j] -= 1
        state.step[0] += 1
    return exc_count, inh_count


@compiled()
def _group(state, c, delays, members):
    """Copy the neurons ``members`` at rest; inputs, their traces and the clock stay the state's own."""
    size = members.size
    weights = np.empty((state.weights.shape[0], size))
    for i in range(weights.shape[0]):
        for j in range(size):
            weights[i, j] = state.weights[i, members[j]]
    part = Delays(np.empty(size, np.int64), np.empty((size, size), np.int64))
    thresholds = np.empty(size)
    for j in range(size):
        part.exc_to_inh[j] = delays.exc_to_inh[members[j]]
        thresholds[j] = c.threshold_rest_mv + state.homeostatic_threshold[members[j]]
        for k in range(size):
            part.inh_to_exc[j, k] = delays.inh_to_exc[members[j], members[k]]
    return part, _Arrays(
        weights,
        np.full(size, c.exc_rest_mv),
        np.zeros(size),
        np.zeros(size),
        np.full(size, c.threshold_rest_mv),
        thresholds,
        np.zeros(size),
        np.full(size, LONG_AGO),
        np.zeros(size),
        np.full(size, c.inh_rest_mv),
        np.zeros(size),
        np.full(size, LONG_AGO),
        state.pre_trace,
        state.last_input_spike,
        np.zeros((part.exc_to_inh.max() + 1, size), np.int64),
        np.zeros((part.inh_to_exc.max() + 1, size), np.int64),
        state.step,
    )


@compiled()
def _keep_(state, c, forcing, group, members, rates, counts):
    """Scale the weights of the members that fired, write back those that changed; move the homeostatic thresholds."""
    total = max(1, counts.sum())
    for j in range(members.size):
        member = members[j]
        share = counts[j] / total
        state.homeostatic_threshold[member] += rates[j] * (forcing.homeostasis_mv * (share - 1.0 / members.size))
        if counts[j] == 0 and c.tau_prune_ms == 0:
            continue
        square = 0.0
        for i in range(group.weights.shape[0]):
            if state.step[0] - state.last_input_spike[i] <= forcing.in_use_steps:
                square += group.weights[i, j] ** 2
        scale = (
            rates[j] * (forcing.weight_norm / math.sqrt(square)) + (1.0 - rates[j])
            if square > 0 and counts[j] > 0
            else 1.0
        )
        for i in range(group.weights.shape[0]):
            weight = group.weights[i, j]
            if state.step[0] - state.last_input_spike[i] <= forcing.in_use_steps:
                weight = min(weight * scale, c.weight_max)
            state.weights[i, member] = weight


@compiled()
def _train_forced_(
    state, c, delays, shown, forcing, images, targets, classes, rates, key, first, pre_decay, post_decay, counts
):
    starts = np.zeros(shown.active_steps + 1, np.int64)
    buffers = _buffers()
    for n in range(len(images)):
        members = np.flatnonzero(classes == targets[n])
        part, group = _group(state, c, delays, members)
        shares = rates[members]
        plasticity = Plasticity(np.zeros(members.size), shares, shares)
        fired = np.zeros(members.size, np.int64)
        buffers = _draw(images[n], shown, key, first + n, starts, buffers)
        state.pre_trace[:] = 0.0
        _run_(group, c, part, starts, buffers[2], plasticity, pre_decay, post_decay, None, fired)
        _keep_(state, c, forcing, group, members, shares, fired)
        state.step[0] += shown.silent_steps
        for j in range(members.size):
            counts[n, members[j]] = fired[j]


@compiled()
def _train_(state, c, delays, shown, rule, images, targets, classes, rates, key, first, pre_decay, post_decay, counts):
    starts = np.zeros(shown.active_steps + 1, np.int64)
    silence = np.zeros(shown.silent_steps + 1, np.int64)
    buffers = _buffers()
    plasticity = Plasticity(rates, np.zeros(rates.size), rates)
    for n in range(len(images)):
        for j in range(classes.size):
            taught = rule.target_post_rate if classes[j] == targets[n] else rule.other_post_rate
            plasticity.post[j] = rates[j] * taught
        buffers = _draw(images[n], shown, key, first + n, starts, buffers)
        if not c.continuous_threshold:
            state.firing_threshold[:] = state.adaptive_threshold
        _run_(state, c, delays, starts, buffers[2], plasticity, pre_decay, post_decay, None, counts[n])
        _run_(state, c, delays, silence, buffers[2], plasticity, pre_decay, post_decay, None, counts[n])


@compiled(parallel=True)
def _count(arrays, c, delays, shown, images, key, indices, unused, given, fired, inhibited):
    for n in prange(len(images)):
        given[n], inhibited[n] = _test(arrays, c, delays, shown, images[n], key, indices[n], unused, fired[n])


@compiled()
def _test(arrays, c, delays, shown, image, key, index, unused, fired):
    """Count the excitatory spikes that an image causes; return the number of input and of inhibitory ones."""
    starts = np.zeros(shown.active_steps + 1, np.int64)
    buffers = _draw(image, shown, key, index, starts, _buffers())
    _, inhibitory = _run_(_copy(arrays), c, delays, starts, buffers[2], None, unused, unused, None, fired)
    return starts[-1], inhibitory


@compiled()
def _buffers():
    return np.empty(8192, np.int32), np.empty(8192, np.int32), np.empty(8192, np.int32)


@compiled()
def _copy(a):
    """Copy what testing changes; weights and traces it only reads."""
    return _Arrays(
        a.weights,
        a.exc_potential.copy(),
        a.exc_conductance.copy(),
        a.inh_conductance.copy(),
        a.adaptive_threshold.copy(),
        a.firing_threshold.copy(),
        a.homeostatic_threshold,
        a.exc_last_spike.copy(),
        a.post_trace,
        a.inh_potential.copy(),
        a.inh_drive.copy(),
        a.inh_last_spike.copy(),
        a.pre_trace,
        a.last_input_spike,
        a.to_inh_queue.copy(),
        a.to_exc_queue.copy(),
        a.step.copy(),
    )


def _padded(state: State, constants: Constants) -> _Arrays:
    """Copy ``state`` with neurons that cannot fire added up to a whole number of vectors."""
    neurons = len(state.exc_potential)
    extra = -neurons % _LANES
    fill = {
        "exc_potential": constants.exc_rest_mv,
        "inh_potential": constants.inh_rest_mv,
        "firing_threshold": np.inf,
        "adaptive_threshold": constants.threshold_rest_mv,
    }
    arrays = {}
    for name, array in state.arrays().items():
        if name in ("pre_trace", "last_input_spike", "step"):
            arrays[name] = array.copy()
        else:
            width = [(0, 0)] * (array.ndim - 1) + [(0, extra)]
            arrays[name] = np.pad(array, width, constant_values=fill.get(name, 0))
    return _Arrays(**arrays)


def _copy_back_(state: State, arrays: _Arrays) -> None:
    for name, array in state.arrays().items():
        array[...] = getattr(arrays, name)[..., : array.shape[-1]]


def _decay(tau_ms: float, dt_ms: float) -> np.ndarray:
    """Return what is left of a trace after 0, 1, ... steps, until it is forgotten."""
    return exponential(-np.arange(int(_FORGOTTEN * tau_ms / dt_ms) + 1) * dt_ms / tau_ms)


def _pad_rates(rates: np.ndarray, length: int) -> np.ndarray:
    return np.pad(np.asarray(rates, np.float64), (0, length - len(rates)))


def run_(state: State, constants: Constants, delays: Delays, events: Events, plasticity: Plasticity) -> Spikes:
    """See `spikelore.kernels.lif_network.run_`."""
    arrays = _padded(state, constants)
    length = len(arrays.exc_potential)
    steps = len(events.starts) - 1
    neurons = len(state.exc_potential)
    exc_most = neurons * (steps // max(1, constants.exc_refractory_steps) + 1)
    inh_most = neurons * (steps // max(1, constants.inh_refractory_steps) + 1)
    spikes = Spikes(np.empty((exc_most, 2), np.int64), np.empty((inh_most, 2), np.int64))
    exc_count, inh_count = _run_(
        arrays,
        constants,
        delays,
        np.asarray(events.starts, np.int64),
        np.asarray(events.inputs, np.int32),
        Plasticity(*(_pad_rates(rates, length) for rates in plasticity)),
        _decay(constants.pre_trace_tau_ms, constants.dt_ms),
        _decay(constants.post_trace_tau_ms, constants.dt_ms),
        spikes,
        np.zeros(length, np.int64),
    )
    _copy_back_(state, arrays)
    return Spikes(spikes.exc[:exc_count].copy(), spikes.inh[:inh_count].copy())


def train_(state, constants, delays, presentation, rule, images, targets, neuron_class, rates, seed, stream, first):
    """See `spikelore.kernels.lif_network.train_`."""
    arrays = _padded(state, constants)
    counts = np.zeros((len(images), len(arrays.exc_potential)), np.int64)
    _train_(
        arrays,
        constants,
        delays,
        presentation,
        rule,
        np.ascontiguousarray(images).reshape(len(images), -1),
        targets,
        neuron_class,
        _pad_rates(rates, len(arrays.exc_potential)),
        (np.uint64(seed), np.uint64(stream)),
        first,
        _decay(constants.pre_trace_tau_ms, constants.dt_ms),
        _decay(constants.post_trace_tau_ms, constants.dt_ms),
        counts,
    )
    _copy_back_(state, arrays)
    return counts[:, : len(neuron_class)].copy()


def train_forced_(
    state, constants, delays, presentation, forcing, images, targets, neuron_class, rates, seed, stream, first
):
    """See `spikelore.kernels.lif_network.train_forced_`."""
    arrays = _Arrays(**state.arrays())
    counts = np.zeros((len(images), len(neuron_class)), np.int64)
    _train_forced_(
        arrays,
        constants,
        delays,
        presentation,
        forcing,
        np.ascontiguousarray(images).reshape(len(images), -1),
        targets,
        neuron_class,
        rates,
        (np.uint64(seed), np.uint64(stream)),
        first,
        _decay(constants.pre_trace_tau_ms, constants.dt_ms),
        _decay(constants.post_trace_tau_ms, constants.dt_ms),
        counts,
    )
    return counts


def count_spikes(state, constants, delays, presentation, images, seed, stream, indices):
    """See `spikelore.kernels.lif_network.count_spikes`."""
    arrays = _padded(state, constants)
    many, neurons = len(images), len(state.exc_potential)
    counts = Counts(*(np.zeros(shape, np.int64) for shape in (many, (many, len(arrays.exc_potential)), many)))
    _count(
        arrays,
        constants,
        delays,
        presentation,
        np.ascontiguousarray(images).reshape(many, -1),
        (np.uint64(seed), np.uint64(stream)),
        np.asarray(indices, np.int64),
        np.ones(1),
        *counts,
    )
    return counts._replace(exc=counts.exc[:, :neurons].copy())
