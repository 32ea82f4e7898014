"""Reading a checkpoint without knowing which network wrote it."""

from pathlib import Path

from spikelore.errors import InputError
from spikelore.files import load_tensors
from spikelore.networks.protocol import Classifier


def load(path: Path) -> Classifier:
    """Return the network of a checkpoint, first-spike or rate-coded LIF.

    Raises:
        InputError: no such file, a damaged one, or one of something else.
    """
    kind = load_tensors(path)[1].get("format", "no format").removeprefix("spikelore ")
    if kind.startswith("first-spike network"):
        from spikelore.networks.first_spike import FirstSpikeNetwork

        return FirstSpikeNetwork.load(path)
    if kind.startswith("rate-coded LIF network"):
        from spikelore.networks.rate_lif import RateLIFNetwork

        return RateLIFNetwork.load(path)
    if kind.startswith("surrogate network"):
        raise InputError(
            f"checkpoint {path} holds a surrogate network, whose outputs get their classes from a learner, expected a "
            "network that decides on its own; give its run folder, or load it with SurrogateNetwork.load"
        )
    raise InputError(
        f"checkpoint {path} holds {kind!r}, expected a first-spike or a rate-coded LIF network; give one that a "
        "run wrote"
    )
