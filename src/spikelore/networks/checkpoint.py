"""Reading a checkpoint without knowing which network wrote it."""

from pathlib import Path
from typing import TYPE_CHECKING, Union

from spikelore.errors import InputError
from spikelore.files import load_tensors

if TYPE_CHECKING:
    from spikelore.networks.first_spike import FirstSpikeNetwork
    from spikelore.networks.rate_lif import RateLIFNetwork
    from spikelore.networks.recurrent import RecurrentNetwork
    from spikelore.networks.surrogate import SurrogateNetwork
    from spikelore.networks.wrapped import TorchNetwork


def load(
    path: Path | str,
) -> Union["FirstSpikeNetwork", "RateLIFNetwork", "RecurrentNetwork", "SurrogateNetwork", "TorchNetwork"]:
    """Return the network of a checkpoint, of any kind.

    Raises:
        InputError: no such file, a damaged one, one of something else, of a network that does not say its classes, or
            of a torch module of one's own, which `TorchNetwork.load` reads.
    """
    kind = load_tensors(path)[1].get("format", "no format").removeprefix("spikelore ")
    if kind.startswith("first-spike network"):
        from spikelore.networks.first_spike import FirstSpikeNetwork

        return FirstSpikeNetwork.load(path)
    if kind.startswith("rate-coded LIF network"):
        from spikelore.networks.rate_lif import RateLIFNetwork

        return RateLIFNetwork.load(path)
    if kind.startswith("surrogate network"):
        from spikelore.networks.surrogate import SurrogateNetwork

        network = SurrogateNetwork.load(path)
        if not network.classes:
            raise InputError(
                f"checkpoint {path} does not say which classes its network's outputs stand for, expected one that a "
                "run wrote; give its run folder, or load it with SurrogateNetwork.load and set its classes"
            )
        return network
    if kind.startswith("surrogate event network"):
        from spikelore.networks.surrogate_events import SurrogateEventNetwork

        return SurrogateEventNetwork.load(path)
    if kind.startswith("recurrent network"):
        from spikelore.networks.recurrent import RecurrentNetwork

        return RecurrentNetwork.load(path)
    if kind.startswith("torch module"):
        from spikelore.networks.wrapped import TorchNetwork

        return TorchNetwork.load(path)
    raise InputError(
        f"checkpoint {path} holds {kind!r}, expected a first-spike, a rate-coded LIF, a surrogate or a recurrent "
        "network; give one that a run wrote"
    )
