"""The contract between networks and methods, so that a method is written once and not per network.

Every network answers `Network`. What a method needs beyond that is a *capability*, a small protocol of its own:

============================ ======================================================================================
`Differentiable`             a torch module from images to spikes over time, and how it learns by gradients
`Features`                   spikes of layers that have stopped learning, to store, learn and decide from
`Rehearsal`                  a way of its own to learn from what it has learned before
`Units`                      output units, each with a class and its incoming weights
`Synapses`                   each layer's weights, with the last presynaptic spike of each synapse and a clock
`Accountable`                how often it has done which kind of work, and what each takes
`SeesSpikes`                 inputs that it turns into spikes, which are what memories store of them
============================ ======================================================================================

A network of one's own needs to inherit from nothing: what it has, it can. One that inherits from `Network` is given
what most do alike: it is made of classes and the shape of an input, its arrays are its state, and it decides for the
class with the highest score.
"""

import json
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from spikelore.errors import InputError
from spikelore.files import load_tensors, save_tensors
from spikelore.metrics.learning_cost import Tally, Work
from spikelore.shapes import Images, Labels

if TYPE_CHECKING:
    import torch

    from spikelore.data.streams import Stream
    from spikelore.networks.gradient_learning import GradientLearning


@dataclass(frozen=True)
class Cost:
    """What deciding an input costs, means per input.

    Attributes:
        spikes: of all neurons over all steps, those of the input too.
        accumulates: additions of a weight to a neuron's input, one for each synapse that a spike reaches.
        multiply_accumulates: the same for inputs that are numbers and no spikes.

    Source: synaptic operations as NeuroBench counts them (Yik et al. 2023, arXiv 2304.04640).
    """

    spikes: float
    accumulates: float
    multiply_accumulates: float = 0.0

    @property
    def synaptic_operations(self) -> float:
        """Accumulates and multiply-accumulates together."""
        return self.accumulates + self.multiply_accumulates


@runtime_checkable
class Network(Protocol):
    """A network that learns batch after batch and decides.

    Attributes:
        name: the kind of network, in tables.
    """

    name: str

    @property
    def classes(self) -> tuple[int, ...]:
        """The labels that it can decide, in the order of the scores' columns; kept in its checkpoint."""
        ...

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input: rows and columns of an image."""
        ...

    @classmethod
    def for_stream(cls, stream: "Stream", seed: int = 0, **changes: Any) -> Self:
        """Return an untrained network for a stream's classes and inputs; ``changes`` are those of its configuration."""
        del seed
        made: Any = cls
        return made(stream.classes, stream.tasks[0].train.inputs.shape[1:], **changes)

    def learn_(self, inputs: Images, labels: Labels) -> None:
        """Learn from a batch, in its order, once."""
        ...

    def class_scores(self, inputs: Images) -> NDArray[np.float32]:
        """Return (N, classes) scores, columns in the order of `classes`, the same whatever the inputs are cut into."""
        ...

    def predict(self, inputs: Images, among: Sequence[int] = ()) -> Labels:
        """Return the decided class of each input, (N,) int64, of those in ``among`` if given; -1 for no decision.

        It is the same whatever the inputs are cut into.
        """
        classes = np.array(self.classes, np.int64)
        columns = np.flatnonzero(np.isin(classes, among)) if len(among) else np.arange(len(classes))
        return classes[columns][self.class_scores(inputs)[:, columns].argmax(axis=1)]

    def cost(self, inputs: Images) -> Cost:
        """Return what deciding these inputs costs."""
        ...

    def copy(self) -> Self:
        """Return an equal network that shares no state with this one."""
        return deepcopy(self)

    def grow_(self, classes: Sequence[int]) -> None:
        """Make room for further classes, after those there are; what was learned stays."""
        ...

    def state_dict(self) -> Mapping[str, Any]:
        """Return everything that decides how it goes on, arrays by name."""
        return {name: value.copy() for name, value in vars(self).items() if isinstance(value, np.ndarray)}

    def load_state_dict(self, state: Mapping[str, Any], /) -> Any:
        """Go on from what `state_dict` of such a network returned."""
        vars(self).update({name: np.array(value) for name, value in state.items()})

    def save(self, path: Path | str) -> None:
        """Write a checkpoint, with its classes in it; nothing is pickled."""
        made_of = json.dumps([self.classes, self.input_shape])
        save_tensors(path, self.state_dict(), {"name": self.name, "made_of": made_of})

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Read a checkpoint that `save` wrote.

        Raises:
            InputError: it is broken, or of another network.
        """
        state, told = load_tensors(path)
        if told.get("name") != cls.name or "made_of" not in told:
            raise InputError(
                f"{path} is of {told.get('name', 'another network')!r}, expected {cls.name!r}; name another"
            )
        made: Any = cls
        network = made(*map(tuple, json.loads(told["made_of"])))
        network.load_state_dict(state)
        return network


@runtime_checkable
class Differentiable(Protocol):
    """A network that gradients can teach: replay with its own loss, distillation, penalties on weights."""

    @property
    def module(self) -> "torch.nn.Module":
        """The `SpikingModule` with its weights: what a method's optimiser changes, the network decides with."""
        ...

    @property
    def learning(self) -> "GradientLearning":
        """How it learns by gradients: learning rate, input, readout."""
        ...


@runtime_checkable
class Features(Protocol):
    """A network whose lower layers stop learning: their spikes can be stored in place of inputs.

    Spikes are boolean arrays (N, *feature_shape).
    """

    @property
    def feature_shape(self) -> tuple[int, ...]:
        """Shape of one input's spikes."""
        ...

    @property
    def features_frozen(self) -> bool:
        """Whether the layers below the spikes have stopped learning; stored spikes are out of date before that."""
        ...

    def encode_features(self, inputs: Images) -> NDArray[np.bool_]:
        """Return the spikes of inputs."""
        ...

    def learn_features_(self, features: NDArray[np.bool_], labels: Labels) -> None:
        """Learn from spikes in place of inputs, in order."""
        ...


@runtime_checkable
class Rehearsal(Protocol):
    """A network that learns otherwise from what it has learned before: replay calls this on new and stored examples.

    One without it learns from stored examples as from new ones. One that also has `Features` gives
    ``rehearse_features_(features, labels)`` besides, which learns so from spikes in place of inputs.
    """

    def rehearse_(self, inputs: Images, labels: Labels) -> None:
        """Learn from inputs of which some, or all, were learned from before."""
        ...


@runtime_checkable
class OutputUnits(Protocol):
    """A network whose output units each stand for a class and read the same features.

    What fusion needs: units can be taken from one network and put into another that shares its features; a class may
    have any number of them.
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
        """Return the same network with other output units, of ascending classes."""
        ...


@runtime_checkable
class Units(OutputUnits, Protocol):
    """`OutputUnits` that can be protected, and taught apart: what methods need that work on units."""

    @property
    def unit_plasticity(self) -> NDArray[np.float32]:
        """(F,) share of its rates that each unit learns with; 0 protects it. It can be set."""
        ...

    @unit_plasticity.setter
    def unit_plasticity(self, value: NDArray[np.float32]) -> None: ...

    def with_fresh_units(self, classes: Sequence[int], seed: int) -> Self:
        """Return a network of the same features with as many untrained units in all, for these classes."""
        ...

    def freeze_features_(self) -> None:
        """Let everything below the output units learn no more."""
        ...


class FadingSynapses(Protocol):
    """What decay needs to know of a layer of synapses."""

    @property
    def weights(self) -> NDArray[np.floating]:
        """The weights themselves, of any shape, not a copy."""
        ...

    @property
    def last_presynaptic_spike_ms(self) -> NDArray[np.float64]:
        """When each synapse's input last spiked, in a shape that broadcasts to that of the weights."""
        ...

    @property
    def now_ms(self) -> float:
        """The time that the network has lived."""
        ...


@runtime_checkable
class Synapses(Protocol):
    """A network whose synapses know when they were last used.

    One whose weights lie elsewhere than in the arrays of `synapses`, as on a GPU, has a method ``synapses_changed_``
    that takes over what these hold; `synapses_changed_` calls it.
    """

    def synapses(self) -> Mapping[str, FadingSynapses]:
        """Return each learning layer's synapses by name, from input to output; changing weights changes the network."""
        ...

    def use_(self, inputs: Images) -> None:
        """Let the clocks run on by inputs that were just learned; does nothing where learning itself moves them."""
        ...


def synapses_changed_(network: Any) -> None:
    """Let a network hear that weights which it handed out by `Synapses.synapses` were changed."""
    if (hear := getattr(network, "synapses_changed_", None)) is not None:
        hear()


def arrays_of(network: Any) -> dict[str, NDArray[Any]]:
    """Return a network's state as arrays, also where it is tensors on another device than the processor."""
    state = network.state_dict().items()
    return {name: np.asarray(value.cpu() if hasattr(value, "cpu") else value) for name, value in state}


@runtime_checkable
class Accountable(Protocol):
    """A network that can tell what its learning has cost: see `spikelore.metrics.learning_cost`."""

    @property
    def tally(self) -> Tally:
        """How often each kind of work was done by it and its copies, of learning and of answering alike."""
        ...

    def works(self, inputs: Images, labels: Labels) -> Mapping[str, Work]:
        """Return what each kind of work takes once, means over these inputs, with the network as it stands."""
        ...


@runtime_checkable
class SeesSpikes(Protocol):
    """A network that makes spikes of its inputs before all else, so that their bits are all that need be stored."""

    @property
    def spikes_seen(self) -> tuple[int, ...]:
        """Shape of an input's spikes: (T,*units)."""
        ...

    def checked(self, inputs: Any) -> Any:
        """Return inputs that it can take; InputError for others."""
        ...

    def spikes_of(self, inputs: Any) -> NDArray[np.bool_]:
        """Return the spikes of inputs, (N,T,*units); it takes these as inputs, too."""
        ...

    def to_input(self, inputs: Any) -> "torch.Tensor":
        """Return inputs as its torch module takes them, (B,T,*units) float32, 0 or 1."""
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
class TracedModule(Protocol):
    """A `SpikingModule` that says what enters its layers, since it does not call them: what orthogonal steps need."""

    def layer_inputs(self, images: "torch.Tensor") -> "Mapping[str, torch.Tensor]":
        """Return what enters each linear layer, (...,D), and convolution, (...,C,H,W), by its name as a submodule."""
        ...


@runtime_checkable
class DenseModule(Protocol):
    """A `SpikingModule` whose last layers are fully connected and can be run by noise: what sleep needs.

    Attributes:
        config: with ``steps`` and ``neuron``, the constants of these layers' neurons.
    """

    config: Any

    def dense_layers(self) -> "list[list[torch.nn.Linear]]":
        """Return these layers, from input to output, each as its parts, whose neurons stand one after the other."""
        ...

    def dense_inputs(self, spikes: "torch.Tensor") -> "torch.Tensor":
        """Return what enters the first of them, (T,B,D), where (T,B,C,H,W) spikes enter the network."""
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
