"""The libraries that we are compared with."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Library:
    """One library, in one mode of work.

    Attributes:
        name: as its authors write it, with the mode.
        environment: a key of `environments.REQUIREMENTS`.
        programs: module of `spikelore.bench.peers.programs` for each of `cases.CASES` that it can do.
        checkout: environment variable that names a folder with its source, where no index carries it.
        why_not: why there is nothing to compare, in a sentence.
    """

    name: str
    environment: str = ""
    programs: Mapping[str, str] = field(default_factory=dict)
    checkout: str = ""
    why_not: str = ""


def _gradients(program: str) -> dict[str, str]:
    return {"surrogate": program, "recurrent": program}


def _rate_lif(program: str) -> dict[str, str]:
    return {"rate-lif training": program, "rate-lif testing": program}


LIBRARIES: Mapping[str, Library] = {
    "spyketorch": Library("SpykeTorch", "torch", {"first-spike": "spyketorch_first_spike"}, checkout="SPYKETORCH"),
    "spyker": Library("Spyker", "spyker", {"first-spike": "spyker_first_spike"}),
    "brian2-standalone": Library("Brian2, C++ standalone", "brian2", _rate_lif("brian2_standalone")),
    "brian2-cython": Library("Brian2, Cython", "brian2", _rate_lif("brian2_cython")),
    "bindsnet": Library(
        "BindsNET",
        why_not="it has neither synaptic delays nor conductances (0.3.4), so it cannot be given the rate-coded network",
    ),
    "snntorch": Library("snnTorch", "torch", _gradients("snntorch_twins")),
    "spikingjelly": Library("SpikingJelly", "torch", _gradients("spikingjelly_twins")),
    "norse": Library("Norse", "torch", _gradients("norse_twins")),
}
