"""What is compared: the same works on the same data for us and for every peer.

Networks have learned for a while, so that as much spikes as in use. Weights of networks that gradients teach are then
rounded to multiples of 1/1024: their sums are exact, so that their order, which libraries choose, moves no spike.
Biases lie between these multiples, so that no potential is the threshold itself. The slope of the surrogate is 1, the
only one that all libraries have.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from spikelore.bench.digits import digits
from spikelore.bench.recurrent import louder_, recordings
from spikelore.coding.poisson import poisson_spikes, stream_key
from spikelore.kernels.lif_scan import Leaky
from spikelore.kernels.recurrent import Spiking
from spikelore.learning.reward_stdp import RewardStdpConfig, learn_epoch
from spikelore.learning.stdp import StdpConfig, learn_layer
from spikelore.learning.surrogate_gradient import adam, epoch_
from spikelore.metrics.learning_cost import Work
from spikelore.networks.first_spike import FirstSpikeConfig, FirstSpikeNetwork
from spikelore.networks.rate_lif import RateLIFConfig, RateLIFNetwork
from spikelore.networks.recurrent import RecurrentNetwork
from spikelore.networks.recurrent_config import RecurrentConfig
from spikelore.networks.surrogate import SurrogateConfig, SurrogateNetwork
from spikelore.randomness import generator, torch_generator

_SEED = 0
_GRID = 1024.0
_SLOPE = 1.0


@dataclass(frozen=True)
class Case:
    """One network's works.

    Attributes:
        name: of the network.
        count: images or recordings that a work is done on.
        unit: what they are.
        arrays: data, weights and state, by name.
        settings: constants, plain values.
        works: effective operations of one image or recording, by the work's name; see `learning_cost.Work`.
    """

    name: str
    count: int
    unit: str
    arrays: Mapping[str, np.ndarray]
    settings: Mapping[str, Any]
    works: Mapping[str, float]


_LEAST_WEIGHT = 1e-6
"""STDP lets weights fall for ever; below it they are 0, since denormal numbers would slow dense products down."""


def first_spike(count: int = 64) -> Case:
    """Return the works of the first-spike network at its published sizes, after 6000 images a layer."""
    sample = digits(count, _SEED)
    network = FirstSpikeNetwork.create(FirstSpikeConfig(), tuple(range(10)), _SEED)
    order = np.resize(np.arange(count), 6000)
    bins = network.encode(sample.inputs)
    network, _ = learn_layer(network, 1, bins, order, StdpConfig())
    network, _ = learn_layer(network, 2, network.layer_1_bins(bins), order, StdpConfig())
    for weights in (network.weights_1, network.weights_2):
        weights[weights < _LEAST_WEIGHT] = 0
    middle = network.layer_1_bins(bins)
    rates = RewardStdpConfig()
    network, _ = learn_epoch(network, network.features(bins), sample.labels, order, rates.base())
    done = {name: work.synaptic_operations for name, work in network.works(sample.inputs, sample.labels).items()}
    config, coding = network.config, network.config.coding
    places = sum(one.size**2 for one in coding.filters)
    ltp, ltd = (float(each[0]) for each in StdpConfig().rates(6000, 1))
    state = {name: getattr(network, name) for name in ("weights_1", "weights_2", "unit_weights", "unit_classes")}
    layers = {
        name: {part: getattr(layer, part) for part in ("padding", "threshold", "pool", "winners", "inhibition_radius")}
        for name, layer in (("layer_1", config.layer_1), ("layer_2", config.layer_2))
    }
    return Case(
        name="first-spike",
        count=count,
        unit="image",
        arrays={"images": sample.inputs, "labels": sample.labels, "bins": bins, "layer_1_bins": middle, **state},
        settings={
            "state": list(state),
            "filters": [[one.size, one.sigma_1, one.sigma_2] for one in coding.filters],
            "coding_threshold": coding.threshold,
            "normalization_radius": coding.normalization_radius,
            "total_bins": coding.total_bins,
            **layers,
            "decision": {part: getattr(config.decision, part) for part in ("padding", "lower", "upper")},
            "ltp": ltp,
            "ltd": ltd,
            "reward": [rates.reward_on, rates.reward_off],
            "punish": [rates.punish_on, rates.punish_off],
        },
        works={
            "coding": float((sample.inputs > 0).sum(axis=(1, 2)).mean()) * places,
            "layer 1": done["forward 1"] + done["learn 1"],
            "layer 2": done["forward 2"] + done["learn 2"],
            "layer 3": done["reward"],
            "inference": done["forward 1"] + done["forward 2"] + done["decide"],
        },
    )


_LIF_CLASSES = (7, 4, 6)
_UPDATES = 9
"""Multiply-adds by which an Euler step moves an excitatory neuron and its partner, see `kernels.lif_network`."""


def rate_lif(work: str, count: int = 16) -> Case:
    """Return the training or the testing of the published rate-coded network, after 300 images.

    Every simulator gets the spikes of the inputs; we alone draw them in the time that is measured.
    """
    config = RateLIFConfig.published(_LIF_CLASSES)
    network, shown = RateLIFNetwork(config, seed=_SEED), digits(300 + count, _SEED, _LIF_CLASSES)
    network.train(shown.inputs[:300], shown.labels[:300])
    images, labels = shown.inputs[300:], shown.labels[300:]
    presentation, training = config.presentation(), work == "training"
    trains = []
    for n, image in enumerate(images):
        key = stream_key(_SEED, *((0, network.images_seen + n) if training else (1, n)))
        trains.append(poisson_spikes(presentation.probabilities[image.ravel()], presentation.active_steps, key))
    steps = presentation.active_steps + (presentation.silent_steps if training else 0)
    done = network.works(images, labels)["learn" if training else "forward"].synaptic_operations
    return Case(
        name="rate-lif",
        count=len(images),
        unit="image",
        arrays={
            "images": images,
            "labels": labels,
            "train_starts": np.array([train.starts for train in trains]),
            "train_inputs": np.concatenate([train.inputs for train in trains]),
            **{f"state/{name}": array for name, array in network.state_dict().items()},
        },
        settings={
            "work": work,
            "classes": list(_LIF_CLASSES),
            "neurons_per_class": config.neurons_per_class,
            "active_steps": presentation.active_steps,
            "silent_steps": presentation.silent_steps,
            **config.constants()._asdict(),
        },
        works={work: done + _UPDATES * config.neurons * steps},
    )


def surrogate(count: int = 128) -> Case:
    """Return a batch of the published network with membranes carried, after two epochs of 1024 images."""
    sample = digits(1024, _SEED)
    neuron = Leaky(slope=_SLOPE)
    config = SurrogateConfig(coding="constant", neuron=neuron)
    network = SurrogateNetwork(config, torch_generator(_SEED, "peers"))
    spikes = (generator(_SEED, "peers").random(sample.inputs.shape) < sample.inputs / 255).astype(np.float32)
    inputs, labels = torch.from_numpy(spikes), torch.from_numpy(sample.labels)
    optimiser = adam(network.parameters(), learning_rate=2e-4)
    for _ in range(2):
        epoch_(network, inputs, labels, optimiser, batch=32)
    weights = _rounded(network)
    done = network.work_of(network.encode(inputs[:count]), labels[:count], "spikes")
    return Case(
        name="surrogate",
        count=count,
        unit="image",
        arrays={"inputs": spikes[:count, None], "labels": sample.labels[:count], **weights},
        settings={
            "convolutions": len(config.channels),
            "steps": config.steps,
            "pool": config.pool,
            "beta": neuron.beta,
            "threshold": neuron.threshold,
            "slope": neuron.slope,
        },
        works=_gradient_works(done, count),
    )


def recurrent(count: int = 64) -> Case:
    """Return a batch of random recordings for the network of the published sizes."""
    times = {"tau_mem_ms": 10.0, "tau_syn_ms": 5.0, "readout_tau_mem_ms": 10.0, "readout_tau_syn_ms": 5.0}
    neuron = Spiking(reset="subtract", slope=_SLOPE)
    config = RecurrentConfig.published(neuron=neuron, **times)
    network = RecurrentNetwork(config, torch_generator(_SEED, "peers"))
    louder_(network)
    weights = _rounded(network)
    rng = generator(_SEED, "peers")
    spikes = recordings(rng, (count, config.steps, *config.units))
    labels = rng.integers(0, config.classes, count)
    signal, columns = network.encode(torch.from_numpy(spikes)), torch.from_numpy(labels)
    alpha, beta = (float(each[0]) for each in network.readout_times(1))
    return Case(
        name="recurrent",
        count=count,
        unit="recording",
        arrays={"inputs": spikes, "labels": labels, **weights},
        settings={
            "hidden": len(config.hidden),
            "alpha": alpha,
            "beta": beta,
            "threshold": neuron.threshold,
            "slope": neuron.slope,
            **times,
        },
        works=_gradient_works(network.work_of(signal, columns, "maximum"), count),
    )


def _rounded(network: SurrogateNetwork | RecurrentNetwork) -> dict[str, np.ndarray]:
    """Round the weights that learn to the grid, in place, and return them."""
    learned = {name: each for name, each in network.named_parameters() if each.requires_grad}
    with torch.no_grad():
        for name, each in learned.items():
            between = 0.25 if name.endswith("bias") else 0.0
            each.copy_(((each * _GRID).round() + between) / _GRID)
    return {name: each.detach().numpy() for name, each in learned.items()}


def _gradient_works(done: Mapping[str, Work], count: int) -> dict[str, float]:
    """Return the operations an example of a training step and of an inference; Adam's are a batch's."""
    each = {name: work.synaptic_operations / (count if name == "step" else 1) for name, work in done.items()}
    return {
        "training": sum(each.values()),
        "inference": sum(n for name, n in each.items() if name[:7] == "forward"),
    }


CASES: Mapping[str, Callable[[], Case]] = {
    "first-spike": first_spike,
    "surrogate": surrogate,
    "recurrent": recurrent,
    "rate-lif training": lambda: rate_lif("training"),
    "rate-lif testing": lambda: rate_lif("testing"),
}
"""Every case by its name, made when it is asked for; last what a library compiles for minutes."""
