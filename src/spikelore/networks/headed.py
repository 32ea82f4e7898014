"""What networks with heads have in common, whatever lies below: costs, units, synapses and a state to go on from."""

import copy
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from spikelore.errors import InputError
from spikelore.files import load_tensors, save_tensors
from spikelore.kernels import DEFAULT_BACKEND
from spikelore.metrics.learning_cost import Work
from spikelore.networks.devices import array_of
from spikelore.networks.foreign import weights_are_numbers
from spikelore.networks.gradient_learning import GradientLearning
from spikelore.networks.heads import Headed, linear_layers
from spikelore.networks.layer_use import LayerUse
from spikelore.networks.protocol import Cost
from spikelore.networks.readout import Decision
from spikelore.networks.stored import Arrays, check_shapes, described, settings
from spikelore.networks.taught import Taught
from spikelore.randomness import check_seed, torch_generator
from spikelore.shapes import Images, Labels, as_labels, as_shares

_BESIDE_WEIGHTS = ("adam/", "clocks/", "plasticity", "frozen", "generator")


class HeadedNetwork(Taught, Headed):
    """A `Network` that is `Differentiable`, with `Units` and `Synapses`, around layers that end in heads.

    `state_dict` holds what a torch module's does, weights by name. What has happened beside them goes with them once it
    has: Adam's moments of `learn_` and the generator, ``plasticity``, ``frozen`` features, the ``clocks`` of synapses.

    Attributes:
        classes: the label of each output, in their order.
        among: those that it decides among where it is not told; none for all.
        learning: how it learns and decides.
        formats: of its checkpoints, the one it writes first.
    """

    formats: ClassVar[tuple[str, ...]]
    _uses: dict[str, LayerUse]

    def __init__(
        self,
        config: Any,
        generator: torch.Generator,
        *,
        classes: Sequence[int] | None = None,
        learning: GradientLearning | None = None,
        backend: str = DEFAULT_BACKEND,
    ) -> None:
        super().__init__(config, generator, backend=backend)
        self.learning = learning or GradientLearning()
        self.seed = generator.initial_seed()
        self.classes, self.among = (), ()
        self.classes = tuple(range(config.classes)) if classes is None else self._new_classes(classes)
        self._uses: dict[str, LayerUse] = {}
        if len(self.classes) > config.classes:
            raise InputError(
                f"there are {len(self.classes)} classes and config.classes is {config.classes}, expected an output for "
                "each; enlarge it"
            )

    # What a kind of network says of itself ---------------------------------------------------------------------------

    @staticmethod
    def config_of(raw: Mapping[str, Any]) -> Any:
        """Return the configuration that a checkpoint holds, plain."""
        raise NotImplementedError

    @staticmethod
    def expected_arrays(config: Any, heads: Sequence[int | Sequence[int]]) -> Arrays:
        """Return shape and type of the weights of a network, by name."""
        raise NotImplementedError

    def _looks(self, inputs: Any, /) -> Iterator[torch.Tensor]:
        """Yield parts of the inputs as encoded signals, (T,B,...); an input's draws are its own."""
        raise NotImplementedError

    def _decided(self, signal: torch.Tensor) -> torch.Tensor:
        """Return the (B,K) logits of encoded inputs."""
        raise NotImplementedError

    @property
    def input_ms(self) -> float:
        """How long an input lasts, for the clocks of synapses."""
        return 500.0

    # Labels and heads ------------------------------------------------------------------------------------------------

    @property
    def module(self) -> Self:
        """The network itself."""
        return self

    @property
    def decision(self) -> Decision | None:
        """Its `classes` and `learning` as what a decision needs; None where it has no classes. Setting it sets them."""
        if not self.classes:
            return None
        return Decision(self.classes, self.among or self.classes, self.learning.readout, self.learning.input)

    @decision.setter
    def decision(self, value: Decision | None) -> None:
        self.classes, self.among = (value.classes, value.among) if value else ((), ())
        if value:
            self.learning = replace(self.learning, readout=value.readout, input=value.input)

    def _add_head_of(self, units: tuple[int, ...]) -> None:
        super()._add_head_of(units)
        if self._optimiser is not None:
            self._optimiser.add_param_group({"params": list(self.heads[-1].parameters())})

    def grow_(self, classes: Sequence[int]) -> None:
        """Make room for further classes after those there are: a head of them, or outputs that have no label yet.

        Raises:
            InputError: a class that is there already, or is no label.
        """
        labels = self._new_classes(classes)
        missing = len(self.classes) + len(labels) - sum(self.head_sizes)
        if missing > 0:
            self.add_head(missing)
        self._label_(labels)

    # Answers: what they are does not depend on how inputs are cut into batches ---------------------------------------

    @torch.no_grad()
    def class_scores(self, inputs: Images) -> NDArray[np.float32]:
        """Return the (N, classes) logits of inputs, columns in the order of `classes`.

        They are NaN where a weight is not a finite number. An input's logits depend on it and the network alone:
        Bernoulli coding looks at an image by draws of its own.

        Raises:
            InputError: inputs of another kind or size, or no `classes` or more than there are outputs.
        """
        self._check_classes()
        outputs, images = sum(self.head_sizes), self.checked(inputs)
        if len(self.classes) > outputs:
            raise InputError(
                f"the network's decision names {len(self.classes)} classes, expected at most one for each of its "
                f"{outputs} outputs; name the class of each output"
            )
        found = [np.zeros((0, outputs), np.float32)]
        for signal in self._looks(images):
            found.append(array_of(self._decided(signal)))
        scores = np.concatenate(found)[:, : len(self.classes)]
        return scores if weights_are_numbers(self) else np.full_like(scores, np.nan)

    # Costs ------------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def cost(self, inputs: Images) -> Cost:
        """Return what deciding images costs, means an image; see `count_operations`.

        Raises:
            InputError: images of another kind or size, or none.
        """
        images = self.checked(inputs)
        if not len(images):
            raise InputError("there is no image, expected at least one to count on; give some")
        counted = self.on_processor()
        found = [counted._operations(signal) for signal in counted._looks(images)]
        spikes, accumulates, multiplies = (
            float(torch.cat([getattr(each, name) for each in found]).mean())
            for name in ("spikes", "accumulates", "multiply_accumulates")
        )
        return Cost(spikes, accumulates, multiplies)

    def works(self, inputs: Images, labels: Labels) -> dict[str, Work]:
        """Return what each kind of work takes once, means an image; see `work_of`.

        Raises:
            InputError: images of another kind or size, none, or a label that is none of `classes`.
        """
        images = self.checked(inputs)
        columns = self._columns(as_labels(labels, len(images)))
        if not len(images):
            raise InputError("there is no image, expected at least one to count on; give some")
        found: dict[str, Work] = {}
        counted, columns, start = self.on_processor(), columns.cpu(), 0
        for signal in counted._looks(images):
            part = columns[start : start + signal.shape[1]]
            start += len(part)
            for name, work in counted.work_of(signal, part, self.learning.readout).items():
                found[name] = found.get(name, Work()) + work * (len(part) / len(images))
        return found

    # Units ----------------------------------------------------------------------------------------------------------

    @property
    def unit_classes(self) -> NDArray[np.int64]:
        """(F,) class of each output neuron; the number of its output where that has no label."""
        sizes = [size for head in self.head_units for size in head]
        labels = [*self.classes, *range(len(self.classes), len(sizes))][: len(sizes)]
        return np.repeat(np.array(labels, np.int64), sizes)

    @property
    def unit_weights(self) -> NDArray[np.float32]:
        """(F, inputs + 1) weights of each output neuron, a copy; the last is its bias, an input that is always 1."""
        heads = linear_layers(self.heads)
        rows = [torch.cat([head.weight, head.bias[:, None]], 1) for head in heads]
        return array_of(torch.cat(rows)) if rows else np.zeros((0, self.head_inputs + 1), "f4")

    @property
    def unit_gains(self) -> NDArray[np.float32]:
        """(F,) ones: `with_units` multiplies weights by gains."""
        return np.ones(len(self.unit_classes), np.float32)

    @property
    def unit_centres(self) -> NDArray[np.float32]:
        """(F,) zeros: `with_units` subtracts centres from weights."""
        return np.zeros(len(self.unit_classes), np.float32)

    @property
    def unit_plasticity(self) -> NDArray[np.float32]:
        """(F,) share of each step by which an output neuron's weights and bias move; 0 holds them.

        It holds for every step of `spikelore.learning.surrogate_gradient.step_`, of whatever method and optimiser.
        """
        shares = [getattr(head.bias, "plasticity", torch.ones(head.out_features)) for head in linear_layers(self.heads)]
        return array_of(torch.cat([share.cpu() for share in shares])).copy() if shares else np.ones(0, np.float32)

    @unit_plasticity.setter
    def unit_plasticity(self, value: NDArray[np.float32]) -> None:
        shares = torch.from_numpy(as_shares(value, len(self.unit_classes), "plasticity").copy())
        heads = linear_layers(self.heads)
        for head, each in zip(heads, shares.split([head.out_features for head in heads]), strict=True):
            for parameter, share in ((head.weight, each[:, None]), (head.bias, each)):
                if bool((each == 1).all()):
                    vars(parameter).pop("plasticity", None)
                else:
                    parameter.plasticity = share.to(parameter.device)  # type: ignore[attr-defined]

    @property
    def features_digest(self) -> str:
        """SHA-256 of what decides the spikes below the output neurons: input, coding, neurons and weights."""
        settings = {**asdict(self.config), "input": self.learning.input}
        for name in ("classes", "units_per_class", "split"):
            del settings[name]
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
        for layer in self.feature_layers():
            for parameter in layer.parameters():
                digest.update(array_of(parameter.contiguous()).tobytes())
        return digest.hexdigest()

    def with_units(
        self,
        weights: NDArray[np.float32],
        classes: NDArray[np.int64],
        gains: NDArray[np.float32] | None = None,
        centres: NDArray[np.float32] | None = None,
    ) -> Self:
        """Return the network with other output neurons: ``gain (w - centre)`` for their weights and biases.

        Args:
            weights: (F, inputs + 1), the last the bias.
            classes: (F,) label of each, ascending; any number of each.
            gains: (F,) ones if not given.
            centres: (F,) zeros if not given.

        Raises:
            InputError: another shape, or classes that do not ascend.
        """
        labels = as_labels(classes, len(weights), what="classes")
        rows = np.asarray(weights, np.float32)
        inputs = self.head_inputs
        if rows.shape != (len(labels), inputs + 1) or not len(labels) or (np.diff(labels) < 0).any():
            raise InputError(
                f"units have weights of shape {rows.shape} and classes {labels.tolist()}, expected "
                f"(units, {inputs + 1}), the bias last, and ascending classes; sort them"
            )
        if centres is not None:
            rows = rows - np.asarray(centres, np.float32)[:, None]
        if gains is not None:
            rows = rows * np.asarray(gains, np.float32)[:, None]
        ours, sizes = np.unique(labels, return_counts=True)
        other = self._without_heads(ours.tolist())
        other._add_head_of(tuple(sizes.tolist()))
        with torch.no_grad():
            (head,) = linear_layers(other.heads)
            head.weight.copy_(torch.from_numpy(rows[:, :-1].copy()))
            head.bias.copy_(torch.from_numpy(rows[:, -1].copy()))
        return other

    def with_fresh_units(self, classes: Sequence[int], seed: int) -> Self:
        """Return a network of the same features with as many untrained output neurons in all, for these classes.

        The first classes get the odd ones. Features that are frozen here are frozen there.

        Args:
            classes: labels.
            seed: root seed of the weights and draws.

        Raises:
            InputError: no class, one twice, or more than output neurons.
        """
        labels, units = tuple(as_labels(classes, what="classes").tolist()), len(self.unit_classes)
        if not labels or len(set(labels)) < len(labels) or len(labels) > units:
            raise InputError(
                f"classes are {list(labels)}, expected each once and at most one for each of the {units} units; name "
                "fewer"
            )
        share, odd = divmod(units, len(labels))
        other = self._without_heads(labels)
        other.generator = torch_generator(seed, "network")
        other.seed = other.generator.initial_seed()
        other._add_head_of(tuple(share + (position < odd) for position in range(len(labels))))
        return other

    def _without_heads(self, classes: Sequence[int]) -> Self:
        """Return a copy that has learned nothing above its features, with other classes."""
        other = self.copy()
        other._optimiser = None
        other.heads, other.head_units = nn.ModuleList(), []
        other.classes, other.among = tuple(classes), ()
        other.config = replace(self.config, classes=len(classes))
        return other

    def freeze_features_(self) -> None:
        """Let everything below the output neurons learn no more."""
        for layer in self.feature_layers():
            layer.requires_grad_(False)

    @property
    def features_are_frozen(self) -> bool:
        """Whether nothing below the output neurons learns."""
        weights = [each for layer in self.feature_layers() for each in layer.parameters()]
        return bool(weights) and not any(each.requires_grad for each in weights)

    # Synapses -------------------------------------------------------------------------------------------------------

    def synapses(self) -> dict[str, LayerUse]:
        """Return each layer's synapses by its name as a submodule, from input to output.

        Weights are the network's own, (F,C,K,K) or, fully connected, (F,C,1,1), without biases. See `LayerUse`. Of a
        network on another device than the processor they are copies, which `synapses_changed_` takes over.
        """
        seen = max((use.images_seen for use in self._uses.values()), default=0)
        uses = {}
        for name, layer in self.named_modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                weights = array_of(layer.weight)
                weights = weights if weights.ndim == 4 else weights[:, :, None, None]
                stride = self.config.stride if isinstance(layer, nn.Conv2d) else 1
                uses[name] = self._uses.get(name) or LayerUse(weights, padding=0, stride=stride, image_ms=self.input_ms)
                uses[name].weights, uses[name].images_seen = weights, seen
        self._uses = uses
        return uses

    @torch.no_grad()
    def synapses_changed_(self) -> None:
        """Take over the weights of what `synapses` returned last, if these are copies."""
        for name, use in self._uses.items():
            weight: Any = self.get_submodule(name).weight
            if weight.device.type != "cpu":
                weight.copy_(torch.from_numpy(use.weights).reshape(weight.shape))

    @torch.no_grad()
    def use_(self, inputs: Images) -> None:
        """Let the clocks run on by images, 500 ms each, and note which inputs of each layer spiked in each.

        Of inputs that are numbers (coding ``constant``) those count that are not 0.

        Raises:
            InputError: images of another kind or size.
        """
        uses = self.synapses()
        for signal in self._looks(self.checked(inputs)):
            for name, entered in self._layer_inputs(signal).items():
                spiked = (entered != 0).any(0)  # (B,C,H,W) or (B,C)
                uses[name].show_(array_of(spiked if spiked.dim() == 4 else spiked[:, :, None, None]))

    # State ----------------------------------------------------------------------------------------------------------

    def copy(self) -> Self:
        """Return an equal network that shares no state with this one."""
        other = copy.deepcopy(self)
        other.generator = torch.Generator()
        other.generator.set_state(self.generator.get_state())
        other.unit_plasticity = self.unit_plasticity
        return other

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        """Let what lies beside the weights, Adam's moments and plasticity, go where they go."""
        moments, plasticity = self._learning_state(), self.unit_plasticity
        super()._apply(fn, recurse)
        self._load_learning_state(moments)
        self.unit_plasticity = plasticity
        return self

    def _beside_weights(self) -> dict[str, torch.Tensor]:
        found = self._learning_state()
        if found:
            found["generator"] = self.generator.get_state()
        if (self.unit_plasticity != 1).any():
            found["plasticity"] = torch.from_numpy(self.unit_plasticity)
        if self.features_are_frozen:
            found["frozen"] = torch.ones(1, dtype=torch.uint8)
        for name, use in self.synapses().items() if self._uses else ():
            found[f"clocks/{name}"] = torch.from_numpy(use.last_presynaptic_spike_ms.copy())
            found["clocks/images"] = torch.tensor([use.images_seen])
        return found

    def _load_beside_weights(self, state: Mapping[str, torch.Tensor]) -> None:
        self._load_learning_state({name: value for name, value in state.items() if name.startswith("adam/")})
        if "generator" in state:
            self.generator.set_state(state["generator"])
        units = len(self.unit_classes)
        self.unit_plasticity = array_of(state["plasticity"]) if "plasticity" in state else np.ones(units, np.float32)
        if "frozen" in state:
            self.freeze_features_()
        self._uses = {}
        if "clocks/images" in state:
            for name, use in self.synapses().items():
                use.images_seen = int(state["clocks/images"])
                last = state[f"clocks/{name}"].numpy().copy()
                if last.shape != use.last_presynaptic_spike_ms.shape or last.dtype != np.float64:
                    raise InputError(
                        f"the saved state does not fit the network: clocks/{name}; give one of such a network"
                    )
                use.last_presynaptic_spike_ms = last

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination.update({f"{prefix}{name}": value for name, value in self._beside_weights().items()})

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any, **named: Any) -> None:
        ours = [name for name in state_dict if name.startswith(tuple(prefix + each for each in _BESIDE_WEIGHTS))]
        beside = {name.removeprefix(prefix): state_dict.pop(name) for name in ours}
        super()._load_from_state_dict(state_dict, prefix, *rest, **named)
        self._load_beside_weights(beside)

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Go on from what `state_dict` of such a network returned, tensors or arrays by name.

        Raises:
            InputError: it is of another network.
        """
        tensors = {name: torch.as_tensor(value) for name, value in state_dict.items()}
        try:
            return super().load_state_dict(tensors, strict, assign)
        except (RuntimeError, KeyError) as error:
            raise InputError(
                f"the saved state does not fit the network: {' '.join(str(error).split())}; give one of such a network"
            ) from error

    def save(self, path: Path | str) -> None:
        """Write a checkpoint: state, configuration, classes and learning in one safetensors file, nothing pickled.

        Weights are float32.
        """
        weights = {name for name, _ in self.named_parameters()}
        state = {**self.state_dict(), "generator": self.generator.get_state()}
        tensors = {name: array_of(each.float() if name in weights else each) for name, each in state.items()}
        description = {
            "config": asdict(self.config), "heads": self.head_units, "classes": self.classes, "among": self.among,
            "learning": asdict(self.learning), "seed": self.seed,
        }  # fmt: skip
        save_tensors(path, tensors, {"format": self.formats[0], "network": json.dumps(description)})

    @classmethod
    def load(cls, path: Path | str, generator: torch.Generator | None = None) -> Self:
        """Read a checkpoint that `save` wrote.

        Args:
            path: of the checkpoint.
            generator: for the Bernoulli inputs that it learns from; by default as saved.

        Raises:
            InputError: not such a file, damaged, of other shapes than its configuration says, or with
                weights that are not finite numbers.
        """
        tensors, metadata = load_tensors(path)
        if metadata.get("format") not in cls.formats:
            found = metadata.get("format", "no format")
            raise InputError(f"checkpoint {path} holds {found!r}; expected {cls.formats[0]!r}")
        with described(path, f"{cls.name} network"):
            description = settings(metadata, "network")
            config = cls.config_of(description["config"])
            heads = description["heads"]
            check_shapes(tensors, cls.expected_arrays(config, heads))
            network = cls(replace(config, classes=0), torch.Generator().manual_seed(0))
            for units in heads:
                network._add_head_of((1,) * units if isinstance(units, int) else tuple(units))
            network._describe_(description)
            network.generator.manual_seed(0)
            network.load_state_dict(tensors)
        for name, tensor in network.state_dict().items():
            if not bool(torch.isfinite(tensor).all()):
                raise InputError(f"checkpoint {path}: {name} has weights that are not finite numbers; train it again")
        network.config = config
        network.generator = network.generator if generator is None else generator
        return network

    def _describe_(self, description: Mapping[str, Any]) -> None:
        """Take over what a checkpoint says beside its tensors; the first format has a decision or none."""
        if "learning" in description:
            learning = GradientLearning.of(description["learning"])
            labels = _labels_of(description)
            self.decision = Decision(**labels, readout=learning.readout, input=learning.input)
            self.among = labels["among"]
            self.learning, self.seed = learning, check_seed(description["seed"])
        elif told := description.get("decision"):
            self.decision = Decision(**{**told, **_labels_of(told)})
        if len(self.classes) > sum(self.head_sizes):
            raise InputError(f"it names {len(self.classes)} classes for {sum(self.head_sizes)} outputs")


def _labels_of(told: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Return the labels that a checkpoint names."""
    return {name: tuple(as_labels(told[name], what="classes").tolist()) for name in ("classes", "among")}
