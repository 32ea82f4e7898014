"""Experience replay, and GDumb: learning from a memory alone."""

import torch

from spikelore.continual.methods.base import Learner
from spikelore.shapes import Images, Labels


class ExperienceReplay(Learner):
    """Each step learns from the new images and from as many stored ones as ``replay_batch`` says.

    The loss is the new images' mean cross entropy plus the stored ones'. New images are offered to the memory after
    the step on them.

    Source: Chaudhry et al. 2019 (arXiv 1902.10486); with ``loss_over: batch`` ER-ACE, Caccia et al. 2022 (arXiv
    2104.05025).
    """

    def loss(self, images: Images, labels: Labels, columns: torch.Tensor, task: int) -> torch.Tensor:
        """Return the cross entropy of the new images plus that of the replayed ones."""
        del labels, task
        inputs = self.to_input(images)
        if self.memory is None or not len(self.memory):
            return self.new_images_loss(self.logits(inputs), columns)
        stored, stored_columns, _ = self.replayed(self.settings.replay_batch)
        logits = self.logits(torch.cat([inputs, stored]))
        new = self.new_images_loss(logits[: len(columns)], columns)
        return new + self.replayed_images_loss(logits[len(columns) :], stored_columns)


class GDumb(Learner):
    """Only fills the memory; when asked, a network with fresh weights learns from the memory alone.

    Source: Prabhu et al. 2020 (ECCV, "GDumb"). Deviations: the memory's policy in place of the paper's greedy balancer,
    Adam with a cosine in place of SGD with warm restarts, and no cutmix.
    """

    def learn(self, images: Images, labels: Labels, task: int) -> float:
        """Offer the images to the memory; nothing is learned, so the loss is 0."""
        labels = self.checked(images, labels, task)
        columns = self.columns(labels)
        self.seen.extend(label for label in dict.fromkeys(labels.tolist()) if label not in self.seen)
        self.remember(images, labels, columns, task)
        return 0.0
