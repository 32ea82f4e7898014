"""Learning without examples of earlier tasks: weights held by their importance, and learning without forgetting.

They keep weights instead, which `memory_bytes` counts.
"""

from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F  # noqa: N812 - the field's name

from spikelore.continual.memory import Memory
from spikelore.continual.methods.gradient import GradientLearner
from spikelore.continual.storage import form_of_inputs
from spikelore.files import arrays_under
from spikelore.networks.devices import array_of
from spikelore.networks.foreign import at_rest, named_tensors, same_draws, tensors_of
from spikelore.randomness import generator
from spikelore.shapes import Images, Labels


class HeldWeightsLearner(GradientLearner):
    """Each weight w is held near an anchor w* by how important it was, with importance F::

        loss = CE(f(x), y) + strength / 2 * sum F (w - w*)^2

    Attributes:
        importance: F, by name of the weights; empty until there is one.
        anchor: w*, likewise.
        title: what the importance is called in a saved state.
    """

    title: ClassVar[str] = "importance"

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.importance: dict[str, torch.Tensor] = {}
        self.anchor: dict[str, torch.Tensor] = {}

    def loss(self, images: Images, labels: Labels, columns: torch.Tensor, task: int) -> torch.Tensor:
        """Return the cross entropy plus the quadratic penalty."""
        value = super().loss(images, labels, columns, task)
        for name, parameter in self.module.named_parameters():
            if name in self.importance:
                moved = (self.importance[name] * (parameter - self.anchor[name]) ** 2).sum()
                value = value + self.method.strength / 2 * moved
        return value

    def weights_now(self) -> dict[str, torch.Tensor]:
        """Return copies of the weights that learn, by name."""
        return {name: parameter.detach().clone() for name, parameter in self.module.named_parameters()}

    def network_grew(self) -> None:
        """Drop what belongs to parameters of another shape beside the rest."""
        super().network_grew()
        self.importance, self.anchor = self.of_same_shape(self.importance), self.of_same_shape(self.anchor)

    def kept_arrays(self) -> dict[str, NDArray]:
        """Return importance and anchor."""
        both = ((self.title, self.importance), ("anchor", self.anchor))
        return {f"{title}/{name}": array_of(tensor) for title, tensors in both for name, tensor in tensors.items()}

    def take_over(self, arrays: Any, facts: Any) -> None:
        """Take over these beside the rest."""
        super().take_over(arrays, facts)
        self.importance, self.anchor = self.weights_under(self.title, arrays), self.weights_under("anchor", arrays)


class ElasticWeightLearner(HeldWeightsLearner):
    """Weights that mattered for earlier tasks are held near their values.

    After each task the diagonal Fisher information is added up, F += mean over images of (d log p(y|x) / d w)^2, and
    the weights w* are kept; then as `HeldWeightsLearner`.

    Source: Kirkpatrick et al. 2017 (doi 10.1073/pnas.1611835114); one running F and w* as in Schwarz et al. 2018
    (online EWC, arXiv 1805.06370) with gamma 1. Deviation: p is the softmax of the spike counts, y the true label.
    """

    title = "fisher"

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.images = form_of_inputs(self.network)
        self.sample = self._new_sample(0)

    @property
    def memory_bytes(self) -> int:
        """Bytes of the Fisher information, the anchor and the sample, which is of the current task's images only."""
        return self.sample.bytes + 2 * sum(parameter.nbytes for parameter in self.module.parameters())

    def _new_sample(self, task: int) -> Memory:
        """Return an empty uniform sample of a task's images, for the Fisher information only."""
        rng = generator(self.seed, "learner", "fisher", task)
        return Memory("reservoir", self.method.fisher_images, self.images.row_bytes, rng)

    def begin_task(self, task: int, classes: tuple[int, ...]) -> None:
        """Begin a new sample."""
        del classes
        self.sample = self._new_sample(task)

    def remember(self, images: Images, labels: Labels, columns: torch.Tensor, task: int) -> None:
        """Offer the images to the current task's sample."""
        del columns, task
        self.sample.offer(self.images.pack(images), labels)

    def end_task(self, task: int) -> None:
        """Add the task's Fisher information and take the weights as the new anchor.

        The network is in evaluation mode meanwhile: single images would ruin running statistics.
        """
        del task
        rows, labels, _ = self.sample.get(np.arange(len(self.sample)))
        images = self.images.unpack(rows)
        fisher = {
            name: self.importance[name].clone() if name in self.importance else torch.zeros_like(parameter.detach())
            for name, parameter in self.module.named_parameters()
        }
        with self.own_draws(), at_rest(self.module, still=True):
            for n in range(len(labels)):
                self.module.zero_grad(set_to_none=True)
                logits = self.logits(self.to_input(images[n : n + 1]))
                F.cross_entropy(logits, self.columns(labels[n : n + 1])).backward()
                for name, parameter in self.module.named_parameters():
                    if parameter.grad is not None:
                        fisher[name] += parameter.grad**2 / len(labels)
        self.module.zero_grad(set_to_none=True)
        self.importance, self.anchor = fisher, self.weights_now()

    def facts(self) -> dict[str, Any]:
        """Return the sample's generator beside the rest."""
        return {**super().facts(), "sample generator": self.sample.rng.bit_generator.state}

    def load_facts(self, facts: Any) -> None:
        """Take over what `facts` returned."""
        super().load_facts(facts)
        self.sample.rng.bit_generator.state = facts["sample generator"]

    def kept_arrays(self) -> dict[str, NDArray]:
        """Return the sample beside the rest."""
        sample = {f"sample/{name}": array for name, array in self.sample.state_dict().items()}
        return sample | super().kept_arrays()

    def take_over(self, arrays: Any, facts: Any) -> None:
        """Take over the sample beside the rest."""
        super().take_over(arrays, facts)
        self.sample.load_state_dict(arrays_under("sample", arrays))


class WithoutForgettingLearner(GradientLearner):
    """On new images the outputs for old classes are held to what the network gave before the task.

    With the old network's logits g(x), temperature T and the columns of the classes seen before the task::

        loss = CE(f(x), y) + strength * T^2 * KL(softmax(g(x)/T) || softmax(f(x)/T))

    Where the network draws its input spikes, f and g see the same ones. The old network is in evaluation mode.

    Source: Li & Hoiem 2016 (arXiv 1606.09282), equation 3, with T^2 as in Hinton et al. 2015.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.old: dict[str, torch.Tensor] = {}
        self.old_columns: list[int] = []

    @property
    def memory_bytes(self) -> int:
        """Bytes of the old network's weights."""
        return sum(tensor.nbytes for _, tensor in named_tensors(self.module))

    def begin_task(self, task: int, classes: tuple[int, ...]) -> None:
        """Keep the network as it is before the task."""
        if self.seen:
            self.old = tensors_of(self.module)
            self.old_columns = [self.classes.index(label) for label in self.seen]

    def loss(self, images: Images, labels: Labels, columns: torch.Tensor, task: int) -> torch.Tensor:
        """Return the cross entropy plus the distance to the old network's softened outputs."""
        del labels, task
        inputs = self.to_learn(images)
        if not self.old:
            return F.cross_entropy(self.logits(inputs), columns)
        heat = self.method.temperature
        with torch.no_grad(), same_draws(self.module), self.weights(self.old), at_rest(self.module, still=True):
            old = self.logits(inputs.clone())  # a network may change its input in place
        logits = self.logits(inputs)
        kept = torch.tensor(self.old_columns).to(self.device)
        now, before = (F.log_softmax(each[:, kept] / heat, 1) for each in (logits, old))
        distance = F.kl_div(now, before, reduction="batchmean", log_target=True)
        return F.cross_entropy(logits, columns) + self.method.strength * heat**2 * distance

    def facts(self) -> dict[str, Any]:
        """Return the old columns beside the rest."""
        return {**super().facts(), "old columns": self.old_columns}

    def load_facts(self, facts: Any) -> None:
        """Take over what `facts` returned."""
        super().load_facts(facts)
        self.old_columns = list(facts["old columns"])

    def kept_arrays(self) -> dict[str, NDArray]:
        """Return the old network."""
        return {f"old/{name}": array_of(tensor) for name, tensor in self.old.items()}

    def take_over(self, arrays: Any, facts: Any) -> None:
        """Take over these beside the rest."""
        super().take_over(arrays, facts)
        self.old = self.weights_under("old", arrays)
