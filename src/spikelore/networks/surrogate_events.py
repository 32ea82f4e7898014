"""The surrogate-gradient network on the events of a camera."""

from typing import TYPE_CHECKING, Any, Self

import torch

from spikelore.data.events import Events
from spikelore.errors import InputError
from spikelore.kernels.lif_scan import Leaky
from spikelore.networks.foreign import reason_of
from spikelore.networks.gradient_learning import GradientLearning
from spikelore.networks.recordings import TakesRecordings
from spikelore.networks.surrogate import SurrogateNetwork
from spikelore.networks.surrogate_config import SurrogateConfig
from spikelore.randomness import torch_generator

if TYPE_CHECKING:
    from spikelore.data.streams import Stream


class SurrogateEventNetwork(TakesRecordings, SurrogateNetwork):
    """`SurrogateNetwork` on recordings of spikes (C,H,W) in place of images: ``coding: events``.

    Each step's convolutions see the events of one bin.

    Args:
        config: sizes and constants, with ``coding: events``.
        generator: draws the initial weights and those of later heads.
        named: as of `SurrogateNetwork`.

    Raises:
        InputError: another coding.

    Example:
        >>> import numpy as np
        >>> import torch
        >>> from spikelore.networks.surrogate_config import SurrogateConfig
        >>> from spikelore.networks.surrogate_events import SurrogateEventNetwork
        >>> config = SurrogateConfig(image=(2, 12, 12), channels=(4,), classes=2, steps=5, coding="events")
        >>> network = SurrogateEventNetwork(config, torch.Generator().manual_seed(0))
        >>> network.class_scores(np.ones((3, 5, 2, 12, 12), bool)).shape
        (3, 2)
    """

    name = "surrogate-events"
    formats = ("spikelore surrogate event network 1",)

    def __init__(self, config: SurrogateConfig, generator: torch.Generator, **named: Any) -> None:
        if config.coding != "events":
            raise InputError(f"network.coding is {config.coding!r}, expected 'events' for recordings; set it")
        super().__init__(config, generator, **named)

    @classmethod
    def for_stream(
        cls, stream: "Stream", seed: int = 0, *, learning: GradientLearning | None = None, **changes: Any
    ) -> Self:
        """Return an untrained network for a stream's classes and recordings: 12 steps of 25 ms, a hidden layer of 128.

        Args:
            stream: of a camera's recordings, units (C,H,W).
            seed: root seed.
            learning: how it learns and decides; `GradientLearning.best` if not given.
            changes: other values of any field of `SurrogateConfig`; ``classes=0`` starts without a head.

        Raises:
            InputError: a stream of something else, or a setting that is none.
        """
        inputs = stream.tasks[0].train.inputs
        if not isinstance(inputs, Events) or len(inputs.unit_shape) != 3:
            raise InputError(
                f"the stream's inputs are of shape {inputs.shape[1:]}, expected recordings of a camera, units (C,H,W); "
                "choose another stream or network"
            )
        sizes: dict[str, Any] = {
            "image": inputs.unit_shape, "classes": len(stream.classes), "coding": "events", "steps": 12, "bin_ms": 25.0,
            "hidden": (128,), "neuron": Leaky(beta=0.9, surrogate="atan", slope=2.0),
        }  # fmt: skip
        try:
            config = SurrogateConfig(**{**sizes, **changes})
        except TypeError as error:
            raise InputError(f"{reason_of(error)}; give fields of SurrogateConfig") from error
        labels = stream.classes[: config.classes]
        learning = learning or GradientLearning.best()
        return cls(config, torch_generator(seed, "network"), classes=labels, learning=learning)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Channels, rows and columns of the units."""
        return self.config.image
