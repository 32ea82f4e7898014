"""The scan on the processor: all steps of a block of neurons at once, blocks spread over the cores.

Going back, potentials are computed again instead of kept.
"""

from collections import namedtuple

import numpy as np
from numpy.typing import NDArray

from spikelore.kernels import memory
from spikelore.kernels.compiled import compiled, over_cores
from spikelore.kernels.lif_scan.model import Leaky

_BLOCK = 512  # neurons whose potentials at all steps stay in a near cache

Constants = namedtuple("Constants", ["beta", "threshold", "to_zero", "atan", "identity", "slope", "scale"])
"""What a compiled loop is told; see `constants`."""


def constants(leaky: Leaky | None) -> Constants:
    """Return the constants of ``leaky`` in float32; None stands for an input that is spikes already."""
    if leaky is None:
        zero, half = np.float32(0), np.float32(0.5)
        return Constants(zero, half, True, False, True, zero, zero)
    atan = leaky.surrogate == "atan"
    slope = np.float32(np.pi / 2 * leaky.slope if atan else leaky.slope)
    scale = np.float32(leaky.slope / 2 if atan else 1)
    beta, threshold = np.float32(leaky.beta), np.float32(leaky.threshold)
    return Constants(beta, threshold, leaky.reset == "zero", atan, False, slope, scale)


@compiled()
def clear_(target):
    """Set all to 0. This and the two below are loops, as NumPy's own forms take seconds to compile."""
    for n in range(len(target)):
        target[n] = 0


@compiled()
def copy_(source, target):
    """Write ``source`` to ``target``."""
    for n in range(len(target)):
        target[n] = source[n]


@compiled()
def add_(source, target):
    """Add ``source`` to ``target``."""
    for n in range(len(target)):
        target[n] += source[n]


@compiled(error_model="numpy")
def step_(before, currents, neuron, after):
    """Write the potentials one step after ``before``, an array of their own: one shared would not be vectorised."""
    beta, threshold, zero = neuron.beta, neuron.threshold, np.float32(0)
    if neuron.to_zero:
        for n in range(len(before)):
            u = before[n]
            after[n] = beta * (zero if u > threshold else u) + currents[n]
    else:
        for n in range(len(before)):
            u = before[n]
            after[n] = (beta * u + currents[n]) - (threshold if u > threshold else zero)


@compiled(error_model="numpy")
def slopes_(potentials, neuron, slopes):
    """Write the surrogate's slope at each potential."""
    one, threshold, slope, scale = np.float32(1), neuron.threshold, neuron.slope, neuron.scale
    if neuron.identity:
        for n in range(len(slopes)):
            slopes[n] = one
    elif neuron.atan:
        for n in range(len(potentials)):
            x = slope * (potentials[n] - threshold)
            slopes[n] = scale / (one + x * x)
    else:
        for n in range(len(potentials)):
            x = slope * abs(potentials[n] - threshold) + one
            slopes[n] = scale / (x * x)


@compiled(error_model="numpy")
def carry_back_(received, potentials, slopes, neuron, gradients):
    """Turn the potentials' gradients of the step after into those of this step."""
    beta, threshold, zero = neuron.beta, neuron.threshold, np.float32(0)
    if neuron.to_zero:
        for n in range(len(gradients)):
            kept = zero if potentials[n] > threshold else beta * gradients[n]
            gradients[n] = received[n] * slopes[n] + kept
    else:
        for n in range(len(gradients)):
            gradients[n] = received[n] * slopes[n] + beta * gradients[n]


@over_cores
@compiled(error_model="numpy")
def _forward(begin, end, currents, neuron, spikes, potentials):
    steps, neurons = spikes.shape
    one, zero = np.float32(1), np.float32(0)
    constant, kept = len(currents) == 1, len(potentials) > 0
    for block in range(begin, end):
        part = slice(block * _BLOCK, min(neurons, (block + 1) * _BLOCK))
        states = np.zeros((2, part.stop - part.start), np.float32)
        for t in range(steps):
            state = states[t & 1]
            step_(states[1 - (t & 1)], currents[0 if constant else t, part], neuron, state)
            out = spikes[t, part]
            for n in range(len(state)):
                out[n] = one if state[n] > neuron.threshold else zero
            if kept:
                copy_(state, potentials[t, part])


@over_cores
@compiled(error_model="numpy")
def _backward(begin, end, spike_gradients, potential_gradients, currents, neuron, gradients):
    steps, neurons = spike_gradients.shape
    constant, direct = len(currents) == 1, len(potential_gradients) > 0
    summed = constant and steps > 1
    for block in range(begin, end):
        part = slice(block * _BLOCK, min(neurons, (block + 1) * _BLOCK))
        size = part.stop - part.start
        potentials = np.zeros((steps + 1, size), np.float32)
        slopes = np.empty(size, np.float32)
        after = np.zeros(size, np.float32)
        for t in range(steps):
            step_(potentials[t], currents[0 if constant else t, part], neuron, potentials[t + 1])
        if summed:
            clear_(gradients[0, part])
        for t in range(steps - 1, -1, -1):
            slopes_(potentials[t + 1], neuron, slopes)
            carry_back_(spike_gradients[t, part], potentials[t + 1], slopes, neuron, after)
            if direct:
                add_(potential_gradients[t, part], after)
            if summed:
                add_(after, gradients[0, part])
            else:
                copy_(after, gradients[t, part])


def _blocks(currents: NDArray[np.float32]) -> int:
    return -(-currents.shape[1] // _BLOCK)


_NONE = np.empty((0, 0), np.float32)


def forward(
    currents: NDArray[np.float32], leaky: Leaky, steps: int, with_potentials: bool
) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    """Return spikes and membrane potentials, each (T,M); see the package's `forward`."""
    spikes = memory.empty((steps, currents.shape[1]))
    potentials = memory.empty(spikes.shape) if with_potentials else _NONE
    _forward(_blocks(currents), currents, constants(leaky), spikes, potentials)
    return spikes, potentials if with_potentials else None


def backward(
    spike_gradients: NDArray[np.float32],
    potential_gradients: NDArray[np.float32] | None,
    currents: NDArray[np.float32],
    leaky: Leaky,
) -> NDArray[np.float32]:
    """Return the currents' gradients, of their shape; see the package's `backward`."""
    direct = _NONE if potential_gradients is None else potential_gradients
    gradients = memory.empty(currents.shape)
    _backward(_blocks(currents), spike_gradients, direct, currents, constants(leaky), gradients)
    return gradients
