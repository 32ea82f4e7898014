"""The network of surrogate gradients: its layers, labels, units and synapses."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Self

import torch

from spikelore.errors import InputError
from spikelore.networks.devices import device_of
from spikelore.networks.foreign import reason_of
from spikelore.networks.gradient_learning import GradientLearning
from spikelore.networks.headed import HeadedNetwork
from spikelore.networks.readout import as_input, over_steps
from spikelore.networks.surrogate_config import SurrogateConfig, config_of
from spikelore.networks.surrogate_layers import SurrogateLayers, expected_arrays
from spikelore.randomness import torch_generator
from spikelore.shapes import Images, as_image_shape

if TYPE_CHECKING:
    from spikelore.data.streams import Stream

_DECIDED_AT_ONCE = 500


class SurrogateNetwork(HeadedNetwork, SurrogateLayers):
    """`SurrogateLayers` that answer the contract: a `Network` that is `Differentiable`, with `Units` and `Synapses`.

    Args:
        config: sizes and constants.
        generator: draws the initial weights, those of later heads, and the Bernoulli inputs; may be replaced.
        classes: the label of each output; 0, 1, ... if not given.
        learning: how it learns and decides.
        backend: of the kernels.

    Attributes:
        classes: the label of each output, in their order.
        among: those that it decides among where it is not told; none for all.
        learning: how it learns and decides.
        seed: of the draws by which Bernoulli coding looks at an image that is decided: of its pixels and this alone.

    Source: Proietti et al. 2023 (MLSP), with torch's default initial weights.

    Example:
        >>> from spikelore.data.streams import split_stream
        >>> from spikelore.networks.surrogate import SurrogateNetwork
        >>> stream = split_stream("digits-sample", [(0, 1)])
        >>> network = SurrogateNetwork.for_stream(stream, seed=0)
        >>> train, test = stream.tasks[0].train, stream.tasks[0].test
        >>> for n in range(0, 128, 32):
        ...     network.learn_(train.inputs[n : n + 32], train.labels[n : n + 32])
        >>> bool((network.predict(test.inputs) == test.labels).mean() > 0.9)
        True
    """

    name = "surrogate"
    formats = ("spikelore surrogate network 2", "spikelore surrogate network 1")
    config_of = staticmethod(config_of)
    expected_arrays = staticmethod(expected_arrays)

    @classmethod
    def for_stream(
        cls, stream: "Stream", seed: int = 0, *, learning: GradientLearning | None = None, **changes: Any
    ) -> Self:
        """Return an untrained network of the ``best`` preset for a stream's classes and images.

        Args:
            stream: to be learned.
            seed: root seed.
            learning: how it learns and decides; `GradientLearning.best` if not given.
            changes: other values of any field of `SurrogateConfig`; ``classes=0`` starts without a head.

        Raises:
            InputError: images too small for the layers, or a setting that is none.
        """
        rows, columns = as_image_shape(stream.tasks[0].train.inputs.shape[1:])
        sizes = {"image": (1, rows, columns), "classes": len(stream.classes)}
        try:
            config = SurrogateConfig.best(**{**sizes, **changes})
        except TypeError as error:
            raise InputError(f"{reason_of(error)}; give fields of SurrogateConfig") from error
        labels = stream.classes[: config.classes]
        learning = learning or GradientLearning.best()
        return cls(config, torch_generator(seed, "network"), classes=labels, learning=learning)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Rows and columns of an image."""
        return self.config.image[1], self.config.image[2]

    def _looks(self, images: Images, /) -> Iterator[torch.Tensor]:
        """Yield parts of the images as encoded signals; an image's draws are its own."""
        at_once = _DECIDED_AT_ONCE if self.convolutions else 1  # sums of grey pixels differ between sizes of a batch
        for n in range(0, len(images), at_once):
            part = images[n : n + at_once]
            inputs = as_input(part, self.learning.input, device_of(self))
            if self.config.coding == "constant":
                yield self.encode(inputs)
                continue
            running = self.generator
            try:
                shown = []
                for image, one in zip(part, inputs, strict=True):
                    self.generator = self._draws_for(image)
                    shown.append(self.encode(one[None]))
            finally:
                self.generator = running
            yield torch.cat(shown, 1)

    def _decided(self, signal: torch.Tensor) -> torch.Tensor:
        currents = self._through(signal, 0, self.config.layers)
        if self.learning.readout == "spikes":
            return self._class_spikes(currents).sum(0)
        return over_steps(*self._output(currents), self.threshold, self.learning.readout)
