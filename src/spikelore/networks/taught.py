"""What networks that gradients teach have in common: labels and columns, a step of learning, decisions."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F  # noqa: N812 - the field's name

from spikelore.coding.poisson import image_indices
from spikelore.errors import InputError
from spikelore.learning.surrogate_gradient import adam, step_
from spikelore.networks.devices import device_of
from spikelore.networks.foreign import decided_label, own_generator
from spikelore.networks.gradient_learning import GradientLearning
from spikelore.networks.readout import as_input, logits
from spikelore.shapes import Images, Labels, as_images, as_labels

_MOMENTS = ("step", "exp_avg", "exp_avg_sq")
"""What Adam keeps of each weight."""
_MOST_STEPS = 2**53


class Taught:
    """A torch module with labels for its outputs, which Adam teaches by the cross entropy of its logits.

    A subclass has a ``module`` and answers `class_scores`.

    Attributes:
        name: the kind of network, in tables.
        classes: the label of each output, in their order.
        among: labels that `predict` decides among where it is not told; none for all.
        learning: how it learns and decides. `learn_` takes its last weights: to average them is a method's part.
        seed: of the draws, if any, by which it looks at an image that it decides.
    """

    name: str
    classes: tuple[int, ...]
    among: tuple[int, ...]
    learning: GradientLearning
    seed: int
    _optimiser: torch.optim.Adam | None = None

    @property
    def module(self) -> nn.Module:
        """The torch module."""
        raise NotImplementedError

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Rows and columns of an image."""
        raise NotImplementedError

    def class_scores(self, inputs: Images) -> NDArray[np.float32]:
        """Return (N, classes) logits."""
        raise NotImplementedError

    def learn_(self, inputs: Images, labels: Labels) -> None:
        """Take one step of Adam down the mean cross entropy of the logits of all `classes`.

        Args:
            inputs: (N,H,W) uint8 images, N at least 1.
            labels: (N,), of `classes`.

        Raises:
            InputError: images of another shape, none, or a label that is none of `classes`.
            SpikeloreError: the loss or its gradients are no finite numbers; nothing is changed.
        """
        checked = self.checked(inputs)
        columns = self._columns(as_labels(labels, len(checked)))
        if not len(checked):
            raise InputError("the batch has no image, expected at least one; leave it out")
        if self._optimiser is None:
            self._optimiser = adam(self.module.parameters())
        for group in self._optimiser.param_groups:
            group["lr"] = self.learning.learning_rate
        with self._draws_undone_by_failure():
            found = logits(self.module, self.to_input(checked), self.learning.readout)
            columns = columns.to(found.device)
            step_(
                F.cross_entropy(found[:, : len(self.classes)], columns),
                self._optimiser,
                getattr(self.module, "tally", None),
            )

    def predict(self, inputs: Images, among: Sequence[int] = ()) -> Labels:
        """Return the class with the largest score for each of (N,H,W) uint8 images, (N,) int64; on a tie the first.

        It is -1 where a score is not a finite number.

        Args:
            inputs: images as `class_scores` takes them.
            among: classes that are decided among; none for `among` of the network.

        Raises:
            InputError: as `class_scores`, or a class that is none of `classes`.
        """
        self._check_classes()
        asked = set(as_labels(among, what="classes").tolist()) or set(self.among or self.classes)
        if not asked <= set(self.classes):
            raise InputError(
                f"classes to decide among are {sorted(asked)}, expected some of the network's {list(self.classes)}; "
                "name some of these"
            )
        columns = [column for column, label in enumerate(self.classes) if label in asked]
        scores = torch.from_numpy(self.class_scores(inputs)[:, columns])
        return decided_label(scores, [self.classes[column] for column in columns])

    def _check_classes(self) -> None:
        if not self.classes:
            raise InputError(
                "the network does not know what its outputs stand for, expected its decision to be set or its classes; "
                "set classes to the label of each output"
            )

    def to_input(self, inputs: Any) -> torch.Tensor:
        """Return inputs as the module takes them, (B,...) float32 on its device: here images in 0..1."""
        return as_input(self.checked(inputs), self.learning.input, device_of(self.module))

    def checked(self, inputs: Any) -> Any:
        """Return inputs that the network can take, here (N,H,W) uint8 images of its size; InputError for others."""
        images = as_images(inputs)
        if images.shape[1:] != self.input_shape:
            found, expected = ("x".join(map(str, each)) for each in (images.shape[1:], self.input_shape))
            raise InputError(f"images have {found} pixels, expected {expected} as the network has; resize them")
        return images

    def _columns(self, labels: Labels) -> torch.Tensor:
        """Return the output of each label."""
        self._check_classes()
        places = {label: column for column, label in enumerate(self.classes)}
        outside = sorted(set(labels.tolist()) - set(places))
        if outside:
            raise InputError(
                f"label {outside[0]} is none of the network's classes {list(self.classes)}; let it grow by grow_ or "
                "leave it out"
            )
        return torch.tensor([places[label] for label in labels.tolist()], dtype=torch.int64)

    def _new_classes(self, classes: Sequence[int]) -> tuple[int, ...]:
        """Return labels that the network does not have yet."""
        labels = tuple(as_labels(classes, what="classes").tolist())
        both = sorted(set(labels) & set(self.classes)) or [each for each in labels if labels.count(each) > 1]
        if both:
            raise InputError(f"class {both[0]} is there already, expected new ones, each once; leave it out")
        return labels

    def _label_(self, labels: tuple[int, ...]) -> None:
        """Take further labels for the outputs after those that have one."""
        self.classes = (*self.classes, *labels)
        self.among = (*self.among, *labels) if self.among else ()

    def _draws_for(self, image: NDArray[np.uint8]) -> torch.Generator:
        """Return the generator of an image that is decided: of its pixels and the network's seed alone."""
        (index,) = image_indices(image[None]).tolist()
        return torch.Generator().manual_seed((index ^ self.seed) % 2**63)

    @contextmanager
    def _draws_undone_by_failure(self) -> Iterator[None]:
        own = own_generator(self.module)
        drawn = None if own is None else own.get_state()
        try:
            yield
        except BaseException:
            if own is not None and drawn is not None:
                own.set_state(drawn)
            raise

    def _learning_state(self) -> dict[str, torch.Tensor]:
        """Return what `learn_` goes on from beside the weights: Adam's moments; nothing before the first step."""
        if self._optimiser is None:
            return {}
        return {
            f"adam/{name}/{key}": value
            for name, parameter in self.module.named_parameters()
            for key, value in self._optimiser.state.get(parameter, {}).items()
        }

    def _load_learning_state(self, state: Mapping[str, torch.Tensor]) -> None:
        """Take over what `_learning_state` returned."""
        self._optimiser = None
        if not state:
            return
        self._optimiser = adam(self.module.parameters())
        parameters = dict(self.module.named_parameters())
        for title, value in state.items():
            _, name, key = title.split("/")
            value = value.reshape(()) if key == "step" else value  # which a file has as (1,)
            wanted = () if key == "step" else parameters[name].shape if name in parameters else None
            like = torch.zeros(()) if key == "step" or name not in parameters else parameters[name]
            if key not in _MOMENTS or value.shape != wanted or not value.is_floating_point():
                raise InputError(f"the saved state does not fit the network: {title}; give one of such a network")
            self._optimiser.state[parameters[name]][key] = value.detach().to(like.device, like.dtype, copy=True)
        for name, parameter in parameters.items():
            kept = self._optimiser.state.get(parameter, {})
            step = kept.get("step", torch.zeros(()))
            if len(kept) not in (0, len(_MOMENTS)) or not 0 <= float(step) < _MOST_STEPS:
                raise InputError(f"the saved state does not fit the network: adam/{name}; give one of such a network")
