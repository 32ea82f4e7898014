"""What a LIF network is made of: its constants, its delays and its state."""

from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

LONG_AGO = -(10**12)
"""Step of the last spike of a neuron that never fired."""


class Constants(NamedTuple):
    """The constants of `spikelore.kernels.lif_network`; potentials in mV, times in ms, weights unitless."""

    dt_ms: float
    continuous_threshold: bool
    exc_rest_mv: float
    exc_reset_mv: float
    exc_tau_ms: float
    exc_refractory_steps: int
    exc_reversal_mv: float
    inh_reversal_mv: float
    exc_conductance_tau_ms: float
    inh_conductance_tau_ms: float
    threshold_rest_mv: float
    threshold_tau_ms: float
    threshold_step_mv: float
    inh_rest_mv: float
    inh_reset_mv: float
    inh_tau_ms: float
    inh_refractory_steps: int
    inh_threshold_mv: float
    exc_to_inh_weight: float
    inh_to_exc_weight: float
    weight_max: float
    pre_trace_step: float
    post_trace_step: float
    pre_trace_tau_ms: float
    post_trace_tau_ms: float
    tau_prune_ms: float


@dataclass
class State:
    """Everything that a LIF network carries from one step to the next; I inputs, N neurons of each kind.

    ``exc_`` is an excitatory neuron, ``inh_`` its inhibitory partner. The spike queues are rings: row
    ``step % rows`` holds the spikes that arrive in this step.
    """

    weights: Floats
    """(I,N), input to excitatory neuron."""
    exc_potential: Floats
    """(N,) mV."""
    exc_conductance: Floats
    """(N,), opened by inputs."""
    inh_conductance: Floats
    """(N,), opened on the excitatory neuron by inhibitory ones."""
    adaptive_threshold: Floats
    """(N,) mV."""
    firing_threshold: Floats
    """(N,) mV, what the potential must exceed; with a continuous threshold it follows the adaptive one."""
    homeostatic_threshold: Floats
    """(N,) mV, added to the firing threshold in training with `Forcing`."""
    exc_last_spike: Integers
    """(N,) step."""
    post_trace: Floats
    """(N,), as it was at the neuron's last spike."""
    inh_potential: Floats
    """(N,) mV."""
    inh_drive: Floats
    """(N,), conductance opened on the inhibitory neuron by its partner."""
    inh_last_spike: Integers
    """(N,) step."""
    pre_trace: Floats
    """(I,), as it was at the input's last spike."""
    last_input_spike: Integers
    """(I,) step of each input's last spike, 0 at the start."""
    to_inh_queue: Integers
    """(R,N), spikes on their way to inhibitory neurons; R - 1 steps is the longest delay."""
    to_exc_queue: Integers
    """(R',N), inhibitory spikes on their way to excitatory neurons."""
    step: Integers
    """(1,), the step to come."""

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays by name; they are the state's own, not copies."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def copy(self) -> "State":
        """Return a state that shares no array with this one."""
        return State(**{name: array.copy() for name, array in self.arrays().items()})


class Delays(NamedTuple):
    """Delays between excitatory and inhibitory neurons, in steps; integers of any size."""

    exc_to_inh: NDArray[np.integer]
    """(N,)"""
    inh_to_exc: NDArray[np.integer]
    """(N,N), from, to; may be one number that is broadcast."""


class Events(NamedTuple):
    """Input spikes by step: those of step ``t`` are ``inputs[starts[t]:starts[t + 1]]``, ascending."""

    starts: Integers
    """(T+1,)"""
    inputs: NDArray[np.int32]
    """(number of spikes,)"""


class Plasticity(NamedTuple):
    """Learning rates a neuron: ``pre`` scales the change at input spikes, ``post`` that at its own."""

    pre: Floats
    """(N,); 1 in training, 0 in testing."""
    post: Floats
    """(N,); 1 for STDP, -1 for all-LTD, 0 in testing."""
    decay: Floats
    """(N,); scales the exponent of the decay at input spikes; 1 in training."""


class Presentation(NamedTuple):
    """How an image is shown."""

    active_steps: int
    silent_steps: int
    probabilities: Floats
    """(256,), spike probability a step of each grey level."""
    scales: Floats
    """(256,), 1 / log(1 - probability); 0 where the probability is 0 or 1."""


class Rule(NamedTuple):
    """How training teaches when all neurons take part: rates of `Plasticity.post`; those of ``pre`` are 1."""

    target_post_rate: float
    """In the neurons of the image's class; 1 is STDP."""
    other_post_rate: float
    """In all others; -1 is all-LTD."""


class Forcing(NamedTuple):
    """How training teaches when only the neurons of the image's class take part; see `train_forced_`."""

    weight_norm: float
    """Euclidean norm S of a neuron's weights."""
    in_use_steps: int
    """How long ago an input spiked at most for its weights to be scaled."""
    homeostasis_mv: float
    """Change H of the homeostatic thresholds an image."""


class Counts(NamedTuple):
    """How many spikes each of M images causes in N neurons of each kind."""

    inputs: Integers
    """(M,), of all inputs together."""
    exc: Integers
    """(M,N)"""
    inh: Integers
    """(M,), of all inhibitory neurons together."""


class Spikes(NamedTuple):
    """Spikes as rows of (step, neuron), in order."""

    exc: Integers
    inh: Integers


def initial_state(weights: Floats, constants: Constants, delays: Delays, potential_mv: tuple[float, float]) -> State:
    """Return the state before the first step, with excitatory and inhibitory potentials ``potential_mv``."""
    inputs, neurons = weights.shape
    return State(
        weights=np.array(weights, np.float64),
        exc_potential=np.full(neurons, potential_mv[0], np.float64),
        exc_conductance=np.zeros(neurons),
        inh_conductance=np.zeros(neurons),
        adaptive_threshold=np.full(neurons, constants.threshold_rest_mv, np.float64),
        firing_threshold=np.full(neurons, constants.threshold_rest_mv, np.float64),
        homeostatic_threshold=np.zeros(neurons),
        exc_last_spike=np.full(neurons, LONG_AGO, np.int64),
        post_trace=np.zeros(neurons),
        inh_potential=np.full(neurons, potential_mv[1], np.float64),
        inh_drive=np.zeros(neurons),
        inh_last_spike=np.full(neurons, LONG_AGO, np.int64),
        pre_trace=np.zeros(inputs),
        last_input_spike=np.zeros(inputs, np.int64),
        to_inh_queue=np.zeros((int(delays.exc_to_inh.max(initial=0)) + 1, neurons), np.int64),
        to_exc_queue=np.zeros((int(delays.inh_to_exc.max(initial=0)) + 1, neurons), np.int64),
        step=np.zeros(1, np.int64),
    )
