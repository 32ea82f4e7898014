"""Dark experience replay ++."""

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812 - the field's name

from spikelore.continual.methods.replay import ReplayLearner
from spikelore.networks.devices import array_of
from spikelore.shapes import Images, Labels


class DarkReplayLearner(ReplayLearner):
    """Each stored image keeps the logits that the network gave it on arrival; replay holds the network to them.

    They are those of the step that learned the image, before its weights changed, in the mode of learning.

    With new images x, stored images m with logits z, and further stored images m' with labels y'::

        loss = CE(f(x), y) + strength * MSE(f(m), z) + replay_strength * CE(f(m'), y')

    An image that was stored before a class came to be known is not compared in that class's output.

    Source: Buzzega et al. 2020 (NeurIPS, "DER++"), equation 6; there CE is over all outputs (``loss_over: all``).
    """

    def extras(self) -> int:
        """Return the number of logits."""
        return len(self.classes)

    def loss(self, images: Images, labels: Labels, columns: torch.Tensor, task: int) -> torch.Tensor:
        """Return the three terms' sum; the new images' logits are kept for `remember`."""
        del labels, task
        inputs = self.to_learn(images)
        if not len(self.memory):
            logits = self.logits(inputs)[:, : len(self.classes)]
            self._arrived = logits.detach()
            return self.new_images_loss(logits, columns)
        count = self.method.replay_batch
        first, _, kept = self.replayed(count)
        second, stored_columns, _ = self.replayed(count)
        both = self.logits_apart(inputs, first, second)
        new, matched, labelled = (each[:, : len(self.classes)] for each in both)
        self._arrived = new.detach()
        return (
            self.new_images_loss(new, columns)
            + self.method.strength * _distance(matched, kept)
            + self.method.replay_strength * self.replayed_images_loss(labelled, stored_columns)
        )

    def remember(self, images: Images, labels: Labels, columns: torch.Tensor, task: int) -> None:
        """Offer the new images with the logits of this step, in the first pass over a task."""
        del columns
        if not self.keeps(task):
            return
        extras = np.ascontiguousarray(array_of(self._arrived), np.float32)
        self.memory.offer(self.storage.pack(self.shown(images)), labels, task=task, extras=extras)


def _distance(logits: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
    """Return the mean squared distance of (B,K) logits to the kept ones, of which some classes came later (NaN).

    The kept ones are on the processor, where it is known without waiting which these are.
    """
    known = ~kept.isnan()
    if known.all():
        return F.mse_loss(logits, kept.to(logits.device))
    places = known.flatten().nonzero()[:, 0].to(logits.device)
    return F.mse_loss(logits.flatten()[places], kept[known].to(logits.device))
