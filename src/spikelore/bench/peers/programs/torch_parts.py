"""What the programs of torch libraries share: layers with given weights, a training step, an inference."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - the field's name

from .types import Action, Arrays


class ConvolutionalLayers(nn.Module):
    """The weights of the surrogate network, times ``scale``: two convolutions and a read-out."""

    def __init__(self, arrays: Arrays, settings: Mapping[str, Any], scale: float = 1.0) -> None:
        super().__init__()
        self.steps, self.pool, self.scale = settings["steps"], settings["pool"], scale
        shapes = [arrays[f"convolutions.{n}.weight"].shape for n in range(settings["convolutions"])]
        self.convolutions = nn.ModuleList(nn.Conv2d(shape[1], shape[0], shape[2]) for shape in shapes)
        self.heads = nn.ModuleList([nn.Linear(*reversed(arrays["heads.0.weight"].shape))])
        _fill(self, arrays, scale)

    def pooled(self, index: int, signal: torch.Tensor) -> torch.Tensor:
        """Return a convolution's pooled currents."""
        return F.max_pool2d(self.convolutions[index](signal), self.pool)

    def stepwise(self, images: torch.Tensor, neurons: Any, states: list[Any]) -> torch.Tensor:
        """Return the output spikes (T,B,K) of neurons (one for each layer) that take a step with a state each."""
        first, output = self.pooled(0, images), []
        for _ in range(self.steps):
            signal, states[0] = neurons[0](first, states[0])
            for index in range(1, len(self.convolutions)):
                signal, states[index] = neurons[index](self.pooled(index, signal), states[index])
            signal, states[-1] = neurons[-1](self.heads[0](signal.flatten(1)), states[-1])
            output.append(signal)
        return torch.stack(output)


class RecurrentLayers(nn.Module):
    """The weights of the recurrent network, times ``scale``: hidden layers, connections within them, a read-out."""

    def __init__(self, arrays: Arrays, settings: Mapping[str, Any], scale: float = 1.0) -> None:
        super().__init__()
        self.scale = scale
        names = [f"hidden.{n}.weight" for n in range(settings["hidden"])]
        sizes = [arrays[name].shape for name in names]
        self.sizes = [outputs for outputs, _ in sizes]
        self.hidden = nn.ModuleList(nn.Linear(inputs, outputs) for outputs, inputs in sizes)
        self.connections = nn.ModuleList(nn.Linear(outputs, outputs, bias=False) for outputs, _ in sizes)
        self.heads = nn.ModuleList([nn.Linear(*reversed(arrays["heads.0.weight"].shape))])
        _fill(self, arrays, scale)


def _fill(network: nn.Module, arrays: Arrays, scale: float) -> None:
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.copy_(torch.from_numpy(arrays[name]) * scale)


def _spike_count_loss(outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(outputs.sum(0), labels)


def _largest_potential_loss(outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(outputs.amax(0), labels)


_LOSSES = {"surrogate": _spike_count_loss, "recurrent": _largest_potential_loss}


def steps(case: str, network: ConvolutionalLayers | RecurrentLayers, arrays: Arrays) -> dict[str, Action]:
    """Return a training step and an inference of one batch; a training step ends with the first weights.

    Training gives the outputs (T,B,K) and the gradient of each weight, inference the outputs.
    """
    inputs, labels = torch.from_numpy(arrays["inputs"]), torch.from_numpy(arrays["labels"])
    learned = {name: parameter for name, parameter in network.named_parameters() if name in arrays}
    first = {name: parameter.detach().clone() for name, parameter in learned.items()}
    optimiser = torch.optim.Adam(learned.values(), lr=1e-3, betas=(0.9, 0.999))
    loss = _LOSSES[case]

    def training() -> dict[str, np.ndarray]:
        optimiser.zero_grad()
        outputs = network(inputs)
        loss(outputs, labels).backward()
        optimiser.step()
        with torch.no_grad():
            for name, parameter in learned.items():
                parameter.copy_(first[name])
        gradients = {name: np.asarray(parameter.grad) * network.scale for name, parameter in learned.items()}
        return {"outputs": outputs.detach().numpy(), **gradients}

    @torch.no_grad()
    def inference() -> dict[str, np.ndarray]:
        return {"outputs": network(inputs).numpy()}

    return {"training": training, "inference": inference}
