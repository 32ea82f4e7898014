"""Losses on spikes over time and the training step: gradient descent through surrogate derivatives.

With output spikes S, (T,B,K), and membrane potentials U of the same shape:

- *spike count*: cross entropy of the counts sum_t S as logits (Proietti et al. 2023);
- *rate*: mean squared distance of the rate, mean_t S, from ``correct`` for the target and ``incorrect`` for others;
- *membrane*: cross entropy of max_t U or mean_t U as logits.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any, Literal

import torch
from torch.nn import functional as F  # noqa: N812 - the field's name

from spikelore.errors import InputError, SpikeloreError
from spikelore.metrics.learning_cost import Tally
from spikelore.networks.foreign import check_order, decided, kind_of, over_time, reason_of, respond, weights_are_numbers
from spikelore.networks.protocol import SpikingModule


def _check_labels(labels: torch.Tensor) -> None:
    """Refuse what is not (N,) int64, N at least 1."""
    if not isinstance(labels, torch.Tensor) or labels.dtype != torch.int64 or labels.dim() != 1:
        raise InputError(
            f"labels are {kind_of(labels)}, expected an int64 tensor (N,); convert with long() and flatten()"
        )
    if not len(labels):
        raise InputError("the batch has no image, expected at least one; leave it out")


def _check_images(images: torch.Tensor) -> None:
    """Refuse what is no tensor of images."""
    if not isinstance(images, torch.Tensor) or images.dim() < 2:
        raise InputError(f"images are {kind_of(images)}, expected a tensor (N,H,W) of floats in 0 to 1; convert them")
    if images.is_floating_point() and bool(images.isnan().any()):
        raise InputError("images hold NaN, expected numbers in 0 to 1; mend or leave out these images")


def _checked(outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return (T,B,K) float32 outputs for (B,) int64 labels, 0 .. K-1; InputError for others."""
    _check_labels(labels)
    outputs = over_time(outputs, labels, "the network", counted="labels")
    low, high = (int(each) for each in labels.aminmax())
    if low < 0 or high >= outputs.shape[2]:
        raise InputError(
            f"label {low if low < 0 else high} is outside the head of {outputs.shape[2]} outputs, expected 0 to "
            f"{outputs.shape[2] - 1}; number the classes from 0 or enlarge the head"
        )
    return outputs


def spike_count_loss(spikes: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the mean cross entropy of spike counts (T,B,K) for (B,) int64 labels, 0 .. K-1; InputError for others."""
    return F.cross_entropy(_checked(spikes, labels).sum(0), labels)


def rate_loss(
    spikes: torch.Tensor, labels: torch.Tensor, *, correct: float = 1.0, incorrect: float = 0.0
) -> torch.Tensor:
    """Return the mean squared distance of the rates of (T,B,K) spikes from their targets; checks as above."""
    spikes = _checked(spikes, labels)
    targets = F.one_hot(labels, spikes.shape[2]) * (correct - incorrect) + incorrect
    return F.mse_loss(spikes.mean(0), targets.to(spikes.dtype))


def membrane_loss(
    potentials: torch.Tensor, labels: torch.Tensor, *, over_time: Literal["max", "mean"] = "max"
) -> torch.Tensor:
    """Return the mean cross entropy of membrane potentials (T,B,K) reduced over time; checks as above."""
    potentials = _checked(potentials, labels)
    return F.cross_entropy(potentials.amax(0) if over_time == "max" else potentials.mean(0), labels)


def adam(parameters: Iterable[torch.nn.Parameter], learning_rate: float = 1e-3) -> torch.optim.Adam:
    """Return Adam with the published betas (0.9, 0.999); InputError without a parameter."""
    parameters = list(parameters)
    if not parameters:
        raise InputError("the network has no weights, expected some to learn; give it a layer or a head first")
    return torch.optim.Adam(parameters, lr=learning_rate, betas=(0.9, 0.999))


def step_(loss: torch.Tensor, optimiser: torch.optim.Optimizer, tally: Tally | None = None) -> float:
    """Take one step down the loss and return its value from before the step; a ``tally`` counts it as ``step``.

    A weight with an attribute ``plasticity``, shares of 0..1 that broadcast to it, moves by that share of the
    optimiser's step, so that 0 holds it whatever momentum the optimiser has.

    Raises:
        InputError: no gradient of the loss reaches a weight, or one is sparse; no weight is changed.
        SpikeloreError: the gradients cannot be computed, or the loss or the norm of its gradients is not a finite
            number; no weight is changed. (A potential that is not a number never spikes, so a loss of spikes alone may
            stay finite.)
    """
    if not isinstance(loss, torch.Tensor) or loss.numel() != 1:
        raise InputError(f"the loss is {kind_of(loss)}, expected a tensor of one number; take the mean over the images")
    if not loss.requires_grad:
        raise InputError(
            "the loss does not depend on any weight that learns; let gradients through (a surrogate function, no "
            "detach() or no_grad()) and set requires_grad of a weight"
        )
    optimiser.zero_grad(set_to_none=True)
    try:
        loss.backward()
    except RuntimeError as error:
        raise SpikeloreError(
            f"the gradients could not be computed, no weight was changed: {reason_of(error)}; a network's state must "
            "not live on from one call to the next"
        ) from error
    gradients = [each.grad for group in optimiser.param_groups for each in group["params"] if each.grad is not None]
    if not gradients:
        _finite(float(loss.detach()))
        raise InputError("the loss depends on no weight of the optimiser; make the optimiser of this network's weights")
    if any(each.layout != torch.strided for each in gradients):
        raise InputError("a weight has a sparse gradient, expected dense ones; make its layer with sparse=False")
    reached = torch.nn.utils.get_total_norm(gradients)
    value, norm = torch.stack([loss.detach().reshape(()), reached.to(loss.device)]).cpu().tolist()
    _finite(value)
    if not math.isfinite(norm):
        raise SpikeloreError(
            f"the gradients' norm is {norm}; no weight was changed: lower the learning rate or check the weights"
        )
    held = [
        (each, each.detach().clone())
        for group in optimiser.param_groups
        for each in group["params"]
        if hasattr(each, "plasticity")
    ]
    optimiser.step()
    with torch.no_grad():
        for weight, before in held:
            share = weight.plasticity
            weight.copy_(torch.where(share == 1, weight, before + share * (weight - before)))
    if tally is not None:
        tally.add("step")
    return value


def _finite(loss: float) -> None:
    if not math.isfinite(loss):
        raise SpikeloreError(f"the loss is {loss}; no weight was changed: lower the learning rate or check the input")


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

    A module begins each call from rest and is left in the mode, training or evaluation, that it is in. Of a tuple or
    list that it returns, the losses here take the first.

    Args:
        network: maps images to what the loss takes: a `SpikingModule` to spikes, or, for `membrane_loss`,
            ``lambda images: network.with_potentials(images)[1]``.
        images: (N,H,W) or (N,C,H,W) float in 0..1.
        labels: (N,) int64, 0 .. K-1.
        optimiser: of the network's parameters.
        batch: images a step; the last may have fewer.
        loss: of (T,B,K) spikes or potentials and (B,) labels.

    Raises:
        InputError: labels that do not fit the images or the outputs, no image, or outputs that are not (T,B,K).
        SpikeloreError: a loss is not a finite number, or an exception in the network; that step is not taken.
    """
    _check_images(images)
    _check_labels(labels)
    if len(images) != len(labels):
        raise InputError(
            f"there are {len(images)} images and {len(labels)} labels, expected as many; give each its label"
        )
    _check_batch(batch)
    losses = []
    for part, targets in zip(images.split(batch), labels.split(batch), strict=True):
        outputs = respond(network, network, part)
        if not losses:
            _check_first(network, outputs, part)
        losses.append(step_(loss(outputs, targets), optimiser))
    return sum(losses) / len(losses)


def _check_batch(batch: int) -> None:
    if batch < 1:
        raise InputError(f"batch is {batch}, expected at least 1; choose another number")


def _check_first(network: Callable[[torch.Tensor], torch.Tensor], outputs: Any, part: torch.Tensor) -> None:
    """Look at a first batch's outputs where only one image tells time and batch apart."""
    outputs = outputs[0] if isinstance(outputs, tuple | list) and outputs else outputs
    alike = isinstance(outputs, torch.Tensor) and outputs.dim() == 3 and outputs.shape[0] == outputs.shape[1] > 1
    if alike and isinstance(network, torch.nn.Module):
        check_order(network, network, part)


@torch.no_grad()
def predict(network: SpikingModule, images: torch.Tensor, batch: int = 256) -> torch.Tensor:
    """Return the output neuron that spikes most for each image, (N,) int64; on a tie the lowest.

    It is -1 where an output is not a finite number, and everywhere if a weight is not. A module is asked in evaluation
    mode, each batch from rest, and nothing in it moves.

    Raises:
        InputError: outputs that are not (T,B,K).
        SpikeloreError: an exception in the network.
    """
    _check_images(images)
    _check_batch(batch)
    found = [torch.zeros(0, dtype=torch.int64, device=images.device)]
    for part in images.split(batch) if len(images) else ():
        name = type(network).__name__ if isinstance(network, torch.nn.Module) else "the network"
        spikes = over_time(respond(network, network, part, still=True), part, name)
        if len(found) == 1:
            _check_first(network, spikes, part)
        found.append(decided(spikes.sum(0)))
    labels = torch.cat(found)
    known = not isinstance(network, torch.nn.Module) or weights_are_numbers(network)
    return labels if known else torch.full_like(labels, -1)
