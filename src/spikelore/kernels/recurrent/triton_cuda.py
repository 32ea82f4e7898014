"""The layer on CUDA devices by Triton: what each step does beside its product with the connections, in one program.

The products are torch's, one a step. Products and sums of the neurons are not fused, so that they round as on the
processor; those with the connections are sums in an order of the device's own.
"""

import torch
import triton  # pyright: ignore[reportMissingImports]
import triton.language as tl  # pyright: ignore[reportMissingImports]

from spikelore.kernels.lif_scan.triton_cuda import launch, slope_at
from spikelore.kernels.recurrent.model import Spiking
from spikelore.kernels.recurrent.torch_any import takes_current

Tensor = torch.Tensor


@triton.jit
def _step(
    drives, fed, alpha, beta, current_before, potential_before, spike_before, silent_before, current, potential, spike,
    silent, size, hidden, threshold, silent_steps,
    is_fed: tl.constexpr, spiking: tl.constexpr, to_zero: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    at = tl.program_id(0) * block + tl.arange(0, block)
    ours = at < size
    neuron = at % hidden
    i = tl.load(alpha + neuron, ours, 0.0) * tl.load(current_before + at, ours, 0.0) + tl.load(drives + at, ours, 0.0)
    if is_fed:
        i += tl.load(fed + at, ours, 0.0)
    u = tl.load(beta + neuron, ours, 0.0) * tl.load(potential_before + at, ours, 0.0)
    if spiking:
        left = tl.load(silent_before + at, ours, 0.0)
        takes = left == 0
        if to_zero:
            u = tl.where(takes, u + i, 0.0)
        else:
            u = u + tl.where(takes, i, 0.0) - threshold * tl.load(spike_before + at, ours, 0.0)
        fires = (u > threshold) & takes
        tl.store(spike + at, fires.to(tl.float32), ours)
        tl.store(silent + at, tl.where(fires, silent_steps, tl.maximum(left - 1, 0.0)), ours)
    else:
        u = u + i
    tl.store(current + at, i, ours)
    tl.store(potential + at, u, ours)


@triton.jit
def _step_back(
    to_spikes, to_potentials, fed, potentials, takes, alpha, beta, at_potential, at_current, found_potential,
    found_current, size, hidden, threshold, slope,
    from_spikes: tl.constexpr, from_potentials: tl.constexpr, is_fed: tl.constexpr, spiking: tl.constexpr,
    to_zero: tl.constexpr, atan: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    at = tl.program_id(0) * block + tl.arange(0, block)
    ours = at < size
    neuron = at % hidden
    gradient = tl.load(beta + neuron, ours, 0.0) * tl.load(at_potential + at, ours, 0.0)
    taking = ours
    if spiking:
        taking = tl.load(takes + at, ours, 0) != 0
        received = tl.zeros((block,), tl.float32)
        if from_spikes:
            received += tl.load(to_spikes + at, ours, 0.0)
        if is_fed:
            received += tl.load(fed + at, ours, 0.0)
        rise = slope_at(tl.load(potentials + at, ours, 0.0) - threshold, slope, atan)
        gradient += tl.where(taking, received * rise, 0.0)
    if from_potentials:
        gradient += tl.load(to_potentials + at, ours, 0.0)
    taken = gradient
    if spiking:
        taken = tl.where(taking, gradient, 0.0)
        if to_zero:
            gradient = taken
    tl.store(found_potential + at, gradient, ours)
    tl.store(found_current + at, taken + tl.load(alpha + neuron, ours, 0.0) * tl.load(at_current + at, ours, 0.0), ours)


def forward(
    currents: Tensor, recurrent: Tensor | None, alpha: Tensor, beta: Tensor, neuron: Spiking | None
) -> tuple[Tensor | None, Tensor, Tensor]:
    """Return spikes, or None of neurons without ``neuron``, potentials and synaptic currents, each (T,B,H).

    See the package's `forward`; all tensors are contiguous.
    """
    steps, _, hidden = currents.shape
    connections = None if neuron is None else recurrent
    potentials, synaptic = torch.empty_like(currents), torch.empty_like(currents)
    spikes = potentials if neuron is None else torch.empty_like(currents)
    rest = torch.zeros_like(currents[0])
    silent, size = [rest, torch.zeros_like(rest)], rest.numel()
    for t in range(steps):
        before = (rest, rest, rest) if t == 0 else (synaptic[t - 1], potentials[t - 1], spikes[t - 1])
        fed = rest if connections is None else before[2] @ connections.T
        launch(
            _step, size, currents[t], fed, alpha, beta, *before, silent[t % 2], synaptic[t], potentials[t], spikes[t],
            silent[1 - t % 2], size, hidden, neuron.threshold if neuron else 0.0,
            float(neuron.silent_steps) if neuron else 0.0,
            is_fed=connections is not None, spiking=neuron is not None,
            to_zero=neuron is not None and neuron.reset == "zero",
        )  # fmt: skip
        if t == 0:
            silent[0] = torch.empty_like(rest)
    return None if neuron is None else spikes, potentials, synaptic


def backward(
    spike_gradients: Tensor | None,
    potential_gradients: Tensor | None,
    spikes: Tensor | None,
    potentials: Tensor,
    synaptic: Tensor | None,
    recurrent: Tensor | None,
    alpha: Tensor,
    beta: Tensor,
    neuron: Spiking | None,
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Return the gradients of currents, alpha and beta; see the package's `backward`."""
    steps, _, hidden = potentials.shape
    takes = potentials if neuron is None or spikes is None else takes_current(spikes, neuron)
    at_potentials, gradients = torch.empty_like(potentials), torch.empty_like(potentials)
    rest = torch.zeros_like(potentials[0])
    size, connections = rest.numel(), None if neuron is None else recurrent
    for t in range(steps - 1, -1, -1):
        after = (rest, rest) if t == steps - 1 else (at_potentials[t + 1], gradients[t + 1])
        fed = rest if connections is None else after[1] @ connections
        launch(
            _step_back, size, rest if spike_gradients is None else spike_gradients[t],
            rest if potential_gradients is None else potential_gradients[t], fed, potentials[t], takes[t], alpha, beta,
            *after, at_potentials[t], gradients[t], size, hidden, neuron.threshold if neuron else 0.0,
            neuron.slope if neuron else 0.0,
            from_spikes=spike_gradients is not None, from_potentials=potential_gradients is not None,
            is_fed=connections is not None, spiking=neuron is not None,
            to_zero=neuron is not None and neuron.reset == "zero",
            atan=neuron is not None and neuron.surrogate == "atan",
        )  # fmt: skip
    if synaptic is None:
        return gradients, None, None
    to_alpha = (gradients[1:] * synaptic[:-1]).sum((0, 1))
    return gradients, to_alpha, (at_potentials[1:] * potentials[:-1]).sum((0, 1))
