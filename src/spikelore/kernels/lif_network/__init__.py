"""A rate-coded network of leaky integrate-and-fire neurons with supervised STDP.

Excitatory neurons (potential v, conductances ge from inputs and gi from inhibition, adaptive threshold vt)
have one inhibitory partner each (potential u, conductance d). Clock-driven Euler integration; a step does

1. state update: ``v += dt/tau_e (ge (E_e - v) + gi (E_i - v) + (v_rest - v))``, ``ge -= dt/tau_ge ge``,
   ``gi -= dt/tau_gi gi``, ``vt += dt/tau_vt (vt_rest - vt)``, ``u += dt/tau_i (d (E_e - u) + (u_rest - u))``,
   ``d -= dt/tau_ge d``; refractory neurons go on integrating and only cannot fire;
2. thresholds: a neuron fires when v exceeds the firing threshold: vt as it was when the image began
   (``hold``), or vt now (``continuous``); an inhibitory one when u exceeds a constant;
3. input spikes: [``w *= exp(-p ((t - t_pre)/tau_prune)**2)``], ``ge += w``, ``A_pre += a_pre``,
   ``w = clip(w + lr_pre A_post, 0, w_max)``, ``t_pre = t``;
4. output spikes: ``A_post += a_post`` (negative), ``w = clip(w + lr_post A_pre, 0, w_max)``; arrivals of
   delayed spikes: partner ``d += w_ei``, all other excitatory neurons ``gi += w_ie``;
5. resets: ``v = v_reset``, ``vt += step``; ``u = u_reset``.

A_pre and A_post decay exponentially. STDP: lr_post = 1; all-LTD: lr_post = -1, so a neuron that fires for
another class loses the weights that made it fire. Each neuron has a plasticity p, 1 if not said otherwise, that
scales lr_pre, lr_post and the exponent of the decay: with 0 its weights stay bit for bit while it fires and inhibits.

For n neurons of each kind a step takes 21 n operations in float64 and 2 n comparisons, 3 n more where the threshold
moves, and reads and writes five states, 80 n bytes in the nearest cache. An input spike adds n weights, 8 n bytes, and
where they learn changes each once for each output spike since its last one; an inhibitory spike takes n additions.

Sources: Diehl and Cook 2015 (doi 10.3389/fncom.2015.00099); Antonov and Sukhov 2024 ("Weight regularization
in spiking neural networks", Neuroinformatics) for the supervised rule; order inside a step as in Brian2.
"""

import numpy as np
from numpy.typing import NDArray

from spikelore.kernels import DEFAULT_BACKEND, select
from spikelore.kernels.lif_network import numba_cpu, reference
from spikelore.kernels.lif_network.model import (
    Constants,
    Counts,
    Delays,
    Events,
    Forcing,
    Plasticity,
    Presentation,
    Rule,
    Spikes,
    State,
    initial_state,
)
from spikelore.shapes import Images

__all__ = [
    "Constants",
    "Counts",
    "Delays",
    "Events",
    "Forcing",
    "Plasticity",
    "Presentation",
    "Rule",
    "Spikes",
    "State",
    "count_spikes",
    "initial_state",
    "run_",
    "train_",
    "train_forced_",
]

_BACKENDS = {"reference": reference, "numba_cpu": numba_cpu}


def run_(
    state: State,
    constants: Constants,
    delays: Delays,
    events: Events,
    plasticity: Plasticity,
    *,
    backend: str = DEFAULT_BACKEND,
) -> Spikes:
    """Advance ``state`` by the steps of ``events`` and return every spike.

    Args:
        state: changed in place.
        constants: see `Constants`.
        delays: see `Delays`.
        events: input spikes by step.
        plasticity: learning rates of the neurons.
        backend: ``numba_cpu`` or ``reference``.

    Returns:
        excitatory and inhibitory spikes, rows of (step, neuron).
    """
    return select(_BACKENDS, backend).run_(state, constants, delays, events, plasticity)


def train_(
    state: State,
    constants: Constants,
    delays: Delays,
    presentation: Presentation,
    rule: Rule,
    images: Images,
    targets: NDArray[np.int64],
    neuron_class: NDArray[np.int64],
    *,
    plasticity: NDArray[np.float64] | None = None,
    seed: int,
    stream: int,
    first_image: int,
    backend: str = DEFAULT_BACKEND,
) -> NDArray[np.int64]:
    """Show ``images`` one after another to a learning network, whose state goes on from each to the next.

    Each is shown for ``active_steps`` and followed by ``silent_steps``; with ``hold`` the firing threshold is
    sampled when it begins.

    Args:
        state: changed in place.
        constants: see `Constants`.
        delays: see `Delays`.
        presentation: see `Presentation`.
        rule: see `Rule`.
        images: (N,H,W) uint8; inputs are pixels in row order.
        targets: (N,), index of each image's class.
        neuron_class: (number of neurons,), index of the class that each neuron stands for.
        plasticity: (number of neurons,), p of each, 0 to 1; None for 1.
        seed: root seed of the spike trains, see `spikelore.kernels.lif_network.spike_trains`.
        stream: number of the family of spike trains.
        first_image: index of the first image in the family.
        backend: ``numba_cpu`` or ``reference``.

    Returns:
        (N, number of neurons) excitatory spikes.
    """
    rates = np.ones(len(neuron_class)) if plasticity is None else np.asarray(plasticity, np.float64)
    return select(_BACKENDS, backend).train_(
        state, constants, delays, presentation, rule, images, targets, neuron_class, rates, seed, stream, first_image
    )


def train_forced_(
    state: State,
    constants: Constants,
    delays: Delays,
    presentation: Presentation,
    forcing: Forcing,
    images: Images,
    targets: NDArray[np.int64],
    neuron_class: NDArray[np.int64],
    *,
    plasticity: NDArray[np.float64] | None = None,
    seed: int,
    stream: int,
    first_image: int,
    backend: str = DEFAULT_BACKEND,
) -> NDArray[np.int64]:
    """Show ``images`` to a learning network of which only the group of each image's class takes part.

    The other neurons are held still, as if a teacher inhibited them, and learn nothing. The K neurons of the
    group start each image at rest, as in testing, with the threshold ``threshold_rest + theta_j``, and compete
    through their inhibitory partners. Then, with n_j the spikes of neuron j,

        at an output spike   ``w = clip(w + A_pre, 0, w_max)``, nothing at input spikes;
        after the image      if n_j > 0: ``w_j = min(w_j (p_j S / |w_j| + 1 - p_j), w_max)`` over the inputs in use,
                             those that spiked at most ``in_use_steps`` before its end;
                             ``theta_j += p_j H (n_j / sum(n) - 1 / K)``, with 0 for the share if no neuron fired.

    So each neuron's weights turn towards the mean of the images that it wins, at a constant length, and all
    neurons of a group win equally often. Testing leaves theta out.

    Sources: the teacher and the rule at output spikes alone as in Diehl and Cook 2015 (doi
    10.3389/fncom.2015.00099) and Querlioz et al. 2013 (doi 10.1109/TNANO.2013.2250995); a constant Euclidean
    norm as Oja 1982 (doi 10.1007/BF00275687); winning equally often as DeSieno 1988 (doi
    10.1109/ICNN.1988.23839). Deviations: the norm is restored once an image; theta neither decays nor stays
    for testing.

    Args:
        state: changed in place; its potentials, conductances and queues are not used and stay.
        constants: see `Constants`; a threshold that holds.
        delays: see `Delays`.
        presentation: see `Presentation`; the silence passes, with nothing to compute.
        forcing: S, H and the steps in use, see `Forcing`.
        images: as for `train_`, as is all that follows.
        targets: (N,), index of each image's class, each with at least one neuron.
        neuron_class: (number of neurons,).
        plasticity: as for `train_`.
        seed: root seed.
        stream: number of the family of spike trains.
        first_image: index of the first image in the family.
        backend: ``numba_cpu`` or ``reference``.

    Returns:
        (N, number of neurons) excitatory spikes; none in the groups that were held.
    """
    rates = np.ones(len(neuron_class)) if plasticity is None else np.asarray(plasticity, np.float64)
    return select(_BACKENDS, backend).train_forced_(
        state, constants, delays, presentation, forcing, images, targets, neuron_class, rates, seed, stream, first_image
    )


def count_spikes(
    state: State,
    constants: Constants,
    delays: Delays,
    presentation: Presentation,
    images: Images,
    *,
    seed: int,
    stream: int,
    indices: NDArray[np.int64],
    backend: str = DEFAULT_BACKEND,
) -> Counts:
    """Return how many spikes each image causes when it is shown to a network in ``state``.

    Every image starts from ``state``, which does not change, so the counts depend neither on the order of
    the images nor on the number of cores. No learning, no silence after the image.

    Args:
        state: as for `train_`; its firing threshold holds (``hold``) or is left at once (``continuous``).
        constants: see `Constants`.
        delays: see `Delays`.
        presentation: see `Presentation`.
        images: (N,H,W) uint8.
        seed: as for `train_`.
        stream: as for `train_`.
        indices: (N,), each image's index in the family of spike trains, 0 or more.
        backend: ``numba_cpu`` or ``reference``.

    Returns:
        spikes of the inputs, of each excitatory neuron and of the inhibitory ones, by image.
    """
    return select(_BACKENDS, backend).count_spikes(
        state, constants, delays, presentation, images, seed, stream, indices
    )
