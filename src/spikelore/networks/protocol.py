"""What methods may ask of a network, so that a method is written once and not per network."""

from typing import TYPE_CHECKING, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from spikelore.shapes import Images, Labels

if TYPE_CHECKING:
    import torch


class Classifier(Protocol):
    """A network that decides."""

    def class_scores(self, images: Images) -> NDArray[np.float32]:
        """Return (N, classes) scores, columns in the order of ``classes``; a silent image has zeros."""
        ...

    def predict(self, images: Images) -> Labels:
        """Return the decided class of each image, (N,) int64, -1 where the network stays silent."""
        ...


class OutputUnits(Protocol):
    """A network whose output units each stand for a class and read the same frozen features.

    What fusion needs: units can be taken from one network and put into another that shares its features.
    """

    @property
    def unit_classes(self) -> NDArray[np.int64]:
        """(F,) class of each output unit."""
        ...

    @property
    def unit_weights(self) -> NDArray[np.float32]:
        """(F, ...) incoming weights of each output unit."""
        ...

    @property
    def unit_gains(self) -> NDArray[np.float32]:
        """(F,) factor of each unit's potential where units compete."""
        ...

    @property
    def unit_centres(self) -> NDArray[np.float32]:
        """(F,) weight that is subtracted from each of a unit's weights where units compete."""
        ...

    @property
    def features_digest(self) -> str:
        """Hash of everything below the output units; equal digests mean equal features."""
        ...

    def with_units(
        self,
        weights: NDArray[np.float32],
        classes: NDArray[np.int64],
        gains: NDArray[np.float32] | None = None,
        centres: NDArray[np.float32] | None = None,
    ) -> Self:
        """Return the same network with other output units."""
        ...


class SpikingModule(Protocol):
    """A differentiable network: any ``torch.nn.Module`` from images to output spikes over time.

    A model of another library answers it unchanged where its time loop is in its ``forward``; `stepwise`
    of `spikelore.networks.surrogate` puts the loop around a model that maps one step. Each call starts from rest:
    what a call leaves in attributes, and in buffers by another shape or with gradients, is put back after it
    (`spikelore.networks.foreign.at_rest`).
    """

    def __call__(self, images: "torch.Tensor") -> "torch.Tensor":
        """Return (T,B,classes) spikes, 0 or 1, of the float images (B,H,W) or (B,C,H,W) in 0..1.

        Of a tuple or list, such as snnTorch's (spikes, potentials), the first is taken.
        """
        ...


@runtime_checkable
class LayeredModule(Protocol):
    """A `SpikingModule` that can be cut at a layer: what latent replay needs."""

    def features(self, images: "torch.Tensor") -> "torch.Tensor":
        """Return the spikes (T,B,...) at the cut, or (1,B,...) where all steps are alike."""
        ...

    def head(self, features: "torch.Tensor") -> "torch.Tensor":
        """Return the (T,B,classes) output spikes of what `features` gave."""
        ...


@runtime_checkable
class PotentialModule(LayeredModule, Protocol):
    """A `LayeredModule` that also gives its output neurons' potentials: what the readout ``drive`` needs."""

    @property
    def threshold(self) -> float:
        """Firing threshold of the output neurons."""
        ...

    def output(self, features: "torch.Tensor") -> tuple["torch.Tensor", "torch.Tensor"]:
        """Return spikes and membrane potentials of the output neurons, each (T,B,classes), from `features`."""
        ...


@runtime_checkable
class GrowingModule(Protocol):
    """A `SpikingModule` that can get further outputs: what learning on with new classes needs."""

    def add_head(self, classes: int) -> None:
        """Append ``classes`` output neurons; their columns come after those there are, which stay as they are."""
        ...


@runtime_checkable
class HeadedModule(GrowingModule, Protocol):
    """A `GrowingModule` that keeps its outputs as a head for each `add_head`."""

    def head_columns(self, index: int) -> slice:
        """Return which output columns belong to head ``index``."""
        ...

    def align_heads_(self) -> None:
        """Scale the newest head's weights to the mean norm of the older heads'."""
        ...


@runtime_checkable
class RandomModule(Protocol):
    """A `SpikingModule` that draws its inputs' spikes from a generator which may be replaced."""

    generator: "torch.Generator"
