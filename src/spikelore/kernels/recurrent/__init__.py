"""Recurrent layers of current-based leaky integrate-and-fire neurons over all steps, and the way back through time.

Forward, for the H neurons of a layer, from I[-1] = U[-1] = 0 and S[-1] = 0, in this order in each step:

    I[t] = alpha I[t-1] + C[t] + V S[t-1]
    U[t] = r[t] (beta U[t-1] + I[t])                               (reset ``zero``)
    U[t] = beta U[t-1] + r[t] I[t] - threshold S[t-1]              (reset ``subtract``)
    S[t] = 1 if U[t] > threshold and r[t] else 0

C are the currents that come from outside, and r[t] is 0 in the ``refractory`` steps after a spike (with the reset
``zero`` in one more, the first), else 1: the neuron takes no current then and does not spike. alpha = exp(-dt /
tau_syn) and beta = exp(-dt / tau_mem), one a neuron. Neurons without `Spiking` only integrate, U[t] = beta U[t-1] +
I[t]: a leaky readout. Backward, with r and the reset as constants and dS/dU replaced by the surrogate's slope g:

    dL/dU[t] = (dL/dS[t] + V' dL/dI[t+1]) r[t] g(U[t] - threshold) + beta k[t+1] dL/dU[t+1]
    dL/dI[t] = r[t] dL/dU[t] + alpha dL/dI[t+1],      dL/dC[t] = dL/dI[t]
    dL/dV = sum_t dL/dI[t] S[t-1]',   dL/dalpha = sum_t dL/dI[t] I[t-1],   dL/dbeta = sum_t k[t] dL/dU[t] U[t-1]

with k = r for ``zero``, 1 for ``subtract``. For B examples of T steps with E spikes in all, the way forward takes
E H additions and 6 T B H operations and writes 8 T B H bytes; the way back takes T B H^2 multiply-adds, since errors
are not sparse, and E H additions. Nothing is allocated within the steps. The fast form takes dL/dI below 1e-17 as 0.

Source: Zenke & Vogels 2021 (doi 10.1162/neco_a_01367) and the SpyTorch tutorials, with these deviations: a current
acts in the step in which it comes, not in the next, and so does a spike; both as in snnTorch's ``RSynaptic``
(Eshraghian et al. 2023), which this equals with refractory 0. Cramer et al. 2020 (doi 10.1109/TNNLS.2020.3044364).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spikelore.kernels import DEFAULT_BACKEND, select, spike_linear
from spikelore.kernels.recurrent import numba_cpu, reference
from spikelore.kernels.recurrent.model import Spiking
from spikelore.kernels.spike_linear import SpikeRows

__all__ = ["Course", "Gradients", "Spiking", "backward", "forward"]

_BACKENDS = {"reference": reference, "numba_cpu": numba_cpu}
Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Course:
    """What a layer did, each (T,B,H).

    Attributes:
        spikes: 0 or 1; None of neurons that only integrate.
        potentials: after the reset of the step before.
        synaptic: the currents I; None where they were not asked for.
        rows: the spikes as lists, a row for each step and example; None without spikes.
    """

    spikes: Floats | None
    potentials: Floats
    synaptic: Floats | None
    rows: SpikeRows | None


@dataclass(frozen=True, eq=False)
class Gradients:
    """Gradients of what `forward` was given.

    Attributes:
        currents: (T,B,H); with the spikes of the step before they make dL/dV, see `spike_linear`.
        alpha: (H,), or None where the course has no synaptic currents.
        beta: likewise.
    """

    currents: Floats
    alpha: Floats | None
    beta: Floats | None


def forward(
    currents: Floats,
    recurrent: Floats | None,
    alpha: Floats,
    beta: Floats,
    neuron: Spiking | None,
    *,
    with_synaptic: bool = False,
    state: Floats | None = None,
    backend: str = DEFAULT_BACKEND,
) -> Course:
    """Let a layer run over all steps, from rest or from a state.

    Args:
        currents: C, (T,B,H) float32, contiguous.
        recurrent: V, (H,H), from the neuron of a column to that of a row; None for none.
        alpha: (H,) what is left of the synaptic current after a step.
        beta: (H,) what is left of the potential.
        neuron: None for neurons that only integrate.
        with_synaptic: keep the synaptic currents too, for the gradients of alpha and beta.
        state: (4,B,H) to go on from, and where the state after the last step is written: currents, potentials, spikes,
            and the steps for which a neuron takes no current yet. Zeros are rest, None is that, too.
        backend: ``numba_cpu``, in float32, or ``reference``, in the type of the currents; their sums differ in order.
    """
    used = select(_BACKENDS, backend)
    spikes, potentials, synaptic = used.forward(currents, recurrent, alpha, beta, neuron, with_synaptic, state)
    rows = None if spikes is None else spike_linear.rows_of(spikes, backend=backend)
    return Course(spikes, potentials, synaptic, rows)


def backward(
    spike_gradients: Floats | None,
    potential_gradients: Floats | None,
    course: Course,
    recurrent: Floats | None,
    alpha: Floats,
    beta: Floats,
    neuron: Spiking | None,
    *,
    backend: str = DEFAULT_BACKEND,
) -> Gradients:
    """Go back through all steps.

    Args:
        spike_gradients: dL/dS, (T,B,H), or None for nowhere.
        potential_gradients: dL/dU where the loss reads potentials, (T,B,H), or None.
        course: what `forward` returned; with synaptic currents alpha and beta get gradients.
        recurrent: as given to `forward`, as are the others.
        alpha: likewise.
        beta: likewise.
        neuron: likewise.
        backend: ``numba_cpu`` or ``reference``.
    """
    used = select(_BACKENDS, backend)
    currents, to_alpha, to_beta = used.backward(
        spike_gradients, potential_gradients, course.spikes, course.potentials, course.synaptic, recurrent, alpha,
        beta, neuron,
    )  # fmt: skip
    return Gradients(currents, to_alpha, to_beta)
