"""Speed and memory of the surrogate-gradient network beside snnTorch's, with its results checked in the same run.

The work is the published network with membranes carried: T = 30, batches of 128, float32, both networks with
the same weights on the same images. Where snnTorch is installed both take turns in this run; where it is not,
its rates are the recorded ones in `RECORDED` and are named so. Run as a module, ``... ours`` or
``... snntorch``, it prints the memory that one network's training takes.
"""

import subprocess
import sys
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812 - the field's name

from spikelore.bench import memory
from spikelore.bench.digits import digits
from spikelore.bench.rounds import best_of_rounds
from spikelore.errors import InputError, SpikeloreError
from spikelore.experiments import optional
from spikelore.experiments.run_folder import versions
from spikelore.learning.surrogate_gradient import adam, epoch_, spike_count_loss
from spikelore.networks.surrogate import SurrogateConfig, SurrogateNetwork
from spikelore.randomness import torch_generator

RECORDED = {"training": 319.0, "inference": 718.0}
"""snnTorch, images a second on two cores of one machine."""
_BATCH = 128
_CHECKED = 8
_GRID = 1024.0  # checked weights are multiples of 1/1024: sums are exact, so their order cannot move a spike


class SnnTorchNetwork(torch.nn.Module):
    """The same network and weights in snnTorch, written as its tutorials do: a loop over steps of Leaky neurons."""

    def __init__(self, network: SurrogateNetwork) -> None:
        super().__init__()
        import snntorch
        from snntorch import surrogate

        config = network.config
        self.network, self.steps, self.pool = network, config.steps, config.pool
        self.neurons = torch.nn.ModuleList(
            snntorch.Leaky(
                beta=config.neuron.beta,
                threshold=config.neuron.threshold,
                reset_mechanism=config.neuron.reset,
                spike_grad=surrogate.fast_sigmoid(slope=int(config.neuron.slope)),
            )
            for _ in range(config.layers + 1)
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return (T,B,classes) spikes of (B,H,W) images."""
        shown = self.network.encode(images)[0]
        states = [neuron.reset_mem() for neuron in self.neurons]  # type: ignore[operator]
        output = []
        for _ in range(self.steps):
            signal = shown
            for index, convolution in enumerate(self.network.convolutions):
                currents = F.max_pool2d(convolution(signal), self.pool)
                signal, states[index] = self.neurons[index](currents, states[index])
            signal, states[-1] = self.neurons[-1](self.network.heads[0](signal.flatten(1)), states[-1])
            output.append(signal)
        return torch.stack(output)


def _networks(seed: int) -> dict[str, torch.nn.Module]:
    """Return our network and, where snnTorch is installed, its twin with weights of its own."""
    made: dict[str, torch.nn.Module] = {"ours": _network(seed)}
    if not isinstance(optional.find("snntorch"), str):
        made["snntorch"] = SnnTorchNetwork(_network(seed))
    return made


def _network(seed: int, backend: str = "numba_cpu") -> SurrogateNetwork:
    return SurrogateNetwork(SurrogateConfig(), torch_generator(seed, "bench"), backend=backend)


def _train(network: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor) -> None:
    epoch_(network, images, labels, adam(network.parameters()), batch=_BATCH)


@torch.no_grad()
def _infer(network: torch.nn.Module, images: torch.Tensor) -> None:
    for part in images.split(_BATCH):
        network(part)


def _answers(network: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor) -> tuple[np.ndarray, ...]:
    """Return output spikes and every weight's gradient."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_((parameter * 4 * _GRID).round() / _GRID)  # larger, so that the output spikes too
    spikes = network(images)
    spike_count_loss(spikes, labels).backward()
    return spikes.detach().numpy(), *(p.grad.numpy() for p in network.parameters() if p.grad is not None)


def _check(seed: int, images: torch.Tensor, labels: torch.Tensor) -> str:
    """Compare spikes and gradients with the reference kernels' and, where it is installed, snnTorch's."""
    others: dict[str, torch.nn.Module] = {"the reference": _network(seed, "reference")}
    if not isinstance(optional.find("snntorch"), str):
        others["snnTorch"] = SnnTorchNetwork(_network(seed))
    spikes, *gradients = _answers(_network(seed), images, labels)
    for name, other in others.items():
        expected_spikes, *expected = _answers(other, images, labels)
        close = len(gradients) == len(expected) and all(
            np.abs(found - wanted).max() <= 1e-4 * np.abs(wanted).max()
            for found, wanted in zip(gradients, expected, strict=True)
        )
        if not spikes.any() or not np.array_equal(spikes, expected_spikes) or not close:
            raise SpikeloreError(
                f"bench: spikes or gradients of the fast kernels differ from {name}'s; their speed does not count"
            )
    return f"spikes equal, gradients within 1e-4 of the largest: {', '.join(others)}"


def _sample(images: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    part = digits(images, seed)
    return torch.from_numpy(part.inputs).float() / 255, torch.from_numpy(part.labels)


def _training_memory(name: str, seed: int) -> int:
    """Return the bytes by which three training steps raise this process's peak above what it held before."""
    network = _networks(seed)[name]
    images, labels = _sample(_BATCH, seed)
    _train(network, images[:2], labels[:2])
    before = memory.held()
    return memory.peak(lambda: [_train(network, images, labels) for _ in range(3)]) - before


def _memory_in_new_process(name: str, seed: int) -> int | None:
    """Return `_training_memory` measured in a process of its own, None where the system does not tell."""
    if not memory.told():
        return None
    command = [sys.executable, "-m", __spec__.name, name, str(seed)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def surrogate(images: int, seed: int) -> dict[str, Any]:
    """Measure a training step, inference and the memory of training, on digits that a dependency ships.

    Args:
        images: images a measurement, at least a batch of 128.
        seed: of the networks and their inputs.

    Raises:
        InputError: too few images.
        SpikeloreError: spikes or gradients are not those of the reference or of snnTorch.
    """
    if images < _BATCH:
        raise InputError(f"--images is {images}; measure at least {_BATCH}, one batch")
    shown, labels = _sample(images // _BATCH * _BATCH, seed)
    checked = _check(seed, shown[:_CHECKED], labels[:_CHECKED])
    networks = _networks(seed)
    works = {"training": lambda net: _train(net, shown, labels), "inference": lambda net: _infer(net, shown)}
    rows: list[dict[str, Any]] = []
    for work, action in works.items():
        spent = best_of_rounds([partial(action, net) for net in networks.values()])
        rates = {name: len(shown) / seconds for name, seconds in zip(networks, spent, strict=True)}
        peer = rates.get("snntorch", RECORDED[work])
        rows.append(
            {
                "work": work,
                "images_per_second": round(rates["ours"], 1),
                "snntorch_images_per_second": round(peer, 1),
                "ratio": round(rates["ours"] / peer, 2),
                "snntorch": "measured in turns" if "snntorch" in rates else "recorded",
            }
        )
    taken = {name: _memory_in_new_process(name, seed) for name in networks}
    return {
        "bench": "surrogate",
        "images": len(shown),
        "threads": torch.get_num_threads(),
        "checked": checked,
        **({"recorded_because": missing} if isinstance(missing := optional.find("snntorch"), str) else {}),
        "versions": versions(),
        "rows": rows,
        "training_memory_bytes": taken,
    }


if __name__ == "__main__":
    print(_training_memory(sys.argv[1], int(sys.argv[2])))
