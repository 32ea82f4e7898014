"""The recurrent network of spikes over time: its layers, labels, units and synapses."""

import math
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch

from spikelore.data.events import Events
from spikelore.errors import InputError
from spikelore.networks.foreign import reason_of
from spikelore.networks.gradient_learning import GradientLearning
from spikelore.networks.readout import over_steps
from spikelore.networks.recordings import TakesRecordings
from spikelore.networks.recurrent_config import RecurrentConfig, config_of
from spikelore.networks.recurrent_layers import RecurrentLayers, expected_arrays
from spikelore.randomness import torch_generator

if TYPE_CHECKING:
    from spikelore.data.streams import Stream

_LONG = 99
"""Percentile of the durations that steps are made for."""


class RecurrentNetwork(TakesRecordings, RecurrentLayers):
    """`RecurrentLayers` that answer the contract: a `Network` that is `Differentiable`, with `Units` and `Synapses`.

    Inputs are recordings of spikes: `Events`, which are put into ``config.steps`` bins (later events are dropped), or
    bins themselves, (N,T,*units) bool, of any number of steps.

    Args:
        config: sizes and constants.
        generator: draws the initial weights and those of later heads; may be replaced.
        classes: the label of each output; 0, 1, ... if not given.
        learning: how it learns and decides; the readout ``maximum`` of the published code if not given.
        backend: of the kernels.

    Raises:
        InputError: more classes than outputs, or the readout ``spikes`` or ``drive`` of neurons that only integrate.

    Source: as `RecurrentConfig`.

    Example:
        >>> import numpy as np
        >>> import torch
        >>> from spikelore.networks.recurrent import RecurrentConfig, RecurrentNetwork
        >>> config = RecurrentConfig.best(units=(8,), hidden=(16,), classes=2, steps=10)
        >>> network = RecurrentNetwork(config, torch.Generator().manual_seed(0))
        >>> rising = np.eye(8, dtype=bool)[np.arange(16) // 2]  # two steps a unit
        >>> both = np.stack([rising, rising[::-1]])
        >>> for _ in range(150):
        ...     network.learn_(both, np.array([0, 1]))
        >>> network.predict(both).tolist()
        [0, 1]
    """

    name = "recurrent"
    formats = ("spikelore recurrent network 1",)
    config_of = staticmethod(config_of)
    expected_arrays = staticmethod(expected_arrays)

    def __init__(
        self,
        config: RecurrentConfig,
        generator: torch.Generator,
        *,
        learning: GradientLearning | None = None,
        **named: Any,
    ) -> None:
        learning = learning or GradientLearning(readout="maximum")
        if config.output == "integrator" and learning.readout in ("spikes", "drive"):
            raise InputError(
                f"the readout is {learning.readout!r}, expected maximum, mean, last or sum of output neurons that only "
                "integrate; choose one of these, or output: spiking"
            )
        super().__init__(config, generator, learning=learning, **named)

    @classmethod
    def for_stream(
        cls, stream: "Stream", seed: int = 0, *, learning: GradientLearning | None = None, **changes: Any
    ) -> Self:
        """Return an untrained network of the ``best`` preset for a stream's classes and recordings.

        If ``steps`` are not given, there are as many as 99 % of the first task's recordings need.

        Args:
            stream: of recordings.
            seed: root seed.
            learning: how it learns and decides; the readout ``mean``, a rate of 0.002 and averaged weights if not
                given.
            changes: other values of any field of `RecurrentConfig`; ``classes=0`` starts without a head.

        Raises:
            InputError: a stream of images, or a setting that is none.
        """
        inputs = stream.tasks[0].train.inputs
        if not isinstance(inputs, Events):
            raise InputError(
                f"the stream is of {inputs.dtype} of shape {inputs.shape}, expected recordings of spikes; choose "
                "another stream or network"
            )
        sizes = {"units": inputs.unit_shape, "classes": len(stream.classes)}
        try:
            config = RecurrentConfig.best(**{**sizes, **changes})
            if "steps" not in changes and len(inputs):
                longest = np.percentile(inputs.durations_us, _LONG)
                sizes["steps"] = max(1, math.ceil(longest / config.bin_us))
                config = RecurrentConfig.best(**{**sizes, **changes})
        except TypeError as error:
            raise InputError(f"{reason_of(error)}; give fields of RecurrentConfig") from error
        labels = stream.classes[: config.classes]
        learning = learning or GradientLearning(learning_rate=2e-3, readout="mean", averaging=0.98)
        return cls(config, torch_generator(seed, "network"), classes=labels, learning=learning)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of the input's units."""
        return self.config.units

    def _decided(self, signal: torch.Tensor) -> torch.Tensor:
        return over_steps(*self._outputs(signal, 0), self.threshold, self.learning.readout)
