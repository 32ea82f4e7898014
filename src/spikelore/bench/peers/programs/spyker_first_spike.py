"""Spyker, the C++ library for the same network, from coded images on: its filters and normalisation are others.

STDP takes an image at a time, since each learns from the weights that the one before has left; inference takes all.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import spyker  # pyright: ignore[reportMissingImports]

from .types import Action, Arrays

PACKAGES = ("spyker", "numpy")


def _waves(bins: np.ndarray, total_bins: int) -> np.ndarray:
    """Return the images' waves (N,T,C,H,W): 1 from a neuron's spike on."""
    times = np.arange(total_bins, dtype=np.int8).reshape(-1, 1, 1, 1)
    return np.ascontiguousarray(bins[:, None] <= times, np.uint8)


def _convolution(weights: np.ndarray, padding: int, rates: list[spyker.STDPConfig]) -> spyker.Conv:
    layer = spyker.Conv(weights.shape[1], weights.shape[0], weights.shape[2], pad=padding)
    spyker.copy_array(np.ascontiguousarray(weights), layer.kernel)
    layer.stdpconfig = rates
    return layer


class _Network:
    def __init__(self, arrays: Arrays, settings: Mapping[str, Any]) -> None:
        self._arrays, self._settings = arrays, settings
        self._layers = [self._layer(number) for number in (1, 2)]
        decision, unit_weights = settings["decision"], arrays["unit_weights"]
        bounds = False, decision["lower"], decision["upper"]
        self._rewards = [spyker.STDPConfig(*settings[name], *bounds) for name in ("reward", "punish")]
        self._decision = _convolution(unit_weights, decision["padding"], self._rewards)
        self._waves = _waves(arrays["bins"], settings["total_bins"])
        self._last_waves = self._through(self._waves)

    def _layer(self, number: int) -> spyker.Conv:
        rates = [spyker.STDPConfig(self._settings["ltp"], self._settings["ltd"])]
        return _convolution(self._arrays[f"weights_{number}"], self._settings[f"layer_{number}"]["padding"], rates)

    def learn(self, waves: np.ndarray, number: int) -> dict[str, np.ndarray]:
        layer, convolution = self._settings[f"layer_{number}"], self._layer(number)
        found = np.full((len(waves), layer["winners"], 3), -1, np.int16)
        for n in range(len(waves)):
            wave = waves[n : n + 1]
            potentials = spyker.inhibit(spyker.threshold(convolution(wave), layer["threshold"]))
            winners = spyker.convwta(potentials, layer["inhibition_radius"], layer["winners"])
            convolution.stdp(wave, winners, spyker.fire(potentials))
            for place, one in enumerate(winners[0]):
                found[n, place] = one.z, one.y, one.x
        return {"winners": found}

    def learn_rewarded(self) -> dict[str, np.ndarray]:
        arrays = self._arrays
        layer = _convolution(arrays["unit_weights"], self._settings["decision"]["padding"], self._rewards)
        found = np.full((len(self._last_waves), 3), -1, np.int16)
        for n in range(len(self._last_waves)):
            wave = self._last_waves[n : n + 1]
            potentials = spyker.infinite(layer(wave))
            winners = spyker.convwta(potentials, 0, 1)
            for one in winners[0]:
                found[n] = one.z, one.y, one.x
                one.c = int(arrays["unit_classes"][one.z] != arrays["labels"][n])
            layer.stdp(wave, winners, spyker.fire(potentials))
        return {"winners": found}

    def _through(self, waves: np.ndarray) -> np.ndarray:
        """Return the decision layer's inputs of coded images."""
        for convolution, name in zip(self._layers, ("layer_1", "layer_2"), strict=True):
            layer = self._settings[name]
            waves = spyker.pool(spyker.fire(convolution(waves), layer["threshold"]), layer["pool"])
        return waves

    def decide(self) -> dict[str, np.ndarray]:
        potentials = spyker.infinite(self._decision(self._through(self._waves)))
        winners = spyker.convwta(potentials, 0, 1)
        units = [each[0].z if each else -1 for each in winners]
        return {"decisions": np.array([-1 if unit < 0 else self._arrays["unit_classes"][unit] for unit in units])}


def prepare(case: str, arrays: Arrays, settings: Mapping[str, Any]) -> dict[str, Action]:
    """Return the works of the first-spike network but coding."""
    network, total = _Network(arrays, settings), settings["total_bins"]
    first, second = (_waves(arrays[name], total) for name in ("bins", "layer_1_bins"))
    return {
        "layer 1": partial(network.learn, first, 1),
        "layer 2": partial(network.learn, second, 2),
        "layer 3": network.learn_rewarded,
        "inference": network.decide,
    }
