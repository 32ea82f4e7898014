"""Speed of the recurrent network beside snnTorch's and SpikingJelly's, with its results checked in the same run.

The work is that of the published keyword network, 700-200-100-50-20 with three recurrent layers and a leaky readout:
T = 100 bins of 14 ms, batches of 64, float32, recordings of about 5000 spikes drawn at random. A training step is
forward, the cross entropy of the largest potential over time, backward and Adam. All networks have the same weights.
snnTorch's ``RSynaptic`` is the same network, so that its answers and gradients are compared, too. SpikingJelly's
``CUBALIFNode`` (torch backend) does the same work but empties a neuron in the step of its spike, not in the next, so
that only its time is taken. What is not installed is left out, and the output says so.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812 - the field's name

from spikelore.bench.rounds import best_of_rounds
from spikelore.errors import InputError, SpikeloreError
from spikelore.experiments import optional
from spikelore.experiments.run_folder import versions
from spikelore.kernels.recurrent import Spiking
from spikelore.learning.surrogate_gradient import adam, membrane_loss, step_
from spikelore.networks.heads import linear_layers
from spikelore.networks.recurrent import RecurrentNetwork
from spikelore.networks.recurrent_config import RecurrentConfig
from spikelore.randomness import generator, torch_generator

_BATCH = 64
_CHECKED = 8
_SHARE = 0.07
"""Share of units and steps that spike: about 4900 of 70,000."""
_GRID = 1024.0  # checked weights are multiples of 1/1024: sums are exact, so their order cannot move a spike

_LOUDER = 6.0  # times the initial weights, so that about a tenth of the neurons spikes
_CONFIG = RecurrentConfig.published(
    tau_mem_ms=10.0, tau_syn_ms=5.0, readout_tau_mem_ms=10.0, readout_tau_syn_ms=5.0, neuron=Spiking(slope=25.0)
)


class SnnTorchNetwork(torch.nn.Module):
    """The same network and weights in snnTorch, written as its tutorials do: a loop over steps of RSynaptic neurons."""

    def __init__(self, network: RecurrentNetwork) -> None:
        super().__init__()
        import snntorch
        from snntorch import surrogate

        config = network.config
        self.network = network
        self.neurons = torch.nn.ModuleList()
        for times, layer, own in zip(network.times, network.hidden, network.connections.values(), strict=True):
            alpha, beta = times(layer.out_features)
            neuron = snntorch.RSynaptic(
                alpha=alpha[0].detach(), beta=beta[0].detach(), linear_features=layer.out_features,
                threshold=config.neuron.threshold, reset_mechanism=config.neuron.reset,
                spike_grad=surrogate.fast_sigmoid(slope=int(config.neuron.slope)),
            )  # fmt: skip
            neuron.recurrent = own  # type: ignore[assignment]
            self.neurons.append(neuron)
        alpha, beta = network.readout_times(1)
        self.readout = snntorch.Synaptic(alpha=alpha[0].detach(), beta=beta[0].detach(), reset_mechanism="none")

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the output potentials, (T,B,classes), of (B,T,units) spikes."""
        states: list[Any] = [neuron.reset_mem() for neuron in self.neurons]  # type: ignore[operator]
        synaptic, potential = self.readout.reset_mem()
        output = []
        for signal in inputs.transpose(0, 1):
            for index, layer in enumerate(self.network.hidden):
                states[index] = self.neurons[index](layer(signal), *states[index])
                signal = states[index][0]
            _, synaptic, potential = self.readout(self.network.heads[0](signal), synaptic, potential)
            output.append(potential)
        return torch.stack(output)


class SpikingJellyNetwork(torch.nn.Module):
    """The same work in SpikingJelly: currents of all steps at once, then a loop of CUBALIFNode and its own spikes."""

    def __init__(self, network: RecurrentNetwork) -> None:
        super().__init__()
        from spikingjelly.activation_based import functional, neuron, surrogate

        self.network, self.functional = network, functional
        neurons = []
        for times, layer in zip(network.times, network.hidden, strict=True):
            alpha, beta = (float(each[0]) for each in times(layer.out_features))  # type: ignore[operator]
            slope = surrogate.ATan(alpha=0.5)  # the fast sigmoid there is steeper by its slope, too steep for 100 steps
            neurons.append(neuron.CUBALIFNode(c_decay=alpha, v_decay=beta, v_threshold=1.0, surrogate_function=slope))
        self.neurons = torch.nn.ModuleList(neurons)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the output potentials, (T,B,classes), of (B,T,units) spikes."""
        self.functional.reset_net(self)
        signal = inputs.transpose(0, 1)
        parts = zip(self.network.hidden, self.network.connections.values(), self.neurons, strict=True)
        for layer, own, neurons in parts:
            currents = layer(signal)
            spike = torch.zeros_like(currents[0])
            spikes = []
            for current in currents:
                spike = neurons(current + own(spike))
                spikes.append(spike)
            signal = torch.stack(spikes)
        alpha, beta = (float(each[0]) for each in self.network.readout_times(1))
        synaptic = potential = torch.zeros(())
        output = []
        for current in self.network.heads[0](signal):
            synaptic = alpha * synaptic + current
            potential = beta * potential + synaptic
            output.append(potential)
        return torch.stack(output)


_PEERS: dict[str, Callable[[RecurrentNetwork], torch.nn.Module]] = {
    "snntorch": SnnTorchNetwork,
    "spikingjelly": SpikingJellyNetwork,
}


def _network(seed: int, backend: str = "numba_cpu") -> RecurrentNetwork:
    network = RecurrentNetwork(_CONFIG, torch_generator(seed, "bench"), backend=backend)
    with torch.no_grad():
        for layer in linear_layers(network.hidden):
            layer.weight.mul_(_LOUDER)
        for parameter in network.parameters():
            if parameter.requires_grad:
                parameter.copy_((parameter * _GRID).round() / _GRID)
    return network


def _answers(network: torch.nn.Module, inputs: torch.Tensor, labels: torch.Tensor) -> dict[str, np.ndarray]:
    """Return output potentials and every weight's gradient."""
    potentials = network(inputs)
    membrane_loss(potentials, labels).backward()
    ours = getattr(network, "network", network)
    gradients = {name: each.grad.numpy() for name, each in ours.named_parameters() if each.grad is not None}
    return {"potentials": potentials.detach().numpy(), **gradients}


def _check(seed: int, inputs: torch.Tensor, labels: torch.Tensor) -> str:
    """Compare potentials and gradients with the reference kernels' and, where it is installed, snnTorch's."""
    others: dict[str, torch.nn.Module] = {"the reference": _network(seed, "reference")}
    if not isinstance(optional.find("snntorch"), str):
        others["snnTorch"] = SnnTorchNetwork(_network(seed))
    network = _network(seed)
    found = _answers(network, inputs, labels)
    with torch.no_grad():
        spiking = [float(each.mean()) for each in network.layer_inputs(inputs).values()]
    for name, other in others.items():
        expected = _answers(other, inputs, labels)
        close = found.keys() == expected.keys() and all(
            np.abs(found[one] - wanted).max() <= 1e-4 * np.abs(wanted).max() for one, wanted in expected.items()
        )
        if min(spiking) < 1e-3 or not close:
            raise SpikeloreError(
                f"bench: potentials or gradients of the fast kernels differ from {name}'s; their speed does not count"
            )
    return f"potentials and gradients within 1e-4 of the largest: {', '.join(others)}"


def _train(
    network: torch.nn.Module, optimiser: torch.optim.Adam, batches: Sequence[torch.Tensor], labels: torch.Tensor
) -> None:
    for part, targets in zip(batches, labels.split(_BATCH), strict=True):
        step_(F.cross_entropy(network(part).amax(0), targets), optimiser)


@torch.no_grad()
def _infer(network: torch.nn.Module, batches: Sequence[torch.Tensor]) -> None:
    for part in batches:
        network(part)


def recurrent(recordings: int, seed: int) -> dict[str, Any]:
    """Measure a training step and inference on random recordings.

    Args:
        recordings: recordings a measurement, at least a batch of 64.
        seed: of the networks and recordings.

    Raises:
        InputError: too few recordings.
        SpikeloreError: potentials or gradients are not those of the reference or of snnTorch.
    """
    if recordings < _BATCH:
        raise InputError(f"--images is {recordings}; measure at least {_BATCH}, one batch")
    count = recordings // _BATCH * _BATCH
    config, rng = _CONFIG, generator(seed, "bench recordings")
    shape = (config.steps, _BATCH, *config.units)
    drawn = [(rng.random(shape, np.float32) < _SHARE).astype(np.float32) for _ in range(count // _BATCH)]
    spikes = [torch.from_numpy(each).transpose(0, 1) for each in drawn]
    labels = torch.from_numpy(rng.integers(0, config.classes, count))
    checked = _check(seed, spikes[0][:_CHECKED], labels[:_CHECKED])
    networks: dict[str, torch.nn.Module] = {"ours": _network(seed)}
    missing = {name: reason for name in _PEERS if isinstance(reason := optional.find(name), str)}
    networks |= {name: make(_network(seed)) for name, make in _PEERS.items() if name not in missing}
    teach = [partial(_train, net, adam(_learned(net)), spikes, labels) for net in networks.values()]
    rows: list[dict[str, Any]] = []
    for work, actions in {
        "training": teach,
        "inference": [partial(_infer, net, spikes) for net in networks.values()],
    }.items():
        spent = dict(zip(networks, best_of_rounds(actions), strict=True))
        steps = {f"{name}_ms_a_batch": round(1e3 * each * _BATCH / count, 1) for name, each in spent.items()}
        ratios = {f"{name}_ratio": round(spent[name] / spent["ours"], 2) for name in spent if name != "ours"}
        rows.append({"work": work, **steps, **ratios})
    return {
        "bench": "recurrent",
        "recordings": count,
        "spikes_a_recording": round(sum(float(each.sum()) for each in spikes) / count),
        "threads": torch.get_num_threads(),
        "checked": checked,
        "left_out": missing,
        "versions": versions(),
        "rows": rows,
    }


def _learned(network: torch.nn.Module) -> list[torch.nn.Parameter]:
    ours = getattr(network, "network", network)
    return [each for each in ours.parameters() if each.requires_grad]
