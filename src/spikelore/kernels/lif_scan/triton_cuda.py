"""The scan on CUDA devices by Triton: all steps of a block of neurons in one program, potentials in registers.

Going back, potentials are computed again and wait in the gradients' own memory. Products and sums are not fused, so
that they round as on the processor.
"""

import torch
import triton
import triton.language as tl

from spikelore.kernels.lif_scan.model import Leaky

_BLOCK = 256


@triton.jit
def after_step(potential, current, beta, threshold, TO_ZERO: tl.constexpr):
    """Return the potential one step later."""
    if TO_ZERO:
        return beta * tl.where(potential > threshold, 0.0, potential) + current
    return (beta * potential + current) - tl.where(potential > threshold, threshold, 0.0)


@triton.jit
def slope_at(distance, slope, ATAN: tl.constexpr):
    """Return dS/dU at ``distance`` = U - threshold."""
    if ATAN:
        scaled = 1.5707963267948966 * slope * distance
        return slope / 2 / (1 + scaled * scaled)
    x = slope * tl.abs(distance) + 1
    return 1 / (x * x)


@triton.jit
def _forward(
    currents, spikes, potentials, steps, neurons, beta, threshold,
    CONSTANT: tl.constexpr, TO_ZERO: tl.constexpr, KEPT: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    ours = place < neurons
    potential = tl.zeros((BLOCK,), tl.float32)
    for t in range(steps):
        at = t * neurons + place
        current = tl.load(currents + (place if CONSTANT else at), ours, 0.0)
        potential = after_step(potential, current, beta, threshold, TO_ZERO)
        tl.store(spikes + at, (potential > threshold).to(tl.float32), ours)
        if KEPT:
            tl.store(potentials + at, potential, ours)


@triton.jit
def _backward(
    to_spikes, to_potentials, currents, potentials, found, steps, neurons, beta, threshold, slope,
    SPIKES: tl.constexpr, POTENTIALS: tl.constexpr, CONSTANT: tl.constexpr, TO_ZERO: tl.constexpr,
    ATAN: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    ours = place < neurons
    potential = tl.zeros((BLOCK,), tl.float32)
    for t in range(steps):
        at = t * neurons + place
        current = tl.load(currents + (place if CONSTANT else at), ours, 0.0)
        potential = after_step(potential, current, beta, threshold, TO_ZERO)
        tl.store(potentials + at, potential, ours)
    gradient = tl.zeros((BLOCK,), tl.float32)
    summed = tl.zeros((BLOCK,), tl.float32)
    for back in range(steps):
        at = (steps - 1 - back) * neurons + place
        potential = tl.load(potentials + at, ours, 0.0)
        kept = beta * gradient
        if TO_ZERO:
            kept = tl.where(potential > threshold, 0.0, kept)
        gradient = kept
        if SPIKES:
            gradient = tl.load(to_spikes + at, ours, 0.0) * slope_at(potential - threshold, slope, ATAN) + kept
        if POTENTIALS:
            gradient += tl.load(to_potentials + at, ours, 0.0)
        if CONSTANT:
            summed += gradient
        else:
            tl.store(found + at, gradient, ours)
    if CONSTANT:
        tl.store(found + place, summed, ours)


def forward(
    currents: torch.Tensor, leaky: Leaky, steps: int, with_potentials: bool
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return spikes and membrane potentials, each (T,M), of contiguous (T,M) or (1,M) currents."""
    neurons = currents.shape[1]
    spikes = currents.new_empty(steps, neurons)
    potentials = torch.empty_like(spikes) if with_potentials else spikes
    _forward[(triton.cdiv(neurons, _BLOCK),)](
        currents, spikes, potentials, steps, neurons, leaky.beta, leaky.threshold,
        CONSTANT=len(currents) == 1, TO_ZERO=leaky.reset == "zero", KEPT=with_potentials, BLOCK=_BLOCK,
        enable_fp_fusion=False,
    )  # fmt: skip
    return spikes, potentials if with_potentials else None


def backward(
    spike_gradients: torch.Tensor | None, potential_gradients: torch.Tensor | None, currents: torch.Tensor, leaky: Leaky
) -> torch.Tensor:
    """Return the currents' gradients, of their shape; see the package's `backward`. One of the two may be None."""
    given = potential_gradients if spike_gradients is None else spike_gradients
    assert given is not None
    steps, neurons = given.shape
    constant = len(currents) < steps
    potentials = torch.empty_like(given)
    found = torch.empty_like(currents) if constant else potentials
    _backward[(triton.cdiv(neurons, _BLOCK),)](
        given if spike_gradients is None else spike_gradients, given if potential_gradients is None else
        potential_gradients, currents, potentials, found, steps, neurons, leaky.beta, leaky.threshold, leaky.slope,
        SPIKES=spike_gradients is not None, POTENTIALS=potential_gradients is not None, CONSTANT=constant,
        TO_ZERO=leaky.reset == "zero", ATAN=leaky.surrogate == "atan", BLOCK=_BLOCK, enable_fp_fusion=False,
    )  # fmt: skip
    return found
