"""The scan on the processor: all steps of a block of neurons at once, blocks spread over the cores."""

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from spikelore.kernels.lif_scan.model import Leaky

_BLOCK = 1024  # neurons whose state stays in the nearest cache


@njit(cache=True, parallel=True, nogil=True, error_model="numpy")
def _forward(currents, beta, threshold, to_zero, spikes, potentials):
    steps, neurons = spikes.shape
    one, zero = np.float32(1), np.float32(0)
    constant = len(currents) == 1
    for block in prange((neurons + _BLOCK - 1) // _BLOCK):
        start = block * _BLOCK
        stop = min(neurons, start + _BLOCK)
        potential = np.zeros(_BLOCK, np.float32)
        for t in range(steps):
            current = currents[0 if constant else t]
            for n in range(start, stop):
                u = potential[n - start]
                if to_zero:
                    u = beta * (zero if u > threshold else u) + current[n]
                else:
                    u = (beta * u + current[n]) - (threshold if u > threshold else zero)
                potential[n - start] = u
                potentials[t, n] = u
                spikes[t, n] = one if u > threshold else zero


@njit(cache=True, parallel=True, nogil=True, error_model="numpy")
def _backward(spike_gradients, potential_gradients, potentials, beta, threshold, to_zero, atan, slope, gradients):
    steps, neurons = potentials.shape
    one, zero = np.float32(1), np.float32(0)
    half, bend = np.float32(slope / 2), np.float32(np.pi / 2 * slope)
    slope = np.float32(slope)
    constant = len(gradients) == 1
    direct = len(potential_gradients) > 0
    for block in prange((neurons + _BLOCK - 1) // _BLOCK):
        start = block * _BLOCK
        stop = min(neurons, start + _BLOCK)
        after = np.zeros(_BLOCK, np.float32)
        total = np.zeros(_BLOCK, np.float32)
        for t in range(steps - 1, -1, -1):
            for n in range(start, stop):
                distance = potentials[t, n] - threshold
                if atan:
                    x = bend * distance
                    surrogate = half / (one + x * x)
                else:
                    x = slope * abs(distance) + one
                    surrogate = one / (x * x)
                kept = beta * after[n - start]
                if to_zero and distance > zero:
                    kept = zero
                after[n - start] = spike_gradients[t, n] * surrogate + kept
            if direct:
                for n in range(start, stop):
                    after[n - start] += potential_gradients[t, n]
            if constant:
                for n in range(stop - start):
                    total[n] += after[n]
            else:
                for n in range(start, stop):
                    gradients[t, n] = after[n - start]
        if constant:
            for n in range(start, stop):
                gradients[0, n] = total[n - start]


def forward(currents: NDArray, leaky: Leaky, steps: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return spikes and membrane potentials, each (T,M); see the package's `forward`."""
    spikes = np.empty((steps, currents.shape[1]), np.float32)
    potentials = np.empty_like(spikes)
    beta, threshold = np.float32(leaky.beta), np.float32(leaky.threshold)
    _forward(currents, beta, threshold, leaky.reset == "zero", spikes, potentials)
    return spikes, potentials


def backward(
    spike_gradients: NDArray[np.float32],
    potential_gradients: NDArray[np.float32] | None,
    potentials: NDArray[np.float32],
    leaky: Leaky,
    constant: bool,
) -> NDArray[np.float32]:
    """Return the currents' gradients, (T,M) or (1,M); see the package's `backward`."""
    direct = np.empty((0, 0), np.float32) if potential_gradients is None else potential_gradients
    gradients = np.empty((1 if constant else len(potentials), potentials.shape[1]), np.float32)
    _backward(
        spike_gradients, direct, potentials, np.float32(leaky.beta), np.float32(leaky.threshold),
        leaky.reset == "zero", leaky.surrogate == "atan", leaky.slope, gradients,
    )  # fmt: skip
    return gradients
