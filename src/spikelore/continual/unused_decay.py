"""Use it or lose it: synapses that go unused fade.

The published regularisation (Antonov and Sukhov 2024, "Weight regularization in spiking neural networks",
Neuroinformatics) lets a weight fall with the time since its synapse's last presynaptic spike t_s,

    w(t) = w(t_s) exp(-k ((t - t_s) / tau_prune)**2).

`decay_unused_` applies it once, as the published code does after training. `OnlineDecay` applies it while
the network learns: applied at every presynaptic spike the formula drives all weights to zero, because each
pause between two spikes of a synapse in full use costs it something that nothing gives back. The baselines
`WeightDecay`, `prune_smallest_` and `prune_random_` take away as much without looking at use.

Everything here is written against `spikelore.networks.protocol.FadingSynapses`, not against one network.
"""

import math
from collections.abc import Mapping
from numbers import Real

import numpy as np
from numpy.typing import NDArray

from spikelore.errors import InputError
from spikelore.kernels.exponential import exponential
from spikelore.networks.protocol import FadingSynapses

FADED = 0.01
"""A weight counts as faded below this share of the largest possible weight."""


def kept_share(idle_ms: NDArray[np.float64], tau_prune_ms: float, strength: float = 1.0) -> NDArray[np.float64]:
    """Return what is left of a weight after ``idle_ms`` without use: ``exp(-strength (idle/tau_prune)**2)``.

    Args:
        idle_ms: time since the last use, any shape.
        tau_prune_ms: the time constant tau_prune, greater than 0.
        strength: the coefficient k, not negative.

    Raises:
        InputError: the time constant is not a positive number, or the strength not one of 0 or more.

    Example:
        >>> import numpy as np
        >>> from spikelore.continual.unused_decay import kept_share
        >>> kept_share(np.array([0.0, 7500.0, 15000.0]), 7500.0).round(3).tolist()
        [1.0, 0.368, 0.018]
    """
    _require_positive("tau_prune_ms", tau_prune_ms)
    _require_not_negative("strength", strength)
    idle = np.asarray(idle_ms, np.float64)
    if np.isnan(idle).any():
        raise InputError("idle_ms holds NaN, expected times; leave these synapses out")
    return exponential(-strength * (idle / tau_prune_ms) ** 2)


def decay_unused_(network: FadingSynapses, *, tau_prune_ms: float, strength: float = 1.0) -> None:
    """Apply the published factor once, in place, for the time since each synapse's last presynaptic spike.

    This is the published use: once, when training has ended. It is not idempotent: a second call charges the
    same idle time again.

    Args:
        network: whose weights change.
        tau_prune_ms: the published value is 5 x classes x 500 ms.
        strength: the published value is 1.

    Raises:
        InputError: as `kept_share`.
    """
    idle = network.now_ms - network.last_presynaptic_spike_ms
    _scale_(_weights(network), kept_share(idle, tau_prune_ms, strength))


class _Ticking:
    """What is charged from tick to tick remembers when the last one was."""

    def __init__(self) -> None:
        self.last_tick_ms = 0.0

    def state_dict(self) -> dict[str, np.ndarray]:
        """Return what a resumed run needs: the time of the last tick."""
        return {"last_tick_ms": np.array([self.last_tick_ms])}

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on from what `state_dict` returned.

        Raises:
            InputError: it holds no time of a tick.
        """
        tick = state.get("last_tick_ms")
        if tick is None or tick.shape != (1,) or not tick[0] >= 0:
            raise InputError(
                "the decay's state holds no time of its last tick; take the checkpoint of a run with decay"
            )
        self.last_tick_ms = float(tick[0])


class OnlineDecay(_Ticking):
    """The same decay during training, charged in ticks so that what is used is kept.

    Every ``period_ms`` comes a tick. A synapse that was used since the last tick pays nothing. One that was
    not pays for the time since that tick, by the exact quotient of the published factor at both ticks:

        w *= exp(-k [(T - t_s)**2 - (T' - t_s)**2] / tau_prune**2)   if t_s <= T', T' the tick before T.

    Over the ticks of one pause the product telescopes to ``exp(-k [(T - t_s)**2 - (T1 - t_s)**2] /
    tau_prune**2)`` with T1 the first tick after t_s: no time is charged twice, only the remainder of the
    period in which the synapse was last used is free. A synapse that is used at least once in each period
    keeps its weight for ever; one that is never used follows the published curve.

    Args:
        tau_prune_ms: the time constant tau_prune.
        period_ms: time between two ticks, which is also how rarely a synapse may be used at no cost.
        strength: the coefficient k.

    Raises:
        InputError: a time is not positive, or the strength is negative.
    """

    def __init__(self, *, tau_prune_ms: float, period_ms: float, strength: float = 1.0) -> None:
        _require_positive("tau_prune_ms", tau_prune_ms)
        _require_positive("period_ms", period_ms)
        _require_not_negative("strength", strength)
        super().__init__()
        self.tau_prune_ms = tau_prune_ms
        self.period_ms = period_ms
        self.strength = strength

    def tick_(self, network: FadingSynapses) -> None:
        """Charge the idle time up to now, in place; does nothing while the period is not over."""
        now = network.now_ms
        if now - self.last_tick_ms < self.period_ms * (1 - 1e-9):
            return
        last = network.last_presynaptic_spike_ms
        idle, charged = now - last, self.last_tick_ms - last
        owed = np.where(charged >= 0, idle**2 - charged**2, 0.0)
        _scale_(_weights(network), exponential(-self.strength * owed / self.tau_prune_ms**2))
        self.last_tick_ms = now


class WeightDecay(_Ticking):
    """The L2-like baseline: all weights shrink alike, ``dw/dt = -w / tau``, used or not.

    Args:
        tau_ms: the time constant.

    Raises:
        InputError: the time constant is not positive.
    """

    def __init__(self, *, tau_ms: float) -> None:
        _require_positive("tau_ms", tau_ms)
        super().__init__()
        self.tau_ms = tau_ms

    def tick_(self, network: FadingSynapses) -> None:
        """Shrink the weights for the time since the last tick, in place."""
        now = network.now_ms
        _weights(network)[...] *= exponential(-(now - self.last_tick_ms) / self.tau_ms)
        self.last_tick_ms = now


def faded_share(weights: NDArray[np.floating], weight_max: float) -> float:
    """Return the share of weights below `FADED` of the largest possible one, pruned ones included."""
    if not weight_max > 0:
        raise InputError(f"weight_max is {weight_max}, expected more than 0; give the largest possible weight")
    if not np.size(weights) or not np.isfinite(weights).all():
        raise InputError(
            "weights are none or hold NaN or infinite values, expected finite ones; train the network again"
        )
    return float((np.abs(weights) < FADED * weight_max).mean())


def prune_smallest_(network: FadingSynapses, share: float) -> None:
    """Set the smallest ``share`` of the weights to zero, in place; among equal ones those first in memory.

    Raises:
        InputError: the share is not 0 to 1.
    """
    weights = _weights(network)
    order = np.argsort(np.abs(weights), axis=None, kind="stable")
    _zero_(weights, order[: _number(share, weights.size)])


def prune_random_(network: FadingSynapses, share: float, generator: np.random.Generator) -> None:
    """Set a random ``share`` of the weights to zero, in place.

    Raises:
        InputError: the share is not 0 to 1.
    """
    weights = _weights(network)
    _zero_(weights, generator.permutation(weights.size)[: _number(share, weights.size)])


def _weights(network: FadingSynapses) -> NDArray[np.floating]:
    weights = network.weights
    if not isinstance(weights, np.ndarray) or weights.dtype.kind != "f" or not weights.flags.writeable:
        kind = f"a {weights.dtype} array" if isinstance(weights, np.ndarray) else f"a {type(weights).__name__}"
        raise InputError(f"weights are {kind}, expected a NumPy array of floats that may be written; give such a one")
    if not np.isfinite(weights).all():
        raise InputError("weights hold NaN or infinite values, expected finite ones; train the network again")
    return weights


def _zero_(weights: NDArray[np.floating], flat: NDArray[np.int64]) -> None:
    weights[np.unravel_index(flat, weights.shape)] = 0


def _number(share: float, size: int) -> int:
    if not isinstance(share, Real) or not 0 <= share <= 1:
        raise InputError(f"share is {share}, expected 0 to 1; give the share of weights to prune")
    return round(share * size)


def _scale_(weights: NDArray[np.floating], factor: NDArray[np.float64]) -> None:
    weights *= factor.astype(weights.dtype)


def _require_positive(name: str, value: float) -> None:
    if not (isinstance(value, Real) and math.isfinite(value) and value > 0):
        raise InputError(f"{name} is {value}, expected a time greater than 0; 7500 is the published tau_prune")


def _require_not_negative(name: str, value: float) -> None:
    if not (isinstance(value, Real) and math.isfinite(value) and value >= 0):
        raise InputError(f"{name} is {value}, expected 0 or more; 1 is the published strength")
