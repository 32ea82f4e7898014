"""The published rate-coded network in Brian2: all images in one simulation, from given state and input spikes.

Testing begins each image at rest: no neuron may fire in the 20 ms after one, until spikes on their way have come.
"""

from collections.abc import Mapping
from typing import Any

import brian2 as b2  # pyright: ignore[reportMissingImports]
import numpy as np

from .types import Arrays

_GAP_MS = 20.0

_EXC = """
dv/dt = (ge*(exc_reversal_mv - v) + gi*(inh_reversal_mv - v) + (exc_rest_mv - v))/exc_tau : 1
dge/dt = -ge/exc_conductance_tau : 1
dgi/dt = -gi/inh_conductance_tau : 1
dvt/dt = (threshold_rest_mv - vt)/threshold_tau : 1
firing_threshold : 1
polarity : 1
"""
_INH = """
dv/dt = (ge*(exc_reversal_mv - v) + (inh_rest_mv - v))/inh_tau : 1
dge/dt = -ge/exc_conductance_tau : 1
"""
_SYNAPSES = """
w : 1
dApre/dt = -Apre/pre_trace_tau : 1 (event-driven)
dApost/dt = -Apost/post_trace_tau : 1 (event-driven)
"""
_PRE = """
ge_post += w
Apre += pre_trace_step
w = clip(w + Apost, 0, weight_max)
"""
_POST = """
Apost += post_trace_step
w = clip(w + polarity_post*Apre, 0, weight_max)
"""


class Simulation:
    """One simulation of all images; `results` reads what the last run has left.

    Attributes:
        network: with its state.
        duration: of the simulation.
    """

    def __init__(self, arrays: Arrays, settings: Mapping[str, Any]) -> None:
        training, dt, ms = settings["work"] == "training", settings["dt_ms"], b2.ms
        b2.defaultclock.dt = dt * ms
        pause = settings["silent_steps"] if training else round(_GAP_MS / dt)
        active, period = settings["active_steps"], settings["active_steps"] + pause
        groups = np.repeat(settings["classes"], settings["neurons_per_class"])
        neurons, state = (
            len(groups),
            {name.removeprefix("state/"): array for name, array in arrays.items() if name.startswith("state/")},
        )
        names = {name: value for name, value in settings.items() if isinstance(value, float)}
        names |= {name.removesuffix("_ms"): value * ms for name, value in names.items() if name.endswith("_tau_ms")}
        names |= {"active": active, "period": period}

        spikes, starts = arrays["train_inputs"], arrays["train_starts"]
        steps = [n * period + np.repeat(np.arange(active), np.diff(each)) for n, each in enumerate(starts)]
        inputs = b2.SpikeGeneratorGroup(len(state["weights"]), spikes, np.concatenate(steps) * dt * ms)
        polarities = np.where(groups == arrays["labels"][:, None], 1.0, -1.0)
        names["polarities"] = b2.TimedArray(polarities, dt=period * dt * ms)
        shown = "" if training else " and timestep(t, dt) % period < active"
        silent = [settings[f"{kind}_refractory_steps"] * dt * ms for kind in ("exc", "inh")]
        exc = b2.NeuronGroup(
            neurons, _EXC, method="euler", threshold=f"v > firing_threshold{shown}", refractory=silent[0],
            reset="v = exc_reset_mv\nvt += threshold_step_mv", namespace=names,
        )  # fmt: skip
        inh = b2.NeuronGroup(
            neurons, _INH, method="euler", threshold=f"v > inh_threshold_mv{shown}", refractory=silent[1],
            reset="v = inh_reset_mv", namespace=names,
        )  # fmt: skip
        to_exc = b2.Synapses(
            inputs, exc, _SYNAPSES if training else "w : 1", on_pre=_PRE if training else "ge_post += w",
            on_post=_POST if training else None, namespace=names,
        )  # fmt: skip
        to_exc.connect()
        to_exc.w = state["weights"].ravel()
        to_inh = b2.Synapses(exc, inh, on_pre="ge_post += exc_to_inh_weight", namespace=names)
        to_inh.connect(j="i")
        to_inh.delay = state["exc_to_inh_delay"] * dt * ms
        from_inh = b2.Synapses(inh, exc, on_pre="gi_post += inh_to_exc_weight", namespace=names)
        from_inh.connect(condition="i != j")
        others = ~np.eye(neurons, dtype=bool)
        from_inh.delay = state["inh_to_exc_delay"][others] * dt * ms
        if training:
            exc.v, exc.ge, exc.gi = state["exc_potential"], state["exc_conductance"], state["inh_conductance"]
            exc.vt, inh.v, inh.ge = state["adaptive_threshold"], state["inh_potential"], state["inh_drive"]
            for name, last, per_synapse in (("pre", "last_input_spike", (-1, 1)), ("post", "exc_last_spike", (1, -1))):
                elapsed_ms = (state["step"] - state[last]) * dt
                trace = state[f"{name}_trace"] * np.exp(-elapsed_ms / settings[f"{name}_trace_tau_ms"])
                trace = np.broadcast_to(trace.reshape(per_synapse), state["weights"].shape).ravel()
                setattr(to_exc, f"A{name}", trace)
            exc.run_regularly("firing_threshold = vt\npolarity = polarities(t, i)", dt=period * dt * ms, when="start")
        else:
            exc.firing_threshold = settings["threshold_rest_mv"]
            begin = "v = exc_rest_mv\nge = 0\ngi = 0\nvt = threshold_rest_mv"
            exc.run_regularly(begin, dt=period * dt * ms, when="start")
            inh.run_regularly("v = inh_rest_mv\nge = 0", dt=period * dt * ms, when="start")
        self._monitor, self._synapses, self._training = b2.SpikeMonitor(exc), to_exc, training
        self._step, self._period, self._shape = dt * ms, period, (len(starts), neurons)
        self.network = b2.Network(inputs, exc, inh, to_exc, to_inh, from_inh, self._monitor)
        self.duration = len(starts) * period * dt * ms

    def results(self, seconds: float) -> dict[str, np.ndarray]:
        """Return each image's spikes, in training the weights, and how long the run took."""
        image = np.round(np.asarray(self._monitor.t / self._step)).astype(np.int64) // self._period
        counts = np.zeros(self._shape, np.int64)
        np.add.at(counts, (image, np.asarray(self._monitor.i)), 1)
        weights = {"weights": np.reshape(self._synapses.w, (-1, self._shape[1]))} if self._training else {}
        return {"spikes": counts, **weights, "seconds": np.array(seconds)}
