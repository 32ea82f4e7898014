"""Speed of the recurrent network, with its results checked in the same run.

The work is that of the published keyword network, 700-200-100-50-20 with three recurrent layers and a leaky readout:
T = 100 bins of 14 ms, batches of 64, float32, recordings of about 5000 spikes drawn at random. A training step is
forward, the cross entropy of the largest potential over time, backward and Adam.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812 - the field's name

from spikelore.bench.rounds import best_of_rounds
from spikelore.errors import InputError, SpikeloreError
from spikelore.experiments.run_folder import versions
from spikelore.kernels.recurrent import Spiking
from spikelore.learning.surrogate_gradient import adam, membrane_loss, step_
from spikelore.networks.heads import linear_layers
from spikelore.networks.recurrent import RecurrentNetwork
from spikelore.networks.recurrent_config import RecurrentConfig
from spikelore.randomness import generator, torch_generator

_BATCH = 64
_CHECKED = 8
_SHARE = 0.07
_GRID = 1024.0  # checked weights are multiples of 1/1024: sums are exact, so their order cannot move a spike
_LOUDER = 6.0
_CONFIG = RecurrentConfig.published(
    tau_mem_ms=10.0, tau_syn_ms=5.0, readout_tau_mem_ms=10.0, readout_tau_syn_ms=5.0, neuron=Spiking(slope=25.0)
)


def louder_(network: RecurrentNetwork) -> None:
    """Multiply the initial weights, so that about a tenth of the neurons spikes."""
    with torch.no_grad():
        for layer in linear_layers(network.hidden):
            layer.weight.mul_(_LOUDER)


def recordings(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Return random spikes, about 4900 of 70,000 units and steps, as in recordings of spoken words."""
    return (rng.random(shape, np.float32) < _SHARE).astype(np.float32)


def _network(seed: int, backend: str = "numba_cpu") -> RecurrentNetwork:
    network = RecurrentNetwork(_CONFIG, torch_generator(seed, "bench"), backend=backend)
    louder_(network)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.requires_grad:
                parameter.copy_((parameter * _GRID).round() / _GRID)
    return network


def _answers(network: RecurrentNetwork, inputs: torch.Tensor, labels: torch.Tensor) -> dict[str, np.ndarray]:
    """Return output potentials and every weight's gradient."""
    potentials = network(inputs)
    membrane_loss(potentials, labels).backward()
    gradients = {name: each.grad.numpy() for name, each in network.named_parameters() if each.grad is not None}
    return {"potentials": potentials.detach().numpy(), **gradients}


def _check(seed: int, inputs: torch.Tensor, labels: torch.Tensor) -> str:
    """Compare potentials and gradients with the reference kernels'."""
    network = _network(seed)
    found, expected = (_answers(each, inputs, labels) for each in (network, _network(seed, "reference")))
    with torch.no_grad():
        spiking = [float(each.mean()) for each in network.layer_inputs(inputs).values()]
    close = found.keys() == expected.keys() and all(
        np.abs(found[one] - wanted).max() <= 1e-4 * np.abs(wanted).max() for one, wanted in expected.items()
    )
    if min(spiking) < 1e-3 or not close:
        raise SpikeloreError(
            "bench: potentials or gradients of the fast kernels differ from the reference's; their speed does not count"
        )
    return "potentials and gradients within 1e-4 of the largest of the reference's"


def _train(
    network: RecurrentNetwork, optimiser: torch.optim.Adam, batches: Sequence[torch.Tensor], labels: torch.Tensor
) -> None:
    for part, targets in zip(batches, labels.split(_BATCH), strict=True):
        step_(F.cross_entropy(network(part).amax(0), targets), optimiser)


@torch.no_grad()
def _infer(network: RecurrentNetwork, batches: Sequence[torch.Tensor]) -> None:
    for part in batches:
        network(part)


def recurrent(count: int, seed: int) -> dict[str, Any]:
    """Measure a training step and inference on random recordings.

    Args:
        count: recordings a measurement, at least a batch of 64.
        seed: of the networks and recordings.

    Raises:
        InputError: too few recordings.
        SpikeloreError: potentials or gradients are not those of the reference.
    """
    if count < _BATCH:
        raise InputError(f"--images is {count}; measure at least {_BATCH}, one batch")
    count = count // _BATCH * _BATCH
    config, rng = _CONFIG, generator(seed, "bench recordings")
    shape = (config.steps, _BATCH, *config.units)
    spikes = [torch.from_numpy(recordings(rng, shape)).transpose(0, 1) for _ in range(count // _BATCH)]
    labels = torch.from_numpy(rng.integers(0, config.classes, count))
    checked = _check(seed, spikes[0][:_CHECKED], labels[:_CHECKED])
    network = _network(seed)
    optimiser = adam(each for each in network.parameters() if each.requires_grad)
    rows: list[dict[str, Any]] = []
    for work, action in {
        "training": partial(_train, network, optimiser, spikes, labels),
        "inference": partial(_infer, network, spikes),
    }.items():
        spent = best_of_rounds(action)
        rows.append({"work": work, "ms_a_batch": round(1e3 * spent * _BATCH / count, 1)})
    return {
        "bench": "recurrent",
        "recordings": count,
        "spikes_a_recording": round(sum(float(each.sum()) for each in spikes) / count),
        "threads": torch.get_num_threads(),
        "checked": checked,
        "versions": versions(),
        "rows": rows,
    }
