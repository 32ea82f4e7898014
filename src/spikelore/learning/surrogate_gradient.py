"""Losses on spikes over time and the training step: gradient descent through surrogate derivatives.

With output spikes S, (T,B,K), and membrane potentials U of the same shape:

- *spike count*: cross entropy of the counts sum_t S as logits (Proietti et al. 2023);
- *rate*: mean squared distance of the rate, mean_t S, from ``correct`` for the target and ``incorrect`` for others;
- *membrane*: cross entropy of max_t U or mean_t U as logits.
"""

import math
from collections.abc import Callable, Iterable
from typing import Literal

import torch
from torch.nn import functional as F  # noqa: N812 - the field's name

from spikelore.errors import SpikeloreError
from spikelore.networks.protocol import SpikingModule


def spike_count_loss(spikes: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the mean cross entropy of spike counts (T,B,K) for (B,) int64 labels, 0 .. K-1."""
    return F.cross_entropy(spikes.sum(0), labels)


def rate_loss(
    spikes: torch.Tensor, labels: torch.Tensor, *, correct: float = 1.0, incorrect: float = 0.0
) -> torch.Tensor:
    """Return the mean squared distance of the rates of (T,B,K) spikes from their targets."""
    targets = F.one_hot(labels, spikes.shape[2]) * (correct - incorrect) + incorrect
    return F.mse_loss(spikes.mean(0), targets.to(spikes.dtype))


def membrane_loss(
    potentials: torch.Tensor, labels: torch.Tensor, *, over_time: Literal["max", "mean"] = "max"
) -> torch.Tensor:
    """Return the mean cross entropy of membrane potentials (T,B,K) reduced over time."""
    return F.cross_entropy(potentials.amax(0) if over_time == "max" else potentials.mean(0), labels)


def adam(parameters: Iterable[torch.nn.Parameter], learning_rate: float = 1e-3) -> torch.optim.Adam:
    """Return Adam with the published betas (0.9, 0.999)."""
    return torch.optim.Adam(parameters, lr=learning_rate, betas=(0.9, 0.999))


def step_(loss: torch.Tensor, optimiser: torch.optim.Optimizer) -> float:
    """Take one step down the loss and return its value from before the step.

    Raises:
        SpikeloreError: the loss or the norm of its gradients is not a finite number; no weight is changed. (A
            potential that is not a number never spikes, so a loss of spikes alone may stay finite.)
    """
    value = float(loss.detach())
    if not math.isfinite(value):
        raise SpikeloreError(f"the loss is {value}; no weight was changed: lower the learning rate or check the input")
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    gradients = [each.grad for group in optimiser.param_groups for each in group["params"] if each.grad is not None]
    norm = float(torch.nn.utils.get_total_norm(gradients))
    if not math.isfinite(norm):
        raise SpikeloreError(
            f"the gradients' norm is {norm}; no weight was changed: lower the learning rate or check the weights"
        )
    optimiser.step()
    return value


def epoch_(
    network: Callable[[torch.Tensor], torch.Tensor],
    images: torch.Tensor,
    labels: torch.Tensor,
    optimiser: torch.optim.Optimizer,
    *,
    batch: int,
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] = spike_count_loss,
) -> float:
    """Take one step for each batch in the order given; return the mean of the losses.

    Args:
        network: maps images to what the loss takes: a `SpikingModule` to spikes, or, for `membrane_loss`,
            ``lambda images: network.with_potentials(images)[1]``.
        images: (N,H,W) or (N,C,H,W) float in 0..1.
        labels: (N,) int64, 0 .. K-1.
        optimiser: of the network's parameters.
        batch: images a step; the last may have fewer.
        loss: of (T,B,K) spikes or potentials and (B,) labels.

    Raises:
        SpikeloreError: a loss is not a finite number; that step is not taken.
    """
    parts = zip(images.split(batch), labels.split(batch), strict=True)
    losses = [step_(loss(network(part), targets), optimiser) for part, targets in parts]
    return sum(losses) / len(losses)


@torch.no_grad()
def predict(network: SpikingModule, images: torch.Tensor, batch: int = 256) -> torch.Tensor:
    """Return the output neuron that spikes most for each image, (N,) int64; on a tie the lowest."""
    return torch.cat([network(part).sum(0).argmax(1) for part in images.split(batch)])
