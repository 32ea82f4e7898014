"""Synaptic intelligence: how much each weight did for the loss is added up while it learns."""

from typing import Any

import torch
from numpy.typing import NDArray

from spikelore.continual.methods.regularisation import HeldWeightsLearner
from spikelore.networks.devices import array_of
from spikelore.shapes import Images, Labels


class SynapticIntelligenceLearner(HeldWeightsLearner):
    """Weights that brought the loss down are held near their values, as `HeldWeightsLearner` holds them.

    With each step of the optimiser from w to w + d, and g the gradient of the cross entropy alone at w::

        path += -g d

    which adds up to how much each weight lowered the loss on its way. At a consolidation, with w* where the weights
    were at the one before::

        F += max(path, 0) / ((w - w*)^2 + damping);  w* = w;  path = 0

    The gradients are those that the steps take anyhow: no second pass, no image kept, unlike EWC's Fisher information
    and memory aware synapses (Aljundi et al. 2018, arXiv 1711.09601), whose importance needs a further backward pass
    of the outputs on images held back; in their task-free form a buffer of them (Aljundi et al. 2019, arXiv
    1812.03596). Here ``consolidate_after`` does without boundaries and without a buffer.

    Source: Zenke, Poole & Ganguli 2017 (arXiv 1703.04200), equations 3 to 5, c being strength / 2. Deviations: a path
    below 0, along which the loss rose, counts as 0, so that no weight is driven away from where it was; Adam is not
    made anew between tasks.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.path: dict[str, torch.Tensor] = {}
        self.waiting = 0
        self._begin_paths()

    @property
    def memory_bytes(self) -> int:
        """Bytes of importance, anchor and path."""
        return 3 * sum(parameter.nbytes for parameter in self.module.parameters())

    def _begin_paths(self) -> None:
        """Begin paths where there are none: of all weights, or of those that came with further classes."""
        for name, weight in self.weights_now().items():
            if name not in self.path:
                self.path[name], self.anchor[name] = torch.zeros_like(weight), weight

    def move(self, loss: torch.Tensor, optimiser: torch.optim.Optimizer) -> float:
        """Take the optimiser's step, and add what it brought to each weight's path."""
        before = self.weights_now()
        value = super().move(loss, optimiser)
        with torch.no_grad():
            for name, parameter in self.module.named_parameters():
                if parameter.grad is not None:
                    moved = parameter - before[name]
                    self.path[name] -= parameter.grad * moved
                    if name in self.importance:  # of the gradient, the penalty's part
                        pulled = self.importance[name] * (before[name] - self.anchor[name])
                        self.path[name] += self.method.strength * pulled * moved
        return value

    def remember(self, images: Images, labels: Labels, columns: torch.Tensor, task: int) -> None:
        """Consolidate, if it is to be after so many images."""
        del labels, columns, task
        self.waiting += len(images)
        if 0 < self.method.consolidate_after <= self.waiting:
            self._consolidate()

    def end_task(self, task: int) -> None:
        """Consolidate, if it is to be after each task."""
        del task
        if not self.method.consolidate_after:
            self._consolidate()

    def _consolidate(self) -> None:
        weights = self.weights_now()
        for name, path in self.path.items():
            added = path.clamp(min=0) / ((weights[name] - self.anchor[name]) ** 2 + self.method.damping)
            self.importance[name] = self.importance[name] + added if name in self.importance else added
            path.zero_()
        self.anchor, self.waiting = weights, 0

    def network_grew(self) -> None:
        """Begin paths of new weights beside the rest."""
        super().network_grew()
        self.path = self.of_same_shape(self.path)
        self._begin_paths()

    def facts(self) -> dict[str, Any]:
        """Return the images since the last consolidation beside the rest."""
        return {**super().facts(), "waiting": self.waiting}

    def load_facts(self, facts: Any) -> None:
        """Take over what `facts` returned."""
        super().load_facts(facts)
        self.waiting = facts["waiting"]

    def kept_arrays(self) -> dict[str, NDArray]:
        """Return the paths beside the rest."""
        return super().kept_arrays() | {f"path/{name}": array_of(tensor) for name, tensor in self.path.items()}

    def take_over(self, arrays: Any, facts: Any) -> None:
        """Take over the paths beside the rest."""
        super().take_over(arrays, facts)
        self.path = self.weights_under("path", arrays)
