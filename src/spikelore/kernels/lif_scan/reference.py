"""The definition, in plain NumPy: one loop over the steps each way."""

import numpy as np
from numpy.typing import NDArray

from spikelore.kernels.lif_scan.model import Leaky


def forward(
    currents: NDArray[np.float32], leaky: Leaky, steps: int, with_potentials: bool
) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    """Return spikes and membrane potentials, each (T,M); see the package's `forward`."""
    one = np.float32(1)
    beta, threshold = np.float32(leaky.beta), np.float32(leaky.threshold)
    spikes = np.zeros((steps, currents.shape[1]), np.float32)
    potentials = np.zeros_like(spikes)
    potential = np.zeros(currents.shape[1], np.float32)
    spike = np.zeros_like(potential)
    for t in range(steps):
        current = currents[t if len(currents) > 1 else 0]
        if leaky.reset == "zero":
            potential = beta * ((one - spike) * potential) + current
        else:
            potential = beta * potential + current - spike * threshold
        spike = (potential > threshold).astype(np.float32)
        spikes[t], potentials[t] = spike, potential
    return spikes, potentials if with_potentials else None


def surrogate_slope(distance: NDArray[np.float32], leaky: Leaky) -> NDArray[np.float32]:
    """Return dS/dU at ``distance`` = U - threshold."""
    one = np.float32(1)
    if leaky.surrogate == "fast_sigmoid":
        return one / (np.float32(leaky.slope) * np.abs(distance) + one) ** 2
    return np.float32(leaky.slope / 2) / (one + (np.float32(np.pi / 2 * leaky.slope) * distance) ** 2)


def backward(
    spike_gradients: NDArray[np.float32],
    potential_gradients: NDArray[np.float32] | None,
    currents: NDArray[np.float32],
    leaky: Leaky,
) -> NDArray[np.float32]:
    """Return the currents' gradients, of their shape; see the package's `backward`."""
    steps = len(spike_gradients)
    _, potentials = forward(currents, leaky, steps, True)
    assert potentials is not None
    beta, threshold = np.float32(leaky.beta), np.float32(leaky.threshold)
    gradients = np.zeros_like(potentials)
    after = np.zeros(potentials.shape[1], np.float32)  # dL/dU of the step after
    for t in range(steps - 1, -1, -1):
        kept = beta * after
        if leaky.reset == "zero":
            kept = np.where(potentials[t] > threshold, np.float32(0), kept)
        after = spike_gradients[t] * surrogate_slope(potentials[t] - threshold, leaky) + kept
        if potential_gradients is not None:
            after = after + potential_gradients[t]
        gradients[t] = after
    return gradients.sum(axis=0, keepdims=True) if len(currents) < steps else gradients
