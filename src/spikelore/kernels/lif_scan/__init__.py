"""Leaky integrate-and-fire neurons over all steps of an input, and the surrogate gradient back through them.

Forward, for each neuron, from U[-1] = 0 and S[-1] = 0:

    U[t] = beta U[t-1] + I[t] - threshold S[t-1]        (reset ``subtract``)
    U[t] = beta (1 - S[t-1]) U[t-1] + I[t]              (reset ``zero``)
    S[t] = 1 if U[t] > threshold else 0

so that a spike resets its neuron one step later. Backward, with the reset taken as a constant and dS/dU
replaced by the surrogate's slope g(U - threshold):

    dL/dU[t] = dL/dS[t] g(U[t] - threshold) + beta r[t] dL/dU[t+1],      dL/dI[t] = dL/dU[t]

with r[t] = 1 for ``subtract`` and 1 - S[t] for ``zero``. Source: Zenke & Ganguli 2018 (doi
10.1162/neco_a_01086) for the fast sigmoid, Fang et al. 2021 (arXiv 2007.05785) for atan; conventions as in
snnTorch's ``Leaky`` (Eshraghian et al. 2023, doi 10.1109/JPROC.2023.3308088).

For M neurons the way forward takes 3 T M operations and T M comparisons, reads 4 T M bytes of currents, or 4 M where
they are the same at every step, and writes 4 T M of spikes. The way back takes the 3 T M again and some 9 T M more
for slopes and sums, reads the currents and 4 T M bytes of gradients, and writes gradients of the size of the
currents.
"""

import numpy as np
from numpy.typing import NDArray

from spikelore.kernels import DEFAULT_BACKEND, select
from spikelore.kernels.lif_scan import numba_cpu, reference
from spikelore.kernels.lif_scan.model import Leaky

__all__ = ["Leaky", "backward", "forward"]

_BACKENDS = {"reference": reference, "numba_cpu": numba_cpu}


def forward(
    currents: NDArray[np.float32],
    leaky: Leaky,
    *,
    steps: int,
    with_potentials: bool = False,
    backend: str = DEFAULT_BACKEND,
) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    """Scan ``steps`` steps.

    Args:
        currents: (T,M) float32 input of each neuron at each step, or (1,M): the same at every step.
        leaky: the neurons' constants.
        steps: T.
        with_potentials: return the potentials too.
        backend: ``numba_cpu`` or ``reference``.

    Returns:
        Spikes and, where asked for, membrane potentials before the reset, each (T,M) float32.
    """
    return select(_BACKENDS, backend).forward(currents, leaky, steps, with_potentials)


def backward(
    spike_gradients: NDArray[np.float32],
    potential_gradients: NDArray[np.float32] | None,
    currents: NDArray[np.float32],
    leaky: Leaky,
    *,
    backend: str = DEFAULT_BACKEND,
) -> NDArray[np.float32]:
    """Return dL/dI, of the currents' shape: summed over the steps where the currents were the same at each.

    Args:
        spike_gradients: (T,M) float32, dL/dS.
        potential_gradients: (T,M) float32, dL/dU where the loss reads potentials; None for nowhere.
        currents: as given to `forward`.
        leaky: the neurons' constants.
        backend: ``numba_cpu`` or ``reference``.
    """
    return select(_BACKENDS, backend).backward(spike_gradients, potential_gradients, currents, leaky)
