"""Speed and memory of the surrogate-gradient network, with its results checked in the same run.

The work is the published network with membranes carried: T = 30, batches of 128, float32. Run as a module, it prints
the memory that training takes.
"""

import subprocess
import sys
from functools import partial
from typing import Any

import numpy as np
import torch

from spikelore.bench import memory
from spikelore.bench.digits import digits
from spikelore.bench.rounds import best_of_rounds
from spikelore.errors import InputError, SpikeloreError
from spikelore.experiments.run_folder import versions
from spikelore.learning.surrogate_gradient import adam, epoch_, spike_count_loss
from spikelore.networks.surrogate import SurrogateConfig, SurrogateNetwork
from spikelore.randomness import torch_generator

_BATCH = 128
_CHECKED = 8
_GRID = 1024.0  # checked weights are multiples of 1/1024: sums are exact, so their order cannot move a spike


def _network(seed: int, backend: str = "numba_cpu") -> SurrogateNetwork:
    return SurrogateNetwork(SurrogateConfig(), torch_generator(seed, "bench"), backend=backend)


def _train(network: SurrogateNetwork, images: torch.Tensor, labels: torch.Tensor) -> None:
    epoch_(network, images, labels, adam(network.parameters()), batch=_BATCH)


@torch.no_grad()
def _infer(network: SurrogateNetwork, images: torch.Tensor) -> None:
    for part in images.split(_BATCH):
        network(part)


def _answers(network: SurrogateNetwork, images: torch.Tensor, labels: torch.Tensor) -> tuple[np.ndarray, ...]:
    """Return output spikes and every weight's gradient."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_((parameter * 4 * _GRID).round() / _GRID)  # larger, so that the output spikes too
    spikes = network(images)
    spike_count_loss(spikes, labels).backward()
    return spikes.detach().numpy(), *(p.grad.numpy() for p in network.parameters() if p.grad is not None)


def _check(seed: int, images: torch.Tensor, labels: torch.Tensor) -> str:
    """Compare spikes and gradients with the reference kernels'."""
    spikes, *gradients = _answers(_network(seed), images, labels)
    expected_spikes, *expected = _answers(_network(seed, "reference"), images, labels)
    close = len(gradients) == len(expected) and all(
        np.abs(found - wanted).max() <= 1e-4 * np.abs(wanted).max()
        for found, wanted in zip(gradients, expected, strict=True)
    )
    if not spikes.any() or not np.array_equal(spikes, expected_spikes) or not close:
        raise SpikeloreError(
            "bench: spikes or gradients of the fast kernels differ from the reference's; their speed does not count"
        )
    return "spikes equal the reference's, gradients within 1e-4 of the largest"


def _sample(images: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    part = digits(images, seed)
    return torch.from_numpy(part.inputs).float() / 255, torch.from_numpy(part.labels)


def _training_memory(seed: int) -> int:
    """Return the bytes by which three training steps raise this process's peak above what it held before."""
    network = _network(seed)
    images, labels = _sample(_BATCH, seed)
    _train(network, images[:2], labels[:2])
    before = memory.held()
    return memory.peak(lambda: [_train(network, images, labels) for _ in range(3)]) - before


def _memory_in_new_process(seed: int) -> int | None:
    """Return `_training_memory` measured in a process of its own, None where the system does not tell."""
    if not memory.told():
        return None
    command = [sys.executable, "-m", __spec__.name, str(seed)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def surrogate(images: int, seed: int) -> dict[str, Any]:
    """Measure a training step, inference and the memory of training, on digits that a dependency ships.

    Args:
        images: images a measurement, at least a batch of 128.
        seed: of the networks and their inputs.

    Raises:
        InputError: too few images.
        SpikeloreError: spikes or gradients are not those of the reference.
    """
    if images < _BATCH:
        raise InputError(f"--images is {images}; measure at least {_BATCH}, one batch")
    shown, labels = _sample(images // _BATCH * _BATCH, seed)
    checked = _check(seed, shown[:_CHECKED], labels[:_CHECKED])
    network = _network(seed)
    rows: list[dict[str, Any]] = []
    works = {"training": partial(_train, network, shown, labels), "inference": partial(_infer, network, shown)}
    for work, action in works.items():
        spent = best_of_rounds(action)
        rows.append({"work": work, "images_per_second": round(len(shown) / spent, 1)})
    return {
        "bench": "surrogate",
        "images": len(shown),
        "threads": torch.get_num_threads(),
        "checked": checked,
        "versions": versions(),
        "rows": rows,
        "training_memory_bytes": _memory_in_new_process(seed),
    }


if __name__ == "__main__":
    print(_training_memory(int(sys.argv[1])))
