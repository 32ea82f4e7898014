"""SpykeTorch, one image after the other as its own scripts do; written against its public interface.

It imports torchvision for its readers of data sets, which nothing here uses: an empty module does.
"""

import sys
from collections.abc import Mapping
from functools import partial
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np
import torch

from .types import Action, Arrays

PACKAGES = ("torch",)

sys.modules["torchvision"] = ModuleType("torchvision")
vars(sys.modules["torchvision"]).update(transforms=None, datasets=None)
functional, snn, utils = (import_module(f"SpykeTorch.{name}") for name in ("functional", "snn", "utils"))


def _waves(bins: np.ndarray, total_bins: int) -> list[torch.Tensor]:
    """Return each image's wave (T,C,H,W): 1 from a neuron's spike on."""
    times = np.arange(total_bins).reshape(-1, 1, 1, 1)
    return [torch.from_numpy((one[None] <= times).astype(np.float32)) for one in bins]


def _convolution(weights: np.ndarray) -> torch.nn.Module:
    layer = snn.Convolution(weights.shape[1], weights.shape[0], weights.shape[2])
    layer.load_weight(torch.from_numpy(weights.copy()))
    return layer


def _pad(wave: torch.Tensor, padding: int) -> torch.Tensor:
    return functional.pad(wave, (padding,) * 4)


class _Network:
    def __init__(self, arrays: Arrays, settings: Mapping[str, Any]) -> None:
        self._arrays, self._settings = arrays, settings
        kernels = [utils.DoGKernel(*one) for one in settings["filters"]]
        largest = max(size for size, *_ in settings["filters"])
        self._filter = utils.Filter(kernels, padding=largest // 2, thresholds=settings["coding_threshold"])
        self._latency = utils.Intensity2Latency(settings["total_bins"])
        self._layers = [_convolution(arrays[name]) for name in ("weights_1", "weights_2")]
        self._decision = _convolution(arrays["unit_weights"])
        self._waves = _waves(arrays["bins"], settings["total_bins"])
        self._last_waves = [self._through(wave) for wave in self._waves]

    def encode(self) -> dict[str, np.ndarray]:
        bins = []
        for image in self._arrays["images"]:
            responses = self._filter(torch.from_numpy(image.astype(np.float32))[None, None])
            waves = self._latency(functional.local_normalization(responses, self._settings["normalization_radius"]))
            bins.append((self._settings["total_bins"] - waves.sign().sum(dim=0)).numpy().astype(np.int8))
        return {"bins": np.stack(bins)}

    def learn(self, waves: list[torch.Tensor], layer: Mapping[str, Any], weights: np.ndarray) -> dict[str, np.ndarray]:
        convolution = _convolution(weights)
        rule = snn.STDP(convolution, (self._settings["ltp"], self._settings["ltd"]))
        found = np.full((len(waves), layer["winners"], 3), -1, np.int16)
        for n, one in enumerate(waves):
            wave = _pad(one, layer["padding"])
            _, potentials = functional.fire(convolution(wave), layer["threshold"], True)
            potentials = functional.pointwise_inhibition(potentials)
            spikes = potentials.sign()
            winners = functional.get_k_winners(potentials, layer["winners"], layer["inhibition_radius"], spikes)
            rule(wave, potentials, spikes, winners)
            for place, winner in enumerate(winners):
                found[n, place] = winner
        return {"winners": found}

    def learn_rewarded(self) -> dict[str, np.ndarray]:
        decision, classes = self._settings["decision"], self._arrays["unit_classes"]
        layer = _convolution(self._arrays["unit_weights"])
        pairs = (self._settings["reward"], self._settings["punish"])
        rules = [snn.STDP(layer, tuple(pair), False, decision["lower"], decision["upper"]) for pair in pairs]
        found = np.full((len(self._last_waves), 3), -1, np.int16)
        for n, (one, label) in enumerate(zip(self._last_waves, self._arrays["labels"], strict=True)):
            wave = _pad(one, decision["padding"])
            potentials = layer(wave)
            spikes = functional.fire(potentials)
            if winners := functional.get_k_winners(potentials, 1, 0, spikes):
                found[n] = winners[0]
                rules[0 if classes[winners[0][0]] == label else 1](wave, potentials, spikes, winners)
        return {"winners": found}

    def _through(self, wave: torch.Tensor) -> torch.Tensor:
        """Return the decision layer's input of a coded image."""
        for convolution, name in zip(self._layers, ("layer_1", "layer_2"), strict=True):
            layer = self._settings[name]
            fired = functional.fire(convolution(_pad(wave, layer["padding"])), layer["threshold"])
            wave = functional.pooling(fired, layer["pool"], layer["pool"])
        return wave

    def decide(self) -> dict[str, np.ndarray]:
        decided = np.full(len(self._waves), -1, np.int64)
        for n, one in enumerate(self._waves):
            potentials = self._decision(_pad(self._through(one), self._settings["decision"]["padding"]))
            if winners := functional.get_k_winners(potentials, 1, 0, functional.fire(potentials)):
                decided[n] = self._arrays["unit_classes"][winners[0][0]]
        return {"decisions": decided}


def prepare(case: str, arrays: Arrays, settings: Mapping[str, Any]) -> dict[str, Action]:
    """Return the works of the first-spike network."""
    network, total = _Network(arrays, settings), settings["total_bins"]
    first, second = (_waves(arrays[name], total) for name in ("bins", "layer_1_bins"))
    return {
        "coding": network.encode,
        "layer 1": partial(network.learn, first, settings["layer_1"], arrays["weights_1"]),
        "layer 2": partial(network.learn, second, settings["layer_2"], arrays["weights_2"]),
        "layer 3": network.learn_rewarded,
        "inference": network.decide,
    }
