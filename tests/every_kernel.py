"""Every kernel, and every network and rule on top of them, once on tiny inputs; also in a process of its own.

python tests/every_kernel.py all FILE.npz        writes the answers to a file
python tests/every_kernel.py threads FILE.npz    three threads do it at once, and must agree
python tests/every_kernel.py processes FILE.npz  so must forked, spawned and forked from forked processes
"""

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from multiprocessing import get_context
from threading import Thread

import numpy as np
import torch

from spikelore.data import load
from spikelore.kernels import (
    convolution,
    eligibility,
    levels,
    lif_convolution,
    lif_network,
    lif_scan,
    rank_order,
    recurrent,
    reward_stdp,
    spike_coder,
    spike_linear,
    stdp,
    template_stdp,
)
from spikelore.kernels.lif_network import Delays, Events, Forcing, Plasticity, Rule, initial_state
from spikelore.kernels.reward_stdp import Rates, SpikeLists
from spikelore.learning import reward_stdp as rewarded
from spikelore.learning import surrogate_gradient
from spikelore.learning import template_stdp as templates
from spikelore.learning.reward_stdp import RewardStdpConfig
from spikelore.learning.stdp import StdpConfig, learn_layer
from spikelore.networks.first_spike import FirstSpikeConfig, FirstSpikeNetwork
from spikelore.networks.rate_lif import RateLIFConfig, RateLIFNetwork
from spikelore.networks.surrogate import SurrogateConfig, SurrogateNetwork
from spikelore.randomness import torch_generator

Answers = dict[str, np.ndarray]
RATE_LIF = RateLIFConfig(
    classes=(0, 1), neurons_per_class=3, height=6, width=6, dt_ms=1.0, active_ms=100.0, silent_ms=50.0,
    exc_to_inh_weight=10.0, inh_to_exc_total=3.0, weight_max=0.4, weight_norm=2.0, learning_rate=0.05,
)  # fmt: skip
IMAGES = 3


def numbers(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Draw float32 in -1..1.2, the same on every machine: without a logarithm."""
    return (rng.random(shape, np.float32) * np.float32(2.2) - np.float32(1)).astype(np.float32)


def coding() -> Answers:
    """Rank order: from pixels to bins."""
    images = np.random.default_rng(0).integers(0, 256, (IMAGES, 9, 8), dtype=np.uint8)
    kernels = numbers(np.random.default_rng(1), 2, 5, 5)
    found = rank_order.intensities(images, kernels, threshold=50.0, normalization_radius=3)
    return {"intensities": found, "bins": rank_order.first_spike_bins(found, total_bins=5)}


def layer() -> Answers:
    """Convolution of first spikes, and its STDP."""
    rng = np.random.default_rng(2)
    bins = rng.integers(0, 6, (IMAGES, 3, 8, 7)).astype(np.int8)
    weights = rng.random((5, 3, 3, 3), np.float32)
    settings = {"padding": 1, "threshold": 4.0}
    rates = {"ltp": np.full(6, 0.1, np.float32), "ltd": np.full(6, -0.08, np.float32)}
    learned, winners = stdp.train(
        bins, np.resize(np.arange(IMAGES), 6), weights, total_bins=5, winners=2, radius=1, **settings, **rates
    )
    return {
        "first": convolution.first_spike_bins(bins, weights, total_bins=5, pool=2, **settings),
        "learned": learned,
        "winners": winners,
    }


def features() -> Answers:
    """Which neurons of a convolution ever spike."""
    rng = np.random.default_rng(2)
    bins = rng.integers(0, 6, (IMAGES, 3, 8, 7)).astype(np.int8)
    weights = rng.random((5, 3, 3, 3), np.float32)
    return {"ever": convolution.spikes(bins < 5, weights, padding=1, threshold=4.0)}


def decision() -> Answers:
    """Both rules of the decision layer."""
    rng = np.random.default_rng(3)
    spikes = SpikeLists.from_spikes(rng.random((40, 4, 3, 3)) < 0.4)
    labels = rng.integers(0, 2, 40)
    weights = rng.uniform(0.2, 0.8, (20, 4, 2, 2)).astype(np.float32)
    classes, order = np.arange(20) % 2, rng.permutation(40)
    learned, winners, _ = reward_stdp.train(spikes, order, labels, weights, classes, padding=1, rates=Rates())
    rates = np.repeat(Rates().table()[None], 40, axis=0) * (1 + np.arange(40, dtype=np.float32)[:, None, None] / 64)
    within = {"lower": weights - np.float32(0.004), "upper": weights + np.float32(0.003)}
    bounded, _, _ = reward_stdp.train(spikes, order, labels, weights, classes, padding=1, rates=rates, **within)
    moved = template_stdp.train(spikes, order, labels, weights, classes, padding=1, rate=0.1, margin=0.5)
    return {
        "potentials": reward_stdp.feature_potentials(spikes, weights, padding=1),
        "learned": learned,
        "winners": winners,
        "bounded": bounded,
        "templates": moved.weights,
        "rewarded": moved.rewarded,
    }


def counted() -> Answers:
    """Counts of levels."""
    counts = np.zeros((50, 7), np.uint16)
    for seed in range(9):
        levels.count_(counts, numbers(np.random.default_rng(seed), 50), -0.75, 0.75)
    return {"counts": counts}


def coded() -> Answers:
    """Spikes by arithmetic coding, and back."""
    spikes = np.random.default_rng(4).random((IMAGES, 3, 2, 6, 5)) < 0.2
    records = spike_coder.encode(spikes)
    return {
        "records": np.concatenate(records),
        "lengths": np.array([len(each) for each in records]),
        "spikes": spike_coder.decode(records, spikes.shape[1:]),
    }


NEURONS = lif_scan.Leaky(beta=0.75, threshold=0.5)
RECURRENT = recurrent.Spiking(slope=5.0, refractory=1)


def scan() -> Answers:
    """Scan of leaky neurons, both ways."""
    currents = numbers(np.random.default_rng(4), 4, 1300)
    spikes, potentials = lif_scan.forward(currents, NEURONS, steps=4, with_potentials=True)
    assert potentials is not None
    back = lif_scan.backward(np.ones_like(spikes), potentials, currents, NEURONS)
    return {"spikes": spikes.astype(bool), "potentials": potentials, "back": back}


def leaky() -> Answers:
    """Scan and convolution of leaky neurons, both ways."""
    rng = np.random.default_rng(4)
    numbers(rng, 4, 1300)  # the scan's
    maps = numbers(rng, 3, 20, 6, 6, 2)
    weights, bias = numbers(rng, 5, 2, 3, 3), numbers(rng, 5)
    pooled, won = lif_convolution.forward(maps, weights, bias, NEURONS, steps=3, pool=2)
    sent = lif_convolution.backward(np.ones_like(pooled), won, maps, weights, NEURONS, pool=2)
    named = dict(zip(("sent", "sent weights", "sent bias"), sent, strict=True))
    return {**scan(), "pooled": pooled, "won": won, **named}


def recurrent_layers() -> Answers:
    """Sums over spikes, a recurrent layer both ways, and eligibility traces."""
    rng = np.random.default_rng(0)
    inputs = (rng.random((12, 5, 20), np.float32) < 0.3).astype(np.float32)
    weights, own, readout = numbers(rng, 9, 20), numbers(rng, 9, 9) / 4, numbers(rng, 3, 9)
    bias, decays = numbers(rng, 9), np.full((2, 9), 0.75, np.float32)
    rows = spike_linear.rows_of(inputs)
    currents = spike_linear.forward(rows, weights, bias).reshape(12, 5, 9)
    found: Answers = {"currents": currents}
    for neuron in (RECURRENT, replace(RECURRENT, reset="subtract", surrogate="atan")):
        course = recurrent.forward(currents, own, *decays, neuron, with_synaptic=True)
        back = recurrent.backward(numbers(rng, 12, 5, 9), None, course, own, *decays, neuron)
        assert course.spikes is not None
        found |= {f"{neuron.reset} spikes": course.spikes, f"{neuron.reset} potentials": course.potentials}
        found |= {f"{neuron.reset} back": back.currents}
        sums = spike_linear.weight_gradients(rows, back.currents.reshape(-1, 9))
        found[f"{neuron.reset} weights"] = sums
    layers = [
        eligibility.Layer(weights, bias, own, 0.5, 0.75, RECURRENT),
        eligibility.Layer(readout, numbers(rng, 3), None, 0.5, 0.75, None),
    ]
    return {**found, "outputs": eligibility.outputs(inputs, layers)}


def rate_coded() -> Answers:
    """Everything of the rate-coded network's kernel."""
    rng = np.random.default_rng(5)
    constants, shown = RATE_LIF.constants(), RATE_LIF.presentation()
    delays = Delays(rng.integers(0, 4, 6), rng.integers(0, 3, (6, 6)))
    images = rng.integers(0, 256, (IMAGES, 6, 6), dtype=np.uint8)
    when, which = np.nonzero(rng.random((200, 36)) < 0.1)
    events = Events(np.searchsorted(when, np.arange(201)), which.astype(np.int32))
    state = initial_state(rng.uniform(0, 0.4, (36, 6)), constants, delays, (-80.0, -80.0))
    spikes = lif_network.run_(state, constants, delays, events, Plasticity(*np.ones((3, 6))))
    given = {"seed": 0, "stream": 0, "first_image": 0}
    sorts = np.arange(IMAGES) % 2, np.repeat([0, 1], 3)
    forced = lif_network.train_forced_(
        state, constants, delays, shown, Forcing(0.8, 100, 1.0), images, *sorts, **given
    )  # fmt: skip
    return {
        "exc": spikes.exc,
        "inh": spikes.inh,
        "forced": forced,
        "counts": lif_network.count_spikes(
            state, constants, delays, shown, images, seed=0, stream=0, indices=np.arange(IMAGES)
        ).exc,
        "trained": lif_network.train_(state, constants, delays, shown, Rule(1.0, -1.0), images, *sorts, **given),
        "weights": state.weights,
    }


KERNELS: dict[str, Callable[[], Answers]] = {
    each.__name__: each
    for each in (coding, layer, features, decision, counted, coded, leaky, recurrent_layers, rate_coded)
}

WITHOUT_VECTORS: dict[str, Callable[[], Answers]] = {
    each.__name__: each for each in (coding, layer, counted, coded, rate_coded, scan)
}
"""Those whose fast form is plain Python where Numba does not compile: no hand-made vector loop, or one as short as that
of `layer`, for which the test has another."""


def first_spike_network() -> Answers:
    """Learn all layers by all rules and decide."""
    digits = load("digits-sample").train
    at = np.concatenate([np.flatnonzero(digits.labels == each)[:2] for each in (0, 1)])
    images, labels, order = digits.inputs[at], digits.labels[at], np.resize(np.arange(4), 6)
    network = FirstSpikeNetwork.create(FirstSpikeConfig(), classes=(0, 1), seed=0)
    bins = network.encode(images)
    network, _ = learn_layer(network, 1, bins, order, StdpConfig())
    network, _ = learn_layer(network, 2, network.layer_1_bins(bins), order, StdpConfig())
    features = network.features(bins)
    network, _ = rewarded.learn_epoch(network, features, labels, order, RewardStdpConfig().base())
    network, _ = templates.learn_epoch(network, features, labels, 0, templates.TemplateStdpConfig(), 0)
    return {"decided": network.predict(images), "weights 1": network.weights_1, "weights 2": network.weights_2}


def rate_lif_network() -> Answers:
    """Learn and count spikes."""
    images = np.random.default_rng(6).integers(0, 256, (IMAGES, 6, 6), dtype=np.uint8)
    network = RateLIFNetwork(RATE_LIF, seed=0)
    return {"learned": network.train(images, np.arange(IMAGES) % 2), "counts": network.count_spikes(images)}


def surrogate_network() -> Answers:
    """Learn two batches and decide."""
    config = SurrogateConfig(channels=(4,), pool=4, steps=3, coding="constant", neuron=lif_scan.Leaky(threshold=0.1))
    network = SurrogateNetwork(config, torch_generator(0, "test"))
    images = torch.rand(6, 28, 28, generator=torch.Generator().manual_seed(0))
    optimiser = surrogate_gradient.adam(network.parameters(), 1e-2)
    for _ in range(2):
        loss = surrogate_gradient.spike_count_loss(network(images), torch.arange(6))
        surrogate_gradient.step_(loss, optimiser)
    weights = {name: each.detach().numpy() for name, each in network.named_parameters()}
    return {"spikes": network(images).sum(0).detach().numpy(), **weights}


NETWORKS: dict[str, Callable[[], Answers]] = {
    each.__name__: each for each in (first_spike_network, rate_lif_network, surrogate_network)
}


def answers(of: dict[str, Callable[[], Answers]]) -> Answers:
    """Return all that ``of`` answers, by name."""
    return {f"{name}: {key}": value for name, each in of.items() for key, value in each().items()}


def assert_same_bits(found: Answers, expected: Answers) -> None:
    """Fail unless every array is the same to the bit."""
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert value.size, name
        assert found[name].dtype == value.dtype, name
        np.testing.assert_array_equal(found[name], value, name)


def assert_all_same(every: Sequence[Answers], count: int) -> Answers:
    """Fail unless there are ``count`` equal answers, and return one."""
    assert len(every) == count
    for other in every:
        assert_same_bits(other, every[0])
    return every[0]


def in_threads() -> Answers:
    """Answer in three threads at once."""
    every: list[Answers] = []
    workers = [Thread(target=lambda: every.append(answers(KERNELS))) for _ in range(3)]
    for each in workers:
        each.start()
    for each in workers:
        each.join()
    return assert_all_same(every, 3)


class _Items(torch.utils.data.Dataset):
    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> Answers:
        return answers(KERNELS)


def _in_grandchild(_: int) -> Answers:
    receiving, sending = get_context("fork").Pipe(duplex=False)
    child = os.fork()
    if child == 0:
        sending.send(answers(KERNELS))
        os._exit(0)
    found = receiving.recv()
    os.waitpid(child, 0)
    return found


def _answers(_: int) -> Answers:
    torch.set_num_threads(1)  # torch sums in another order in two
    return answers(KERNELS | NETWORKS)


def in_processes() -> Answers:
    """Answer here, and then in processes of all kinds, torch's workers included."""
    torch.set_num_threads(2)
    surrogate_network()  # its threads have begun, too
    here = _answers(0)
    with get_context("fork").Pool(2) as pool:
        assert_all_same([here, *pool.map(_answers, range(2))], 3)
        kernels = assert_all_same(pool.map(_in_grandchild, range(1)), 1)
    loader = torch.utils.data.DataLoader(_Items(), batch_size=None, num_workers=2, collate_fn=lambda item: item)
    assert_all_same([kernels, *loader], 3)
    assert_all_same([kernels, {name: here[name] for name in kernels}], 2)
    with get_context("spawn").Pool(1) as pool:
        assert_all_same([here, *pool.map(_answers, range(1))], 2)
    return here


def _main(way: str, file: str) -> None:
    ways = {
        "all": lambda: _answers(0), "threads": in_threads, "processes": in_processes,
        "python": lambda: answers(WITHOUT_VECTORS),
    }  # fmt: skip
    np.savez(file, allow_pickle=False, **ways[way]())


if __name__ == "__main__":
    _main(*sys.argv[1:])
