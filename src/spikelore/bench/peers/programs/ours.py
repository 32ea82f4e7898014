"""Spikelore's own works, in the environment that the benchmark was started from."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import torch

from spikelore.kernels import reward_stdp, stdp
from spikelore.kernels.lif_scan import Leaky
from spikelore.kernels.recurrent import Spiking
from spikelore.learning.reward_stdp import RewardStdpConfig
from spikelore.learning.surrogate_gradient import adam, membrane_loss, spike_count_loss, step_
from spikelore.networks.first_spike import FirstSpikeConfig, FirstSpikeNetwork
from spikelore.networks.rate_lif import RateLIFConfig, RateLIFNetwork
from spikelore.networks.recurrent import RecurrentNetwork
from spikelore.networks.recurrent_config import RecurrentConfig
from spikelore.networks.surrogate import SurrogateConfig, SurrogateNetwork

from .types import Action, Arrays

PACKAGES = ("spikelore", "numba", "numpy", "torch")


def _gradients(arrays: Arrays, network: SurrogateNetwork | RecurrentNetwork, loss: Any) -> dict[str, Action]:
    """Return a training step and an inference of one batch, see `torch_parts.steps`."""
    inputs, labels = torch.from_numpy(arrays["inputs"]), torch.from_numpy(arrays["labels"])
    learned = {name: each for name, each in network.named_parameters() if each.requires_grad}
    optimiser = adam(learned.values())

    @torch.no_grad()
    def restore() -> None:
        for name, parameter in learned.items():
            parameter.copy_(torch.from_numpy(arrays[name]))

    def training() -> dict[str, np.ndarray]:
        outputs = network(inputs)
        step_(loss(outputs, labels), optimiser)
        restore()
        return {"outputs": outputs.detach().numpy(), **{name: np.asarray(each.grad) for name, each in learned.items()}}

    @torch.no_grad()
    def inference() -> dict[str, np.ndarray]:
        return {"outputs": network(inputs).numpy()}

    restore()
    return {"training": training, "inference": inference}


def _surrogate(arrays: Arrays, settings: Mapping[str, Any]) -> dict[str, Action]:
    neuron = Leaky(beta=settings["beta"], threshold=settings["threshold"], slope=settings["slope"])
    network = SurrogateNetwork(SurrogateConfig(coding="constant", neuron=neuron), torch.Generator())
    return _gradients({**arrays, "inputs": arrays["inputs"][:, 0]}, network, spike_count_loss)


def _first_spike(arrays: Arrays, settings: Mapping[str, Any]) -> dict[str, Action]:
    network = FirstSpikeNetwork.create(FirstSpikeConfig(), tuple(range(10)), seed=0)
    network.load_state_dict({**network.state_dict(), **{name: arrays[name] for name in settings["state"]}})
    config, bins, order = network.config, arrays["bins"], np.arange(len(arrays["images"]))
    features = network.features(bins)
    ltp, ltd = (np.full(len(order), settings[name], np.float32) for name in ("ltp", "ltd"))

    def learn(layer: Any, inputs: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
        return {
            "winners": stdp.train(
                inputs, order, weights, padding=layer.padding, threshold=layer.threshold,
                total_bins=config.coding.total_bins, winners=layer.winners,
                radius=layer.inhibition_radius, ltp=ltp, ltd=ltd,
            )[1]
        }  # fmt: skip

    def learn_rewarded() -> dict[str, np.ndarray]:
        return {
            "winners": reward_stdp.train(
                features, order, arrays["labels"], network.unit_weights, network.unit_classes,
                padding=config.decision.padding, rates=RewardStdpConfig().base(),
            )[1]
        }  # fmt: skip

    return {
        "coding": lambda: {"bins": network.encode(arrays["images"])},
        "layer 1": partial(learn, config.layer_1, bins, network.weights_1),
        "layer 2": partial(learn, config.layer_2, arrays["layer_1_bins"], network.weights_2),
        "layer 3": learn_rewarded,
        "inference": lambda: {"decisions": network.decide(network.features(bins))},
    }


def _rate_lif(arrays: Arrays, settings: Mapping[str, Any]) -> dict[str, Action]:
    network = RateLIFNetwork(RateLIFConfig.published(tuple(settings["classes"])), seed=0)
    state = {name.removeprefix("state/"): array for name, array in arrays.items() if name.startswith("state/")}
    network.load_state_dict(state)
    if settings["work"] == "testing":
        return {"testing": lambda: {"spikes": network.count_spikes(arrays["images"])}}

    def training() -> dict[str, np.ndarray]:
        network.load_state_dict(state)
        return {"spikes": network.train(arrays["images"], arrays["labels"]), "weights": network.weights}

    return {"training": training}


def _recurrent(arrays: Arrays, settings: Mapping[str, Any]) -> dict[str, Action]:
    neuron = Spiking(threshold=settings["threshold"], reset="subtract", slope=settings["slope"])
    times = {name: settings[name] for name in ("tau_mem_ms", "tau_syn_ms", "readout_tau_mem_ms", "readout_tau_syn_ms")}
    network = RecurrentNetwork(RecurrentConfig.published(neuron=neuron, **times), torch.Generator())
    return _gradients(arrays, network, membrane_loss)


_CASES = {"first-spike": _first_spike, "rate-lif": _rate_lif, "surrogate": _surrogate, "recurrent": _recurrent}


def prepare(case: str, arrays: Arrays, settings: Mapping[str, Any]) -> dict[str, Action]:
    """Return the works of any case."""
    return _CASES[case](arrays, settings)
