"""The scan on CUDA devices by Triton: all steps of a block of neurons in one program, potentials in registers.

Going back, potentials are computed again and wait in the gradients' own memory. Products and sums are not fused, so
that they round as on the processor.
"""

from typing import Any

import torch
import triton  # pyright: ignore[reportMissingImports]
import triton.language as tl  # pyright: ignore[reportMissingImports]

from spikelore.kernels.lif_scan.model import Leaky

_BLOCK = 256


@triton.jit
def after_step(potential, current, beta, threshold, to_zero: tl.constexpr):
    """Return the potential one step later."""
    if to_zero:
        return beta * tl.where(potential > threshold, 0.0, potential) + current
    return (beta * potential + current) - tl.where(potential > threshold, threshold, 0.0)


@triton.jit
def slope_at(distance, slope, atan: tl.constexpr):
    """Return dS/dU at ``distance`` = U - threshold."""
    if atan:
        scaled = 1.5707963267948966 * slope * distance
        return slope / 2 / (1 + scaled * scaled)
    x = slope * tl.abs(distance) + 1
    return 1 / (x * x)


@triton.jit
def _course(
    currents, spikes, potentials, place, ours, steps, neurons, beta, threshold,
    constant: tl.constexpr, to_zero: tl.constexpr, fires: tl.constexpr, keeps: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    """Go through all steps and return where, one step further, the neurons' next values would be."""
    at = place
    potential = tl.zeros((block,), tl.float32)
    for _ in range(steps):
        current = tl.load(currents + (place if constant else at), ours, 0.0)
        potential = after_step(potential, current, beta, threshold, to_zero)
        if fires:
            tl.store(spikes + at, (potential > threshold).to(tl.float32), ours)
        if keeps:
            tl.store(potentials + at, potential, ours)
        at += neurons
    return at


@triton.jit
def _forward(
    currents, spikes, potentials, steps, neurons, beta, threshold,
    constant: tl.constexpr, to_zero: tl.constexpr, keeps: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    place = tl.program_id(0).to(tl.int64) * block + tl.arange(0, block)
    _course(
        currents, spikes, potentials, place, place < neurons, steps, neurons, beta, threshold,
        constant, to_zero, True, keeps, block,
    )  # fmt: skip


@triton.jit
def _backward(
    to_spikes, to_potentials, currents, potentials, found, steps, neurons, beta, threshold, slope,
    from_spikes: tl.constexpr, from_potentials: tl.constexpr, constant: tl.constexpr, to_zero: tl.constexpr,
    atan: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    place = tl.program_id(0).to(tl.int64) * block + tl.arange(0, block)
    ours = place < neurons
    at = _course(
        currents, potentials, potentials, place, ours, steps, neurons, beta, threshold,
        constant, to_zero, False, True, block,
    )  # fmt: skip
    gradient = tl.zeros((block,), tl.float32)
    summed = tl.zeros((block,), tl.float32)
    for _ in range(steps):
        at -= neurons
        potential = tl.load(potentials + at, ours, 0.0)
        kept = beta * gradient
        if to_zero:
            kept = tl.where(potential > threshold, 0.0, kept)
        gradient = kept
        if from_spikes:
            gradient = tl.load(to_spikes + at, ours, 0.0) * slope_at(potential - threshold, slope, atan) + kept
        if from_potentials:
            gradient += tl.load(to_potentials + at, ours, 0.0)
        if constant:
            summed += gradient
        else:
            tl.store(found + at, gradient, ours)
    if constant:
        tl.store(found + place, summed, ours)


def launch(kernel: Any, size: int, *arguments: Any, **constants: Any) -> None:
    """Run a kernel on so many elements, a program for each block of them."""
    kernel[(triton.cdiv(size, _BLOCK),)](*arguments, **constants, block=_BLOCK, enable_fp_fusion=False)


def forward(
    currents: torch.Tensor, leaky: Leaky, steps: int, with_potentials: bool
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return spikes and membrane potentials, each (T,M), of contiguous (T,M) or (1,M) currents."""
    neurons = currents.shape[1]
    spikes = currents.new_empty(steps, neurons)
    potentials = torch.empty_like(spikes) if with_potentials else spikes
    launch(
        _forward, neurons, currents, spikes, potentials, steps, neurons, leaky.beta, leaky.threshold,
        constant=len(currents) == 1, to_zero=leaky.reset == "zero", keeps=with_potentials,
    )  # fmt: skip
    return spikes, potentials if with_potentials else None


def backward(
    spike_gradients: torch.Tensor | None, potential_gradients: torch.Tensor | None, currents: torch.Tensor, leaky: Leaky
) -> torch.Tensor:
    """Return the currents' gradients, of their shape; see the package's `backward`. One of the two may be None."""
    given = potential_gradients if spike_gradients is None else spike_gradients
    assert given is not None
    to_spikes, to_potentials = (given if each is None else each for each in (spike_gradients, potential_gradients))
    steps, neurons = given.shape
    constant = len(currents) < steps
    potentials = torch.empty_like(given)
    found = torch.empty_like(currents) if constant else potentials
    launch(
        _backward, neurons, to_spikes, to_potentials, currents, potentials, found, steps, neurons, leaky.beta,
        leaky.threshold, leaky.slope,
        from_spikes=spike_gradients is not None, from_potentials=potential_gradients is not None, constant=constant,
        to_zero=leaky.reset == "zero", atan=leaky.surrogate == "atan",
    )  # fmt: skip
    return found
