"""The same work in SpykeTorch, where that package is installed, for measuring beside it.

Written against its public interface (snn, functional, utils); it is not a dependency.
"""

from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from spikelore.experiments import optional
from spikelore.learning.reward_stdp import RewardStdpConfig
from spikelore.networks.first_spike import FeatureLayerConfig, FirstSpikeNetwork
from spikelore.shapes import FirstSpikeBins, Images, Labels, Weights


def find() -> tuple[ModuleType, ...] | str:
    """Return (torch, snn, functional, utils), or why SpykeTorch cannot be used."""
    return optional.find("torch", *(f"SpykeTorch.{name}" for name in ("snn", "functional", "utils")))


class SpykeTorchPeer:
    """A first-spike network's work, done by SpykeTorch one image after the other as its own scripts do."""

    def __init__(self, modules: tuple[ModuleType, ...], network: FirstSpikeNetwork) -> None:
        """Take SpykeTorch's modules from `find` and the network whose weights and settings it is to use."""
        self._torch, self._snn, self._functional, utils = modules
        self._network = network
        coding = network.config.coding
        kernels = [utils.DoGKernel(one.size, one.sigma_1, one.sigma_2) for one in coding.filters]
        largest = max(one.size for one in coding.filters)
        self._filter = utils.Filter(kernels, padding=largest // 2, thresholds=coding.threshold)
        self._latency = utils.Intensity2Latency(coding.total_bins)

    def wave(self, bins: NDArray[np.int8]):
        """Return one image's bins (C,H,W) as SpykeTorch's wave (T,C,H,W): 1 from a neuron's spike on."""
        times = np.arange(self._network.config.coding.total_bins).reshape(-1, 1, 1, 1)
        return self._torch.from_numpy((bins[None] <= times).astype(np.float32))

    def _waves_of(self, image: NDArray[np.uint8]):
        pixels = self._torch.from_numpy(image.astype(np.float32))[None, None]
        responses = self._functional.local_normalization(
            self._filter(pixels), self._network.config.coding.normalization_radius
        )
        return self._latency(responses).sign()

    def encode(self, images: Images) -> FirstSpikeBins:
        """Code images: first-spike bins (N,C,H,W) int8."""
        silent = self._network.config.coding.total_bins
        return np.stack([(silent - self._waves_of(image).sum(dim=0)).numpy().astype(np.int8) for image in images])

    def _convolution(self, weights: Weights):
        layer = self._snn.Convolution(weights.shape[1], weights.shape[0], weights.shape[2])
        layer.load_weight(self._torch.from_numpy(weights.copy()))
        return layer

    def _pad(self, wave, padding: int):
        return self._functional.pad(wave, (padding,) * 4)

    def learn(
        self, bins: FirstSpikeBins, config: FeatureLayerConfig, weights: Weights, ltp: float, ltd: float
    ) -> NDArray[np.int16]:
        """Learn by STDP from each image in turn: winners (N,k,3) as `spikelore.kernels.stdp.train` gives them."""
        functional = self._functional
        layer = self._convolution(weights)
        rule = self._snn.STDP(layer, (ltp, ltd))
        found = np.full((len(bins), config.winners, 3), -1, np.int16)
        for n, one in enumerate(bins):
            wave = self._pad(self.wave(one), config.padding)
            spikes, potentials = functional.fire(layer(wave), config.threshold, True)
            potentials = functional.pointwise_inhibition(potentials)
            spikes = potentials.sign()
            winners = functional.get_k_winners(potentials, config.winners, config.inhibition_radius, spikes)
            rule(wave, potentials, spikes, winners)
            for place, winner in enumerate(winners):
                found[n, place] = winner
        return found

    def learn_rewarded(self, waves: list, labels: Labels, rates: RewardStdpConfig) -> NDArray[np.int16]:
        """Learn by R-STDP from each image in turn: winners (N,3)."""
        network, decision = self._network, self._network.config.decision
        layer = self._convolution(network.unit_weights)
        rules = [
            self._snn.STDP(layer, pair, False, decision.lower, decision.upper)
            for pair in (rates.base().reward, rates.base().punish)
        ]
        found = np.full((len(waves), 3), -1, np.int16)
        for n, (one, label) in enumerate(zip(waves, labels, strict=True)):
            wave = self._pad(one, decision.padding)
            potentials = layer(wave)
            spikes = self._functional.fire(potentials)
            winners = self._functional.get_k_winners(potentials, 1, 0, spikes)
            if winners:
                found[n] = winners[0]
                right = network.unit_classes[winners[0][0]] == label
                rules[0 if right else 1](wave, potentials, spikes, winners)
        return found

    def _layer_2_wave(self, wave, layers: list):
        for layer, config in zip(layers, (self._network.config.layer_1, self._network.config.layer_2), strict=True):
            fired = self._functional.fire(layer(self._pad(wave, config.padding)), config.threshold)
            wave = self._functional.pooling(fired, config.pool, config.pool)
        return wave

    def features(self, bins: FirstSpikeBins) -> list:
        """Return the decision layer's input wave of each image."""
        layers = [self._convolution(weights) for weights in (self._network.weights_1, self._network.weights_2)]
        return [self._layer_2_wave(self.wave(one), layers) for one in bins]

    def predict(self, images: Images) -> Labels:
        """Decide images, from pixels: (N,) int64, -1 for silence."""
        network = self._network
        layers = [self._convolution(weights) for weights in (network.weights_1, network.weights_2)]
        last = self._convolution(network.unit_weights)
        decided = np.full(len(images), -1, np.int64)
        for n, image in enumerate(images):
            wave = self._layer_2_wave(self._waves_of(image), layers)
            potentials = last(self._pad(wave, network.config.decision.padding))
            winners = self._functional.get_k_winners(potentials, 1, 0, self._functional.fire(potentials))
            if winners:
                decided[n] = network.unit_classes[winners[0][0]]
        return decided
