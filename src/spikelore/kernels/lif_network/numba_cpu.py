"""The LIF network on the processor: equal to `reference` spike for spike.

What makes it fast: input spikes come as events, so nothing as wide as the image is touched in a step without
one; neurons are moved in vectors (`vector`), padded to whole ones by neurons that cannot fire; the STDP traces
belong to inputs and neurons (input synapses have no delay) and decay when they are read; a neuron's spike changes
only the weights of inputs whose trace is not yet below exp(-40) of one spike's, about 4e-18 of it, the one thing that
may differ from the reference; and it changes them when the input spikes next, or at the end: nobody reads them before,
and then its row is in the cache.

An inhibitory spike reaches all neurons, so in large networks its delivery is most of the work. Spikes on their way are
small integers, and those of one step are delivered together, some neurons at a time, whose part of the queue stays in
the nearest cache. Where all delays are equal, a spike is one number: all neurons get it but its own.

Loops take the place of NumPy's functions and of slices throughout: they compile in a fraction of the time.
"""

import math
from collections import namedtuple
from dataclasses import fields

import numpy as np

from spikelore.errors import InputError
from spikelore.kernels import memory
from spikelore.kernels.compiled import compiled, over_cores
from spikelore.kernels.exponential import exponential
from spikelore.kernels.lif_network.model import (
    LONG_AGO,
    Constants,
    Counts,
    Delays,
    Events,
    Plasticity,
    Rule,
    Spikes,
    State,
)
from spikelore.kernels.lif_network.spike_trains import GOLDEN_GAMMA, LOG_2, LOG_SERIES, SQRT_HALF
from spikelore.kernels.lif_network.vector import LANES, move_neurons
from spikelore.kernels.vector import add_run, line_of_zeros

_Arrays = namedtuple("_Arrays", [field.name for field in fields(State)])  # Numba takes no dataclass
_exponential = compiled()(exponential)
_BLOCK = 256  # logarithms drawn at once
_C = LOG_SERIES
_FORGOTTEN = 40.0  # time constants after which a trace counts as zero
_DELIVERED = 256  # neurons whose part of the queue stays in the nearest cache
_NEGLIGIBLE = 1e-100  # conductances below it cannot change a potential; cleared before they become denormal


@compiled()
def _clear_(array):
    for k in range(array.size):
        array[k] = 0.0


@compiled()
def _longer(array, needed):
    """Return a copy with room for ``needed`` more, at least twice as long."""
    longer = np.empty(2 * array.size + needed, array.dtype)
    for k in range(array.size):
        longer[k] = array[k]
    return longer


@compiled()
def _mix(value):
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


@compiled()
def _stream_key(seed, stream, image):
    gamma = np.uint64(GOLDEN_GAMMA)
    return _mix(_mix(_mix(np.uint64(seed) + gamma) + np.uint64(stream) + gamma) + np.uint64(image) + gamma)


@compiled(error_model="numpy")
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
def _draw_inputs(pixels, shown, key, log_buffers, first, drawn, count, times, sources, starts):
    """Draw the spikes of inputs, from the ``first`` on, while there is room for all that one of them may have.

    Returns the first that are left, and how many numbers have been drawn and spikes found.
    """
    values, mantissas, logs = log_buffers
    steps = shown.active_steps
    for i in range(first, pixels.size):
        level = pixels[i]
        if shown.probabilities[level] == 0.0:
            continue
        if times.size < count + steps:
            return i, drawn, count
        scale = shown.scales[level]
        t = -1
        while True:
            if drawn % _BLOCK == 0:
                _logs_(key, drawn + 1, values, mantissas, logs)
            gap = logs[drawn % _BLOCK] * scale
            drawn += 1
            if gap >= steps - 1 - t:
                break
            t += 1 + int(gap)
            times[count] = t
            sources[count] = i
            starts[t + 1] += 1
            count += 1
    return pixels.size, drawn, count


@compiled()
def _draw(pixels, shown, keys, image, starts, buffers):
    """Draw the spikes of ``image`` as `spike_trains.poisson_spikes` does.

    ``starts`` receives where each step begins in the last of the buffers, which are returned: they may be others.
    """
    times, sources, inputs = buffers
    steps, key = shown.active_steps, _stream_key(keys[0], keys[1], image)
    log_buffers = np.empty(_BLOCK), np.empty(_BLOCK), np.empty(_BLOCK)
    for t in range(steps + 1):
        starts[t] = 0
    first = drawn = count = np.int64(0)
    while True:
        first, drawn, count = _draw_inputs(pixels, shown, key, log_buffers, first, drawn, count, times, sources, starts)
        if first == pixels.size:
            break
        times, sources = _longer(times, steps), _longer(sources, steps)
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
def _catch_up_(weights, i, fired, when, done, count, rates, weight_max, pre_trace, last_spike, decay):
    """Change an input's weights by its trace at the output spikes ``done`` .. ``count - 1``, and return ``count``."""
    for n in range(done, count):
        elapsed = when[n] - last_spike
        if elapsed < decay.size:
            j = fired[n]
            changed = weights[i, j] + rates[j] * (pre_trace * decay[elapsed])
            weights[i, j] = min(max(changed, 0.0), weight_max)
    return count


@compiled()
def _active_inputs(pre_trace, last_input_spike, step, starts, inputs, horizon):
    """Return the inputs, ascending, that spike in these events or spiked at most ``horizon`` steps before."""
    size = pre_trace.size
    is_active = np.empty(size, np.bool_)
    count = 0
    for i in range(size):
        is_active[i] = step - last_input_spike[i] < horizon and pre_trace[i] != 0
        count += is_active[i]
    for k in range(starts[0], starts[-1]):
        count += not is_active[inputs[k]]
        is_active[inputs[k]] = True
    active = np.empty(count, np.int64)
    count = 0
    for i in range(size):
        if is_active[i]:
            active[count] = i
            count += 1
    return active


@compiled()
def _clear_negligible_(conductance):
    for j in range(conductance.size):
        if conductance[j] < _NEGLIGIBLE:
            conductance[j] = 0.0


@compiled()
def _any(queue):
    for row in range(queue.shape[0]):
        for j in range(queue.shape[1]):
            if queue[row, j] != 0:
                return True
    return False


@compiled()
def _send_(queue, rows, now, delays, senders, count):
    """Queue the spikes of the first ``count`` senders for every other neuron, from ``rows[now + delay]`` on."""
    neurons = delays.shape[1]
    for start in range(0, neurons, _DELIVERED):
        first, last = np.uint64(start), np.uint64(min(neurons, start + _DELIVERED))
        for n in range(count):
            each = delays[senders[n]]
            for j in range(first, last):
                queue[rows[now + each[j]] + j] += 1
    for n in range(count):
        k = np.uint64(senders[n])
        queue[rows[now + delays[k, k]] + k] -= 1


@compiled()
def _arrive_(queue, row, at_all, conductance, weight):
    """Add ``weight`` for each spike that arrives, one by one, those of ``arriving`` and ``at_all``; empty the row."""
    neurons = queue.shape[1]
    for start in range(0, neurons, _DELIVERED):
        first, last = np.uint64(start), np.uint64(min(neurons, start + _DELIVERED))
        most = 0
        for j in range(first, last):
            most = max(most, queue[row, j])
        for done in range(-at_all, most):
            for j in range(first, last):
                conductance[j] += weight if queue[row, j] > done else 0.0
        for j in range(first, last):
            queue[row, j] = 0


@compiled()
def _run_(state, c, delays, starts, inputs, plasticity, pre_decay, post_decay, spikes, counts):
    """Run the steps of ``starts``: without learning if ``plasticity`` is empty, unrecorded if ``spikes`` are.

    Returns the number of excitatory and inhibitory spikes. All who call it give the same types: it is compiled once.
    """
    learns, recorded = plasticity.pre.size > 0, spikes.exc.size > 0
    v, g, h = state.exc_potential, state.exc_conductance, state.inh_conductance
    vt, firing = state.adaptive_threshold, state.firing_threshold
    u, d, weights = state.inh_potential, state.inh_drive, state.weights
    nobody = np.int64(0)  # a plain 0 is a type of its own for Numba, for which functions are compiled once more
    neurons, real = v.size, delays.exc_to_inh.size  # with and without the padding
    exc_rate, inh_rate = c.dt_ms / c.exc_tau_ms, c.dt_ms / c.inh_tau_ms
    g_rate, h_rate = c.dt_ms / c.exc_conductance_tau_ms, c.dt_ms / c.inh_conductance_tau_ms
    vt_rate = c.dt_ms / c.threshold_tau_ms
    to_inh, to_exc = state.to_inh_queue, state.to_exc_queue
    waiting = np.zeros(to_inh.shape[0], np.int64)  # spikes by row, for the inhibitory neurons
    for row in range(to_inh.shape[0]):
        for j in range(neurons):
            waiting[row] += to_inh[row, j]
    rows_exc = to_exc.shape[0]
    same_delay = delays.inh_to_exc.shape[0] == 1
    to_all = np.zeros(rows_exc, np.int64)  # spikes by row, for all excitatory neurons
    flat_exc = to_exc.ravel()
    rows = np.empty(2 * rows_exc, np.uint64)  # where each row begins, twice round the ring
    for row in range(rows.size):
        rows[row] = row % rows_exc * neurons
    inh_row, exc_row = state.step[0] % to_inh.shape[0], state.step[0] % rows_exc
    arrivals_end = state.step[0] + rows_exc if _any(to_exc) else state.step[0]
    _clear_negligible_(g)
    _clear_negligible_(h)
    _clear_negligible_(d)
    post = np.zeros(neurons)  # post traces, decayed to step post_step
    post_step = state.step[0]
    tracing = False  # whether any post trace is left
    horizon = pre_decay.size if learns else 0
    active = _active_inputs(state.pre_trace, state.last_input_spike, state.step[0], starts, inputs, horizon)
    room = real * ((starts.size - 1) // max(1, c.exc_refractory_steps) + 1) if learns else 0
    learned, learned_when = np.empty(room, np.int64), np.empty(room, np.int64)  # output spikes to learn from
    to_learn = nobody
    caught_up = np.zeros(state.pre_trace.size, np.int64)  # how many of them each input has learned from
    exc_ready, inh_ready = np.empty(neurons, np.int64), np.empty(neurons, np.int64)
    last_fired = LONG_AGO
    for j in range(neurons):
        exc_ready[j] = state.exc_last_spike[j] + c.exc_refractory_steps
        inh_ready[j] = state.inh_last_spike[j] + c.inh_refractory_steps
        last_fired = max(last_fired, state.exc_last_spike[j])
        elapsed = post_step - state.exc_last_spike[j]
        if learns and elapsed < post_decay.size:
            post[j] = state.post_trace[j] * post_decay[elapsed]
            tracing = True
    fired = np.empty(neurons, np.int64)
    moving = (
        exc_rate, g_rate, h_rate, c.exc_reversal_mv, c.inh_reversal_mv, c.exc_rest_mv, inh_rate, c.inh_rest_mv,
        c.inh_threshold_mv,
    )  # fmt: skip
    exc_count, inh_count = nobody, nobody
    for t in range(starts.size - 1):
        step = state.step[0]
        if learns or c.continuous_threshold:
            for j in range(neurons):
                vt[j] += vt_rate * (c.threshold_rest_mv - vt[j])
        if c.continuous_threshold:
            for j in range(neurons):
                firing[j] = vt[j]
        above = move_neurons(v, g, h, firing, u, d, moving)
        exc_fired = nobody
        if above & 1:
            for j in range(real):
                if v[j] > firing[j] and step >= exc_ready[j]:
                    fired[exc_fired] = j
                    exc_fired += 1

        if starts[t + 1] > starts[t]:
            if tracing:
                elapsed = step - post_step
                if step - last_fired >= post_decay.size:
                    tracing = False
                    _clear_(post)
                elif elapsed > 0:
                    for j in range(neurons):
                        post[j] *= post_decay[elapsed]
                post_step = step
            for k in range(starts[t], starts[t + 1]):
                i = inputs[k]
                if learns:
                    caught_up[i] = _catch_up_(
                        weights, i, learned, learned_when, caught_up[i], to_learn, plasticity.post, c.weight_max,
                        state.pre_trace[i], state.last_input_spike[i], pre_decay,
                    )  # fmt: skip
                    elapsed = step - state.last_input_spike[i]
                    if c.tau_prune_ms > 0:
                        exponent = -((elapsed * c.dt_ms / c.tau_prune_ms) ** 2)
                        kept = _exponential(exponent)
                        for j in range(neurons):
                            share = plasticity.decay[j]
                            weights[i, j] *= kept if share == 1.0 else _exponential(share * exponent)
                    left = pre_decay[elapsed] if elapsed < pre_decay.size else 0.0
                    state.pre_trace[i] = state.pre_trace[i] * left + c.pre_trace_step
                    state.last_input_spike[i] = step
                add_run(g, 0, weights, i * neurons, neurons)
                if tracing:
                    for j in range(neurons):
                        changed = weights[i, j] + plasticity.pre[j] * post[j]
                        weights[i, j] = min(max(changed, 0.0), c.weight_max)

        if exc_fired > 0:
            if learns:
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
                    post[j] += c.post_trace_step
                    state.post_trace[j] = post[j]
                    learned[to_learn], learned_when[to_learn] = j, step
                    to_learn += 1
            for n in range(exc_fired):
                j = fired[n]
                ahead = (inh_row + delays.exc_to_inh[j]) % to_inh.shape[0]
                to_inh[ahead, j] += 1
                waiting[ahead] += 1
                if recorded:
                    spikes.exc[exc_count, 0] = step
                    spikes.exc[exc_count, 1] = j
                counts[j] += 1
                exc_count += 1
                v[j] = c.exc_reset_mv
                vt[j] += c.threshold_step_mv
                state.exc_last_spike[j] = step
                exc_ready[j] = step + c.exc_refractory_steps

        if above & 2:
            inh_fired = nobody
            for k in range(real):
                if u[k] > c.inh_threshold_mv and step >= inh_ready[k]:
                    fired[inh_fired] = k
                    inh_fired += 1
                    if recorded:
                        spikes.inh[inh_count, 0] = step
                        spikes.inh[inh_count, 1] = k
                    inh_count += 1
                    u[k] = c.inh_reset_mv
                    state.inh_last_spike[k] = step
                    inh_ready[k] = step + c.inh_refractory_steps
            if inh_fired > 0:
                arrivals_end = step + rows_exc
                if same_delay:
                    ahead = (exc_row + delays.inh_to_exc[0, 0]) % rows_exc
                    to_all[ahead] += inh_fired
                    for n in range(inh_fired):
                        to_exc[ahead, fired[n]] -= 1
                else:
                    _send_(flat_exc, rows, np.uint64(exc_row), delays.inh_to_exc, fired, inh_fired)

        if waiting[inh_row] > 0:
            waiting[inh_row] = 0
            _arrive_(to_inh, inh_row, nobody, d, c.exc_to_inh_weight)
        if step < arrivals_end:
            _arrive_(to_exc, exc_row, to_all[exc_row], h, c.inh_to_exc_weight)
            to_all[exc_row] = 0
        inh_row = inh_row + 1 if inh_row + 1 < to_inh.shape[0] else 0
        exc_row = exc_row + 1 if exc_row + 1 < rows_exc else 0
        state.step[0] += 1
    for i in active:
        _catch_up_(
            weights, i, learned, learned_when, caught_up[i], to_learn, plasticity.post, c.weight_max,
            state.pre_trace[i], state.last_input_spike[i], pre_decay,
        )  # fmt: skip
    if same_delay:
        for row in range(rows_exc):
            for j in range(real):
                to_exc[row, j] += to_all[row]
    return exc_count, inh_count


@compiled()
def _group(state, c, delays, members):
    """Copy the neurons ``members`` at rest, padded; inputs, their traces and the clock stay the state's own."""
    count = members.size
    size = count + -count % LANES
    weights = np.zeros((state.weights.shape[0], size))
    for i in range(weights.shape[0]):
        for j in range(count):
            weights[i, j] = state.weights[i, members[j]]
    width = min(count, delays.inh_to_exc.shape[0])
    part = Delays(np.empty(count, delays.exc_to_inh.dtype), np.empty((width, width), delays.inh_to_exc.dtype))
    exc_rows = inh_rows = 1
    thresholds = np.full(size, np.inf)
    for j in range(count):
        part.exc_to_inh[j] = delays.exc_to_inh[members[j]]
        inh_rows = max(inh_rows, part.exc_to_inh[j] + 1)
        thresholds[j] = c.threshold_rest_mv + state.homeostatic_threshold[members[j]]
    for j in range(width):
        for k in range(width):
            same = delays.inh_to_exc.shape[0] == 1
            part.inh_to_exc[j, k] = delays.inh_to_exc[0 if same else members[j], 0 if same else members[k]]
            exc_rows = max(exc_rows, part.inh_to_exc[j, k] + 1)
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
        np.zeros((inh_rows, size), state.to_exc_queue.dtype),
        np.zeros((exc_rows, size), state.to_exc_queue.dtype),
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
def _members(classes, target):
    """Return the neurons of the class ``target``, ascending."""
    count = 0
    for j in range(classes.size):
        count += classes[j] == target
    members = np.empty(count, np.int64)
    count = 0
    for j in range(classes.size):
        if classes[j] == target:
            members[count] = j
            count += 1
    return members


@compiled()
def _train_forced_(
    state, c, delays, shown, forcing, images, targets, classes, rates, key, first, pre_decay, post_decay, counts
):
    starts = np.zeros(shown.active_steps + 1, np.int64)
    buffers, unrecorded = _buffers(), _no_spikes()
    for n in range(len(images)):
        members = _members(classes, targets[n])
        part, group = _group(state, c, delays, members)
        shares = np.zeros(group.exc_potential.size)
        for j in range(members.size):
            shares[j] = rates[members[j]]
        plasticity = Plasticity(np.zeros(shares.size), shares, shares)
        fired = np.zeros(members.size, np.int64)
        buffers = _draw(images[n], shown, key, first + n, starts, buffers)
        _clear_(state.pre_trace)
        _run_(group, c, part, starts, buffers[2], plasticity, pre_decay, post_decay, unrecorded, fired)
        _keep_(state, c, forcing, group, members, shares, fired)
        state.step[0] += shown.silent_steps
        for j in range(members.size):
            counts[n, members[j]] = fired[j]


@compiled()
def _show(
    begin, end, state, c, delays, shown, images, key, indices, rule, targets, classes, rates, pre_decay, post_decay,
    given, fired, inhibited,
):  # fmt: skip
    """Show images ``begin`` .. ``end - 1``: learn them from ``state`` on; without ``rates`` show each to a copy of it.

    One function for both, because what it is made of takes long to compile.
    """
    learns = rates.size > 0
    starts, silence = np.empty(shown.active_steps + 1, np.int64), np.zeros(shown.silent_steps + 1, np.int64)
    buffers, unrecorded = _buffers(), _no_spikes()
    plasticity = Plasticity(rates, np.zeros(rates.size), rates)
    for n in range(begin, end):
        buffers = _draw(images[n], shown, key, indices[n], starts, buffers)
        given[n] = starts[shown.active_steps]
        here = state
        if not learns:  # weights and traces are only read
            here = _Arrays(
                state.weights, _twin(state.exc_potential), _twin(state.exc_conductance),
                _twin(state.inh_conductance), _twin(state.adaptive_threshold), _twin(state.firing_threshold),
                state.homeostatic_threshold, _twin(state.exc_last_spike), state.post_trace,
                _twin(state.inh_potential), _twin(state.inh_drive), _twin(state.inh_last_spike),
                state.pre_trace, state.last_input_spike, _twins(state.to_inh_queue), _twins(state.to_exc_queue),
                _twin(state.step),
            )  # fmt: skip
        else:
            for j in range(classes.size):
                taught = rule.target_post_rate if classes[j] == targets[n] else rule.other_post_rate
                plasticity.post[j] = rates[j] * taught
            if not c.continuous_threshold:
                for j in range(rates.size):
                    here.firing_threshold[j] = here.adaptive_threshold[j]
        _, inhibited[n] = _run_(
            here, c, delays, starts, buffers[2], plasticity, pre_decay, post_decay, unrecorded, fired[n]
        )
        if learns:
            _run_(here, c, delays, silence, buffers[2], plasticity, pre_decay, post_decay, unrecorded, fired[n])


_show_over_cores = over_cores(_show)


@compiled()
def _no_spikes():
    return Spikes(np.empty((0, 2), np.int64), np.empty((0, 2), np.int64))


@compiled()
def _buffers():
    return np.empty(8192, np.int32), np.empty(8192, np.int32), np.empty(8192, np.int32)


@compiled()
def _twin(array):
    """Copy an array of eight bytes each to where a cache line begins."""
    twin = line_of_zeros(2 * array.size).view(array.dtype)
    for j in range(array.size):
        twin[j] = array[j]
    return twin


@compiled()
def _twins(queue):
    twin = np.empty(queue.shape, queue.dtype)
    for row in range(queue.shape[0]):
        for j in range(queue.shape[1]):
            twin[row, j] = queue[row, j]
    return twin


def _padded(state: State, constants: Constants) -> _Arrays:
    """Copy ``state`` with neurons that cannot fire added up to a whole number of vectors."""
    neurons = len(state.exc_potential)
    extra = -neurons % LANES
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
            kind = _queued(neurons) if name in ("to_inh_queue", "to_exc_queue") else array.dtype
            arrays[name] = memory.empty((*array.shape[:-1], neurons + extra), kind)
            arrays[name][..., :neurons] = array
            arrays[name][..., neurons:] = fill.get(name, 0)
    return _Arrays(**arrays)


def _queued(neurons: int) -> type:
    """Return the type of numbers of spikes on their way: at most one of each neuron arrives at a place in a step."""
    return np.int16 if neurons < 2**15 else np.int32


def _small(delays: Delays, state: State) -> Delays:
    """Return the delays as the kernel takes them: in few bytes, and (1,1) those to excitatory neurons if all are equal.

    Raises:
        InputError: a delay is negative or longer than the queues of ``state``.
    """
    between = delays.inh_to_exc
    if between.strides == (0, 0) or between.min() == between.max():
        between = between[:1, :1]
    found = []
    for steps, queue in ((delays.exc_to_inh, state.to_inh_queue), (between, state.to_exc_queue)):
        least, most = int(steps.min()), int(steps.max())
        if least < 0 or most >= len(queue):
            raise InputError(
                f"delays are {least} to {most} steps, expected 0 to {len(queue) - 1}, what the state's queue holds; "
                "make the state with these delays"
            )
        found.append(np.ascontiguousarray(steps, np.uint16 if len(queue) < 2**16 else np.uint64))
    return Delays(*found)


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
        _small(delays, state),
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
    counts = _no_counts(len(images), len(arrays.exc_potential))
    _show(
        0,
        len(images),
        arrays,
        constants,
        _small(delays, state),
        presentation,
        np.ascontiguousarray(images).reshape(len(images), -1),
        (np.uint64(seed), np.uint64(stream)),
        first + np.arange(len(images)),
        rule,
        targets,
        neuron_class,
        _pad_rates(rates, len(arrays.exc_potential)),
        _decay(constants.pre_trace_tau_ms, constants.dt_ms),
        _decay(constants.post_trace_tau_ms, constants.dt_ms),
        *counts,
    )
    _copy_back_(state, arrays)
    return counts.exc[:, : len(neuron_class)].copy()


def train_forced_(
    state, constants, delays, presentation, forcing, images, targets, neuron_class, rates, seed, stream, first
):
    """See `spikelore.kernels.lif_network.train_forced_`."""
    queues = {name: np.empty((0, 0), _queued(len(neuron_class))) for name in ("to_inh_queue", "to_exc_queue")}
    arrays = _Arrays(**{**state.arrays(), **queues})
    counts = np.zeros((len(images), len(neuron_class)), np.int64)
    _train_forced_(
        arrays,
        constants,
        _small(delays, state),
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
    counts = _no_counts(many, len(arrays.exc_potential))
    _show_over_cores(
        many,
        arrays,
        constants,
        _small(delays, state),
        presentation,
        np.ascontiguousarray(images).reshape(many, -1),
        (np.uint64(seed), np.uint64(stream)),
        np.asarray(indices, np.int64),
        Rule(0.0, 0.0),
        np.zeros(0, np.int64),
        np.zeros(0, np.int64),
        np.zeros(0),
        np.zeros(0),
        np.zeros(0),
        *counts,
    )
    return counts._replace(exc=counts.exc[:, :neurons].copy())


def _no_counts(images: int, neurons: int) -> Counts:
    return Counts(*(np.zeros(shape, np.int64) for shape in (images, (images, neurons), images)))
