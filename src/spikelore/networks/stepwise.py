"""A model of one step as a network over time: the loop around it, each call from rest."""

from collections import deque
from collections.abc import Callable
from functools import partial
from inspect import getclosurevars
from types import FunctionType, MethodType
from typing import Any

import torch
from torch import nn

from spikelore.errors import InputError
from spikelore.networks.foreign import at_rest, kind_of


class Stepwise(nn.Module):
    """A model of one step in a loop over time; see `stepwise`."""

    def __init__(self, step: Callable[[torch.Tensor], Any], steps: int, reset: Callable[[], Any] | None) -> None:
        super().__init__()
        if steps < 1:
            raise InputError(f"steps is {steps}, expected at least 1; choose another number")
        if not callable(step) or isinstance(step, type):
            raise InputError(f"step is {step!r}, expected a module or a function of one step; make one first")
        known = _known_to(step)
        self.models = nn.ModuleList(each for each in known if isinstance(each, nn.Module))
        self.steps = steps
        self._step = [step]  # in a list, so that a module is not registered twice
        self._known = [vars(each) if hasattr(each, "__dict__") else each for each in known if _may_hold_state(each)]
        self._reset = reset

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return (T,B,classes) spikes."""
        if self._reset is not None:
            self._reset()
        with at_rest(self):
            return torch.stack([self._one(images) for _ in range(self.steps)])

    def _one(self, images: torch.Tensor) -> torch.Tensor:
        output = self._step[0](images)
        spikes = output[0] if isinstance(output, tuple | list) and output else output
        if not isinstance(spikes, torch.Tensor) or spikes.dim() != 2 or len(spikes) != len(images):
            raise InputError(
                f"the step returned {kind_of(output)} for {len(images)} images, expected a tensor (B,classes) of one "
                "step's spikes; return the spikes alone or first"
            )
        return spikes


def _known_to(step: Any) -> list[Any]:
    """Return where a step may keep its state: itself, the object it is a method of, or what a function names."""
    if isinstance(step, partial):
        return [each for part in (step.func, *step.args, *step.keywords.values()) for each in _known_to(part)]
    if isinstance(step, MethodType):
        return [step.__self__]
    if not isinstance(step, FunctionType):
        return [step]
    named = getclosurevars(step)
    return list({id(each): each for each in (*named.nonlocals.values(), *named.globals.values())}.values())


def _may_hold_state(value: Any) -> bool:
    """Return whether a value that is no module is a container or somebody's object."""
    ours = type(value).__module__.partition(".")[0] in ("builtins", "torch", "numpy")
    return isinstance(value, list | dict | deque) or not (ours or isinstance(value, nn.Module))


def stepwise(step: Callable[[torch.Tensor], Any], steps: int, reset: Callable[[], Any] | None = None) -> Stepwise:
    """Return a module from images to (T,B,classes) spikes around a model of one step that keeps its own state.

    Each call starts from rest. What the steps left in the model's attributes, or in buffers by another shape or with
    gradients, is put back after it, and neurons of snnTorch and SpikingJelly are reset before it. State that is
    elsewhere, as in a function's variable that it assigns anew, needs ``reset``.

    Args:
        step: maps images to the (B,classes) spikes of the next step, or a tuple or list of which they are the first: a
            module, a method of one, or a function that names one.
        steps: T.
        reset: called before the first step of each call.

    Raises:
        InputError: no step, a number of steps below 1, or, when called, an answer of another form.
    """
    return Stepwise(step, steps, reset)
