"""Replay that changes the gradient itself: what `GradientReplay.gradient` makes of two gradients is followed."""

import numpy as np
import torch

from spikelore.continual.methods.replay import MemoryLearner
from spikelore.errors import InputError, SpikeloreError
from spikelore.networks.foreign import kind_of, reason_of
from spikelore.shapes import Images, Labels


class GradientReplayLearner(MemoryLearner):
    """Each step follows what the method makes of the new images' gradient and the stored ones'."""

    def take_step(self, images: Images, labels: Labels, columns: torch.Tensor, task: int) -> float:
        """Follow the method's gradient, or while nothing is stored the new images' own; return their loss."""
        del labels, task
        loss = self.new_images_loss(self.logits(self.to_learn(images)), columns)
        if not len(self.memory):
            return self.descend(loss)
        inputs, stored_columns, _ = self.replayed(self.method.replay_batch)
        stored = self.gradient_of(self.replayed_images_loss(self.logits(inputs), stored_columns))
        gradient = self._asked_gradient(self.gradient_of(loss), stored)
        self.descend(torch.cat([each.flatten() for each in self._weights()]) @ gradient)  # whose gradient it is
        return float(loss.detach())

    def gradient_of(self, loss: torch.Tensor) -> torch.Tensor:
        """Return the gradient of a loss, (P,): of all P weights that learn, in their order, 0 where none reaches.

        Raises:
            SpikeloreError: the loss depends on no weight, or its gradients cannot be computed.
        """
        weights = self._weights()
        try:
            found = torch.autograd.grad(loss, weights, allow_unused=True, materialize_grads=True)
        except RuntimeError as error:
            raise SpikeloreError(
                f"the gradients could not be computed, no weight was changed: {reason_of(error)}; let gradients "
                "through (a surrogate function, no detach() or no_grad())"
            ) from error
        return torch.cat([each.flatten() for each in found])

    def _weights(self) -> list[torch.nn.Parameter]:
        return [each for each in self.module.parameters() if each.requires_grad]

    def _asked_gradient(self, new: torch.Tensor, stored: torch.Tensor) -> torch.Tensor:
        """Return what the method makes of two gradients, (P,), and refuse what is none."""
        name = self.method.name
        try:
            found = self.method.gradient(self, new, stored)
        except Exception as error:
            raise SpikeloreError(
                f"gradient of {name} failed, no weight was changed: {reason_of(error)}; correct it"
            ) from error
        found = torch.from_numpy(found) if isinstance(found, np.ndarray) else found
        if not isinstance(found, torch.Tensor) or found.shape != new.shape:
            raise InputError(
                f"gradient of {name} returned {kind_of(found)}, expected a vector {tuple(new.shape)} as its arguments; "
                "return one"
            )
        if not bool(found.isfinite().all()):
            raise SpikeloreError(
                f"gradient of {name} returned numbers that are not finite; no weight was changed: look for a division "
                "by 0"
            )
        return found.detach().to(new)
