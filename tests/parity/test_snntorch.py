"""The surrogate network beside snnTorch's Leaky: the same spikes and gradients for the same weights and input."""

import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from spikelore.kernels.lif_scan import Leaky
from spikelore.learning.surrogate_gradient import membrane_loss, spike_count_loss
from spikelore.networks.autograd import scan_with_potentials
from spikelore.networks.surrogate import SurrogateConfig, SurrogateNetwork
from spikelore.randomness import torch_generator

snntorch = pytest.importorskip("snntorch", reason="snnTorch is not installed; install the test extra")
surrogate = pytest.importorskip("snntorch.surrogate")

KINDS = {"fast_sigmoid": (25, surrogate.fast_sigmoid(slope=25)), "atan": (2.0, surrogate.atan(alpha=2.0))}


def snntorch_answer(network, images):
    """Return output spikes and potentials of the same layers in a loop over snnTorch's neurons."""
    config = network.config
    neurons = [
        snntorch.Leaky(
            beta=config.neuron.beta, threshold=config.neuron.threshold, reset_mechanism=config.neuron.reset,
            spike_grad=KINDS[config.neuron.surrogate][1],
        )
        for _ in range(config.layers + 1)
    ]  # fmt: skip
    states = [neuron.reset_mem() for neuron in neurons]
    spikes, potentials = [], []
    for _ in range(config.steps):
        signal, layer = images[:, None], 0
        for convolution in network.convolutions:
            signal, states[layer] = neurons[layer](F.max_pool2d(convolution(signal), config.pool), states[layer])
            layer += 1
        signal = signal.flatten(1)
        for linear in (*network.hidden, network.heads[0]):
            signal, states[layer] = neurons[layer](linear(signal), states[layer])
            layer += 1
        spikes.append(signal)
        potentials.append(states[-1])
    return torch.stack(spikes), torch.stack(potentials)


@pytest.mark.parametrize("reset", ["subtract", "zero"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sizes", [{}, {"channels": (8, 20), "hidden": (24,), "image": (1, 23, 26)}])
def test_network_equals_snntorch(reset, kind, sizes):
    neuron = Leaky(reset=reset, surrogate=kind, slope=KINDS[kind][0])
    config = SurrogateConfig(steps=12, coding="constant", neuron=neuron, **sizes)
    network = SurrogateNetwork(config, torch_generator(0, "parity"))
    with torch.no_grad():  # multiples of 1/1024: no sum depends on its order, so no spike may differ
        for parameter in network.parameters():
            parameter.copy_((parameter * 4096).round() / 1024)
    images = (torch.rand(6, *config.image[1:], generator=torch.Generator().manual_seed(1)) * 8).round() / 8
    labels = torch.arange(6)
    answers = []
    for spikes, potentials in (network.with_potentials(images), snntorch_answer(network, images)):
        network.zero_grad()
        (spike_count_loss(spikes, labels) + membrane_loss(potentials, labels)).backward()
        gradients = [parameter.grad.clone() for parameter in network.parameters()]
        answers.append((spikes.detach(), potentials.detach(), gradients))
    (spikes, potentials, gradients), (peer_spikes, peer_potentials, peer_gradients) = answers
    assert 0.02 < peer_spikes.mean() < 0.98
    assert torch.equal(spikes, peer_spikes)
    assert torch.equal(potentials, peer_potentials)
    for found, expected in zip(gradients, peer_gradients, strict=True):
        assert expected.abs().max() > 0
        assert (found - expected).abs().max() <= 1e-4 * expected.abs().max()


def test_spikes_of_any_current_equal_those_of_leaky():
    currents = torch.randn(40, 5000, generator=torch.Generator().manual_seed(0)) * 0.7 + 0.2
    neuron = snntorch.Leaky(beta=0.93, threshold=0.8)
    state = neuron.reset_mem()
    expected = []
    for current in currents:
        spikes, state = neuron(current, state)
        expected.append(spikes)
    found, _ = scan_with_potentials(currents, Leaky(beta=0.93, threshold=0.8), 40)
    assert 0.1 < found.mean() < 0.9
    assert torch.equal(found, torch.stack(expected))
