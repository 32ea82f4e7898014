"""Latent replay: the spikes of a frozen layer are stored in place of images."""

from typing import Any

import numpy as np
import torch

from spikelore.continual.memory import PackedSpikes, Storage
from spikelore.continual.methods.base import Learner
from spikelore.errors import InputError
from spikelore.networks.protocol import LayeredModule
from spikelore.shapes import Images, Labels


class LatentReplay(Learner):
    """Layers below ``network.split`` are frozen after ``freeze_after`` images; from then on their spikes are replayed.

    The network gives ``features(images)``, spikes (T,B,...) or (1,B,...) where all steps are alike, and
    ``head(features)``, output spikes (T,B,K). What is stored before the freezing is encoded by layers that still
    learn, so examples are offered to the memory only from then on, and, of the images before, those of the last
    ``freeze_after`` are offered at the moment of freezing. A stored example takes a bit a neuron and step.

    Source: Pellegrini et al. 2020 (arXiv 1912.01100); in spikes, bit-packed: Ravaglia et al. 2021, Dequino et al. 2024
    (arXiv 2407.03111).

    Raises:
        InputError: the network has no ``features`` and ``head``.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.images_seen = 0
        self.waiting: list[tuple[Images, Labels, int]] = []

    def make_storage(self) -> Storage:
        """Return the packing of the layer's spikes."""
        if not isinstance(self.network, LayeredModule):
            raise InputError(
                f"latent replay needs a network with features and head, which {type(self.network).__name__} does not "
                "have; choose another method"
            )
        steps, _, *places = self._features(np.zeros((1, *self.image_shape), np.uint8)).shape
        return PackedSpikes((steps, *places))

    @property
    def frozen(self) -> bool:
        """Whether the layers below the split have stopped learning."""
        return self.images_seen >= self.settings.freeze_after

    @torch.no_grad()
    def _features(self, images: Images) -> torch.Tensor:
        assert isinstance(self.network, LayeredModule)
        return self.network.features(self.to_input(images))

    def loss(self, images: Images, labels: Labels, columns: torch.Tensor, task: int) -> torch.Tensor:
        """Return the cross entropy of the new images plus that of the replayed spikes."""
        del labels, task
        if not self.frozen or self.memory is None or not len(self.memory):
            return self.new_images_loss(self.logits(self.to_input(images)), columns)
        rows, stored_labels, _ = self.memory.get(
            self.memory.sample(self.settings.replay_batch, balanced=self.settings.balanced_replay)
        )
        # (B,T,...) as stored, (T,B,...) as the network wants it.
        stored = torch.from_numpy(self.storage.unpack(rows)).float().transpose(0, 1)
        features = torch.cat([self._features(images), stored], dim=1)
        logits = self.logits_of(features)
        new = self.new_images_loss(logits[: len(columns)], columns)
        return new + self.replayed_images_loss(logits[len(columns) :], self.columns(stored_labels))

    def remember(self, images: Images, labels: Labels, columns: torch.Tensor, task: int) -> None:
        """Offer the new images' spikes; before the freezing keep the images until then."""
        self.images_seen += len(images)
        self.waiting.append((images, labels, max(task, 0)))
        if not self.frozen:
            return
        assert self.memory is not None
        for each, their_labels, their_task in self.waiting:
            features = self._features(each).transpose(0, 1).numpy()
            self.memory.offer(self.storage.pack(features), their_labels, task=their_task)
        self.waiting = []

    def facts(self) -> dict[str, Any]:
        """Return the number of images seen beside the rest."""
        return {**super().facts(), "images seen": self.images_seen}

    def load_facts(self, facts: Any) -> None:
        """Take over what `facts` returned."""
        super().load_facts(facts)
        self.images_seen = facts["images seen"]

    def state_dict(self) -> Any:
        """Return the images that wait for the freezing beside the rest."""
        arrays, facts = super().state_dict()
        if self.waiting:
            arrays["waiting/images"] = np.concatenate([each[0] for each in self.waiting])
            arrays["waiting/labels"] = np.concatenate([each[1] for each in self.waiting])
            arrays["waiting/tasks"] = np.concatenate([np.full(len(each[1]), each[2]) for each in self.waiting])
        return arrays, facts

    def load_state_dict(self, arrays: Any, facts: str) -> None:
        """Take over what `state_dict` returned."""
        super().load_state_dict(arrays, facts)
        if "waiting/images" in arrays:
            images, labels, tasks = (arrays[f"waiting/{name}"] for name in ("images", "labels", "tasks"))
            self.waiting = [(images[tasks == task], labels[tasks == task], int(task)) for task in np.unique(tasks)]
