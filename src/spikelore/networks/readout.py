"""What a differentiable network sees of a grey image, and how its output becomes one number a class."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from spikelore.errors import InputError, check_fields
from spikelore.networks.foreign import has_methods, kind_of, over_time, respond
from spikelore.networks.gradient_learning import SPIKE_FROM, Input, Readout
from spikelore.shapes import Images


@dataclass(frozen=True)
class Decision:
    """What a network needs beside its weights to decide on its own: its ``classes`` and ``learning`` seen together.

    Attributes:
        classes: the label of each output column.
        among: labels that are decided among.
        readout: ``spikes``: their count is a class's logit; others: see `over_steps`.
        input: see `as_input`.

    Raises:
        InputError: a class twice, a label to decide among that is none of them, or no such readout or input.
    """

    classes: tuple[int, ...]
    among: tuple[int, ...]
    readout: Readout = "spikes"
    input: Input = "grey"

    def __post_init__(self) -> None:
        if len(set(self.classes)) < len(self.classes) or not set(self.among) <= set(self.classes):
            raise InputError(
                f"a decision among {list(self.among)} of classes {list(self.classes)}, expected each class once and "
                "some of them; correct it"
            )
        check_fields(self, "decision.")


def check_images(images: Images, shape: tuple[int, int] | None = None) -> None:
    """Refuse what is not (B,H,W) uint8, or of another (H,W) than ``shape``."""
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.ndim != 3:
        kind = f"{getattr(images, 'dtype', type(images).__name__)} {tuple(getattr(images, 'shape', ()))}"
        raise InputError(f"images are {kind}, expected a NumPy array (B,H,W) of uint8, 0 to 255; convert them")
    if shape is not None and images.shape[1:] != shape:
        found, expected = ("x".join(map(str, each)) for each in (images.shape[1:], shape))
        raise InputError(
            f"images have {found} pixels, expected {expected} as the learner was made for; resize them or make a "
            "learner with their image_shape"
        )


def as_input(images: Images, form: Input, device: torch.device | str = "cpu") -> torch.Tensor:
    """Return (B,H,W) uint8 images as float32 in 0..1: ``grey``, or ``spikes``: 1 where a pixel is 128 or more.

    They are on ``device``, where bytes become floats.

    Raises:
        InputError: images of another type or number of axes.
    """
    check_images(images)
    pixels = torch.from_numpy(images.astype(np.uint8, order="C")).to(device)
    return (pixels >= SPIKE_FROM).float() if form == "spikes" else pixels.float().div_(255)


def drive(spikes: torch.Tensor, potentials: torch.Tensor, threshold: float | torch.Tensor) -> torch.Tensor:
    """Return ``sum_t S[t] + (U[T-1] / threshold - S[T-1])``, (B,K), of spikes and membrane potentials (T,B,K).

    Without a leak and with subtractive reset that is the neuron's whole input over its threshold, of which spikes are
    the whole part.
    """
    return spikes.sum(0) + potentials[-1] / threshold - spikes[-1]


def over_steps(
    spikes: torch.Tensor, potentials: torch.Tensor, threshold: float | torch.Tensor, readout: Readout
) -> torch.Tensor:
    """Return the (B,K) logits of output spikes and potentials (T,B,K): one number of each over the steps.

    That is the count of the ``spikes``, their `drive`, or of the potential the ``maximum``, ``mean``, ``last`` or
    ``sum``.
    """
    if readout == "spikes":
        return spikes.sum(0)
    if readout == "drive":
        return drive(spikes, potentials, threshold)
    if readout == "maximum":
        return potentials.amax(0)
    if readout == "last":
        return potentials[-1]
    return potentials.mean(0) if readout == "mean" else potentials.sum(0)


def outputs(module: nn.Module, inputs: torch.Tensor, *, still: bool = False) -> Any:
    """Return what a `PotentialModule` answers: in one call where it has ``with_potentials``, else through its cut."""
    whole: Any = module
    if has_methods(module, "with_potentials"):
        return respond(module, whole.with_potentials, inputs, still=still)
    return respond(module, whole.output, respond(module, whole.features, inputs, still=still), still=still)


def logits(module: nn.Module, inputs: torch.Tensor, readout: Readout, *, still: bool = False) -> torch.Tensor:
    """Return (B,K) logits of (B,...) inputs, from rest: spike counts, or what `over_steps` says.

    Args:
        module: a `SpikingModule`; for other readouts than ``spikes`` a `PotentialModule`.
        inputs: images.
        readout: which.
        still: it is asked, not taught: see `spikelore.networks.foreign.at_rest`.

    Raises:
        InputError: outputs that are not (T,B,K), or no output potentials where the readout needs them.
        SpikeloreError: an exception in the module.
    """
    name = type(module).__name__
    if readout == "spikes":
        return over_time(respond(module, module, inputs, still=still), inputs, name).sum(0)
    threshold = getattr(module, "threshold", None)
    if not has_methods(module, "features", "output") or not isinstance(threshold, float | int | torch.Tensor):
        raise InputError(
            f"the readout {readout!r} needs output potentials, which {name} does not give; use the readout 'spikes'"
        )
    both = outputs(module, inputs, still=still)
    if not isinstance(both, tuple | list) or len(both) != 2:
        raise InputError(
            f"{name}.output returned {kind_of(both)}, expected spikes and potentials, each (T,B,classes), for the "
            f"readout {readout!r}; use the readout 'spikes'"
        )
    spikes, potentials = (over_time(each, inputs, f"{name}.output") for each in both)
    return over_steps(spikes, potentials, threshold, readout)
