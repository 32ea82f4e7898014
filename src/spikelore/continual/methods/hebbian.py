"""Hebbian orthogonal projection: weights move only where what entered them before does not reach."""

from typing import Any

import torch
from numpy.typing import NDArray

from spikelore.continual.methods.gradient import GradientLearner
from spikelore.errors import InputError
from spikelore.networks.devices import array_of
from spikelore.networks.presynaptic import Weighted, presynaptic, weighted_layers
from spikelore.randomness import torch_generator
from spikelore.shapes import Images, Labels

_ROUNDS = 5
_NOTHING = 1e-6
"""Share of an input's energy below which what is left of it is rounding."""


def without(rows: torch.Tensor, subspace: torch.Tensor) -> torch.Tensor:
    """Return rows (N,D) without their part in the subspace that orthonormal (K,D) span."""
    return rows - (rows @ subspace.T) @ subspace


def fresh_rows(subspace: torch.Tensor, count: int, generator: torch.Generator) -> torch.Tensor:
    """Return ``count`` random orthonormal rows (M,D) outside the subspace that orthonormal (K,D) span."""
    drawn = torch.randn(count, subspace.shape[1], generator=generator).to(subspace.device)
    return joined(subspace, drawn)[len(subspace) :].clone()  # sums differ by where in memory rows begin


def joined(subspace: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Return orthonormal rows that span the same as both."""
    return torch.linalg.qr(torch.cat([subspace, rows]).T).Q.T.contiguous()


def learn_(rows: torch.Tensor, inputs: torch.Tensor, subspace: torch.Tensor, rate: float) -> None:
    """Turn rows (M,D) towards the principal subspace of what inputs (N,D) have outside ``subspace`` (K,D).

    With r = x - Q'Q x of each input x, Q the subspace and W the rows, five times::

        y = W r;  W += rate / mean |r|^2 * mean y (r - W'y)'

    Each row is a linear neuron whose synapses change by what enters and leaves it and by what all of them give back.

    Source: Oja 1989 (doi 10.1142/S0129065789000475), as Xiao et al. 2024 use it; see `HebbianProjectionLearner`.
    """
    left = inputs if len(inputs) > inputs.shape[1] else without(inputs, subspace)
    products = None
    if left is inputs:  # fewer sums by way of all products
        products = without(without(inputs.T @ inputs, subspace).T, subspace)
    energy = float(left.square().sum() if products is None else products.trace())
    if energy <= _NOTHING * float(inputs.square().sum()):
        return
    for _ in range(_ROUNDS):
        ours = (left @ rows.T).T @ left if products is None else rows @ products
        rows += rate / energy * (ours - ours @ rows.T @ rows)


class HebbianProjectionLearner(GradientLearner):
    """Steps of all weights are orthogonal to what entered them in earlier tasks.

    While a task is learned, Hebbian neurons beside each layer learn the principal subspace of what enters it, outside
    the subspaces of earlier tasks (`learn_`), as many as ``subspace_share`` of the dimensions that these leave free.
    After the task they are joined to Q. Each step d of the optimiser is taken as::

        d - d Q'Q

    so that what is in the subspace has the answers that it had. A bias is a weight of an input that is always 1, part
    of both. What is not the weight or bias of a linear layer or convolution, such as a learned threshold, is held after
    the first task.

    Source: HLOP, Xiao et al. 2024 (ICLR, arXiv 2402.11984), equations 4 to 7. Deviations: it is the step that is
    projected and not the gradient, since Adam's step of a projected gradient leaves the subspace's complement; Q is
    made orthonormal after each task, so that the projection is one; the rate is of inputs of mean energy 1, so that it
    fits any layer; inputs are those of each step, where theirs are a mean over the steps, weighted by when; no
    momentum.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.known: dict[str, torch.Tensor] = {}
        self.fresh: dict[str, torch.Tensor] = {}
        self.current = -1
        self.layers()

    @property
    def memory_bytes(self) -> int:
        """Bytes of the subspaces, those that are being learned too."""
        return sum(rows.nbytes for rows in (*self.known.values(), *self.fresh.values()))

    def layers(self) -> dict[str, Weighted]:
        """Return the layers whose steps are projected.

        Raises:
            InputError: there is none, or one whose inputs cannot be taken.
        """
        found = weighted_layers(self.module)
        if not found:
            raise InputError(
                f"{self.method.name} needs linear layers or convolutions (torch.nn.Linear, Conv2d), of which "
                f"{self._name} has none; choose another method or network"
            )
        return found

    def begin_task(self, task: int, classes: tuple[int, ...]) -> None:
        """Begin new subspaces, for what earlier tasks leave free."""
        del classes
        self.current, self.fresh = task, {}

    def end_task(self, task: int) -> None:
        """Join what was learned to what is known."""
        del task
        for name, rows in self.fresh.items():
            self.known[name] = joined(self._known(name, rows.shape[1]), rows)
        self.fresh = {}

    def _known(self, name: str, size: int) -> torch.Tensor:
        return self.known.get(name, torch.zeros(0, size, device=self.device))

    def take_step(self, images: Images, labels: Labels, columns: torch.Tensor, task: int) -> float:
        """Take a projected step, and learn from what entered the layers before it."""
        entered = presynaptic(self.module, self.to_input(images))
        value = super().take_step(images, labels, columns, task)
        for name, inputs in entered.items():
            known = self._known(name, inputs.shape[1])
            if name not in self.fresh:
                count = round(self.method.subspace_share * (known.shape[1] - len(known)))
                draws = torch_generator(self.seed, "learner", "subspace", self.current, name)
                self.fresh[name] = fresh_rows(known, count, draws)
            learn_(self.fresh[name], inputs, known, self.method.hebbian_rate)
        return value

    def move(self, loss: torch.Tensor, optimiser: torch.optim.Optimizer) -> float:
        """Take the optimiser's step without its part in what is known."""
        before = {each: each.detach().clone() for each in self.module.parameters()}
        value = super().move(loss, optimiser)
        if self.known:
            self._project(before)
        return value

    @torch.no_grad()
    def _project(self, before: dict[torch.nn.Parameter, torch.Tensor]) -> None:
        held = dict(before)
        for name, layer in self.layers().items():
            parts: list[Any] = [each for each in (layer.weight, layer.bias) if each is not None]
            if not all(each in before for each in parts):
                continue  # made of other weights
            for each in parts:
                held.pop(each, None)
            if name not in self.known:
                continue
            steps = [(each - before[each]).reshape(len(each), -1) for each in parts]
            step = without(torch.cat(steps, 1).float(), self.known[name])
            for each, moved in zip(parts, step.split([one.shape[1] for one in steps], 1), strict=True):
                each.copy_(before[each] + moved.reshape(each.shape).to(each.dtype))
        for each, weights in held.items():
            each.copy_(weights)

    def facts(self) -> dict[str, Any]:
        """Return the task beside the rest."""
        return {**super().facts(), "current": self.current}

    def load_facts(self, facts: Any) -> None:
        """Take over what `facts` returned."""
        super().load_facts(facts)
        self.current = facts["current"]

    def kept_arrays(self) -> dict[str, NDArray]:
        """Return the subspaces."""
        both = (("subspace", self.known), ("fresh", self.fresh))
        return {f"{title}/{name}": array_of(rows) for title, found in both for name, rows in found.items()}

    def take_over(self, arrays: Any, facts: Any) -> None:
        """Take over these beside the rest."""
        super().take_over(arrays, facts)
        self.known, self.fresh = self.weights_under("subspace", arrays), self.weights_under("fresh", arrays)
