"""The scan on any device that torch has: one loop over the steps each way, vectorised over the neurons.

It rounds as the other forms do, so that on devices that round as IEEE 754 says spikes are the same.
"""

import math

import torch

from spikelore.kernels.lif_scan.model import Leaky


def forward(
    currents: torch.Tensor, leaky: Leaky, steps: int, with_potentials: bool
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return spikes and membrane potentials, each (T,M), of (T,M) or (1,M) currents; see the package's `forward`."""
    spikes, potentials = [], []
    potential = spike = torch.zeros_like(currents[0])
    for t in range(steps):
        current = currents[t if len(currents) > 1 else 0]
        if leaky.reset == "zero":
            potential = leaky.beta * ((1 - spike) * potential) + current
        else:
            potential = leaky.beta * potential + current - leaky.threshold * spike
        spike = (potential > leaky.threshold).to(potential.dtype)
        spikes.append(spike)
        potentials.append(potential)
    return torch.stack(spikes), torch.stack(potentials) if with_potentials else None


def surrogate_slope(distance: torch.Tensor, surrogate: str, slope: float) -> torch.Tensor:
    """Return dS/dU at ``distance`` = U - threshold; see `Leaky`."""
    if surrogate == "fast_sigmoid":
        return 1 / (slope * distance.abs() + 1) ** 2
    return slope / 2 / (1 + (math.pi / 2 * slope * distance) ** 2)


def backward(
    spike_gradients: torch.Tensor | None, potential_gradients: torch.Tensor | None, currents: torch.Tensor, leaky: Leaky
) -> torch.Tensor:
    """Return the currents' gradients, of their shape; see the package's `backward`. One of the two may be None."""
    given = potential_gradients if spike_gradients is None else spike_gradients
    assert given is not None
    _, potentials = forward(currents, leaky, len(given), True)
    assert potentials is not None
    received = torch.zeros_like(potentials)
    if spike_gradients is not None:
        slopes = surrogate_slope(potentials - leaky.threshold, leaky.surrogate, leaky.slope)
        received = spike_gradients * slopes
    gradients = []
    after = torch.zeros_like(potentials[0])  # dL/dU of the step after
    for t in range(len(given) - 1, -1, -1):
        kept = leaky.beta * after
        if leaky.reset == "zero":
            kept = torch.where(potentials[t] > leaky.threshold, 0, kept)
        after = received[t] + kept
        if potential_gradients is not None:
            after = after + potential_gradients[t]
        gradients.append(after)
    found = torch.stack(gradients[::-1])
    return found.sum(0, keepdim=True) if len(currents) < len(given) else found
