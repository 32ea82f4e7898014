"""The section ``network`` of a configuration: a surrogate network, or any other that answers the contract."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from spikelore.errors import InputError
from spikelore.experiments import typed
from spikelore.experiments.own import own_class
from spikelore.learning.online_templates import OnlineLearning
from spikelore.networks.first_spike_config import FirstSpikeConfig
from spikelore.networks.gradient_learning import GradientLearning
from spikelore.networks.protocol import Network
from spikelore.networks.rate_lif_config import RateLIFConfig
from spikelore.networks.recurrent_config import RecurrentConfig
from spikelore.networks.surrogate_config import SurrogateConfig
from spikelore.shapes import as_image_shape


@dataclass(frozen=True)
class _FirstSpike(FirstSpikeConfig):
    learning: OnlineLearning | None = None


_OURS: dict[str, tuple[str, type]] = {
    "rate-lif": ("spikelore.networks.rate_lif:RateLIFNetwork", RateLIFConfig),
    "first-spike": ("spikelore.networks.first_spike:FirstSpikeNetwork", _FirstSpike),
    "recurrent": ("spikelore.networks.recurrent:RecurrentNetwork", RecurrentConfig),
}
_OF_THE_STREAM = ("classes", "height", "width", "units")


class OtherNetwork(Mapping[str, Any]):
    """The settings of a network that is no surrogate one, by name: ``kind``, and what its ``for_stream`` is told.

    The kind is ``rate-lif``, ``first-spike``, ``recurrent`` (for recordings of spikes), or one's own as
    ``path/to/file.py:Class`` or ``module:Class``.

    Raises:
        InputError: no such kind, or a setting that a network of ours does not have.
    """

    NAME = "network"
    SECTION_KIND = "surrogate"

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = typed.plain(values)
        self.kind: str = values["kind"]
        network_class(self)
        given = {name: value for name, value in self._values.items() if name != "kind"}
        self.changes = given
        if self.kind in _OURS:
            config = _OURS[self.kind][1]
            typed.check_values(config, given, "network.")
            if set_there := sorted(set(given) & set(_OF_THE_STREAM)):
                raise InputError(f"network.{set_there[0]} is given, and the stream says it; leave it out")
            self.changes = {name: typed.converted(config, name, value) for name, value in given.items()}

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __hash__(self) -> int:
        return hash(repr(self._values))


def network_class(settings: SurrogateConfig | OtherNetwork) -> Any:
    """Return the class of a network; InputError if it is one's own and cannot be imported."""
    if isinstance(settings, SurrogateConfig):
        from spikelore.networks.surrogate import SurrogateNetwork

        return SurrogateNetwork
    kind = _OURS[settings.kind][0] if settings.kind in _OURS else settings.kind
    if not isinstance(kind, str) or ":" not in kind:
        raise InputError(
            f"network.kind is {kind!r}, expected one of surrogate, {', '.join(_OURS)}, or one of your own as "
            "FILE.py:CLASS; choose one"
        )
    return own_class("network.kind", kind, "a class with for_stream, learn_ and predict", _answers)


def _answers(found: Any) -> bool:
    return all(hasattr(found, name) for name in ("for_stream", "learn_", "predict"))


def made(
    settings: SurrogateConfig | OtherNetwork, stream: Any, seed: int, learning: GradientLearning, *, grow_heads: bool
) -> Network:
    """Return a fresh network for a stream.

    Args:
        settings: its section of the configuration.
        stream: to be learned.
        seed: root seed.
        learning: how a network learns that gradients teach.
        grow_heads: begin without outputs, which come with the tasks.

    Raises:
        InputError: a setting that the network refuses, or ``learning`` for one that does not learn so.
    """
    kind: Any = network_class(settings)
    if isinstance(settings, SurrogateConfig):
        from spikelore.randomness import torch_generator

        outputs = 0 if grow_heads else len(stream.classes)
        config = replace(settings, classes=outputs, image=(1, *as_image_shape(stream.tasks[0].train.inputs.shape[1:])))
        network = kind(config, torch_generator(seed, "network"), classes=stream.classes[:outputs], learning=learning)
        network.classes = stream.classes
        return network
    changes = settings.changes
    if settings.kind == "recurrent" and learning != GradientLearning():
        changes = {**changes, "learning": learning}
    try:
        network = kind.for_stream(stream, seed=seed, **changes)
    except TypeError as error:
        raise InputError(f"network of kind {settings.kind} is refused ({error}); correct its settings") from error
    if learning != GradientLearning():
        if not isinstance(getattr(network, "learning", None), GradientLearning):
            raise InputError(
                f"learner has settings of learning by gradients, {learning}, expected none with a network of kind "
                f"{settings.kind}; leave them out"
            )
        network.learning = learning
    return network
