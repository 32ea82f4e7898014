"""The published experiments, one module each."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

Preset = Literal["published", "best"]
"""``published`` follows the authors' code to the letter, ``best`` is our own."""

PRESETS: tuple[Preset, ...] = ("published", "best")


class Command(NamedTuple):
    """What ``spikelore reproduce NAME`` tells and takes.

    Attributes:
        summary: half a sentence for its help.
        options: parameters of the experiment's ``at_scale`` beside the scale and the seed.
        on_devices: whether it has networks that can compute elsewhere than on the processor.
    """

    summary: str
    options: tuple[str, ...]
    on_devices: bool = False


PUBLISHED = {
    "fusion": Command("two networks trained apart become one (Antonov & Sukhov 2022)", ("data_a", "data_b", "preset")),
    "decay": Command("synapses that are not used fade (Antonov & Sukhov 2024)", ("classes", "unknown", "preset")),
    "replay": Command("memories in spikes replayed while new tasks come (Proietti et al. 2023)", ("preset",), True),
    "local": Command(
        "nine ways not to forget by local rules alone (Antonov, Sviatov & Sukhov 2022)", ("preset", "choose")
    ),
    "keywords": Command(
        "spoken words one after another, from memories of spikes (Dequino et al. 2024)", ("preset", "data"), True
    ),
    "study": Command("every network with every method on every stream within every budget", (), True),
}
"""The commands by name, in the order of ``all``; told here so that help loads no experiment."""


def label(data: str, classes: Sequence[int] | None) -> str:
    """Return a short name of data for tables: a dataset, and its classes unless all are meant."""
    return data if classes is None else f"{data} {','.join(map(str, classes))}"
