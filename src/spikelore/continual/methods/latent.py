"""Latent replay: the spikes of a frozen layer are stored in place of images."""

from typing import Any

import numpy as np
import torch

from spikelore.continual.methods.replay import MemoryLearner
from spikelore.continual.storage import CodedSpikes, Storage, blank_input, form_of_inputs, packed_spikes
from spikelore.data.streams import batches
from spikelore.errors import InputError
from spikelore.networks.devices import array_of
from spikelore.networks.foreign import kind_of, respond, same_draws
from spikelore.networks.protocol import LayeredModule
from spikelore.randomness import generator
from spikelore.shapes import Images, Labels

_ENCODED_AT_ONCE = 256


class LatentReplayLearner(MemoryLearner):
    """Layers below ``network.split`` are frozen after ``freeze_after`` images, or if that is 0 with the first task.

    From then on their spikes are replayed. Of several passes over the first task they learn in all but the last, in
    which its spikes are stored; after a single one they are frozen at its end.

    The network gives ``features(images)``, spikes (T,B,...) or (1,B,...) where all steps are alike, and
    ``head(features)``, output spikes (T,B,K). A stored example takes a bit a neuron and step, as many steps less as
    ``memory.compression`` says, or what arithmetic coding makes of them.

    Spikes of layers that still learn would soon be out of date. So a memory that sees images before the freezing holds
    these, and nothing is replayed from it; at the freezing each held image is replaced by its spikes. A place is as
    large as the larger of the two (coded spikes have none: later ones fill the room that inputs took), and nothing is
    held outside the memory. A stream that ends before the freezing is learned without replay.

    Source: Pellegrini et al. 2020 (arXiv 1912.01100); in spikes, bit-packed: Ravaglia et al. 2021, Dequino et al. 2024
    (arXiv 2407.03111).

    Raises:
        InputError: the features are not spikes.
    """

    _form: tuple[int, ...] = ()
    images_seen = 0
    frozen = False
    """Whether the layers below the split have stopped learning."""
    earlier: list[int] | None = None
    """Places that are replayed after passes: those in use when the task began, or the first one with a replay."""

    def make_storage(self) -> Storage:
        """Return the packing of the layer's spikes."""
        rng, shape = generator(self.seed, "learner", "trial image"), blank_input(self.network).shape
        trial: Any = rng.random(shape) < 0.5 if self.sees_spikes else rng.integers(0, 256, shape).astype(np.uint8)
        with same_draws(self.module):
            features = self._features(trial)
        if not ((features == 0) | (features == 1)).all():
            raise InputError(
                f"the features of {self._name} are not all 0 or 1, expected spikes for latent replay; "
                "raise network.split or choose another coding"
            )
        self._form = (len(features), *features.shape[2:])
        kept = self.method.memory
        packed = packed_spikes(self._form, kept.compression, stretched=kept.replayed == "stretched")
        return CodedSpikes(packed) if kept.arithmetic_coding else packed

    @property
    def _freezes_with_last_pass(self) -> bool:
        return not self.method.freeze_after and self.method.epochs > 1

    def keeps(self, task: int) -> bool:
        """Return whether examples are offered: in the last pass where layers freeze before it or replay comes after."""
        if self.method.replay_order != "beside" or (self._freezes_with_last_pass and task == 0):
            return self.passes == self.method.epochs
        return super().keeps(task)

    def row_bytes(self) -> int:
        """Return the bytes of packed spikes, or of an input if these are more and it is held before the freezing."""
        images = 0 if self._freezes_with_last_pass else self._images.row_bytes
        return max(self.storage.row_bytes, images)

    @property
    def _images(self) -> Storage:
        kept = self.method.memory
        if not self.sees_spikes:
            return form_of_inputs(self.network)
        return form_of_inputs(self.network, "raw", kept.compression, coded=kept.arithmetic_coding)

    @torch.no_grad()
    def _features(self, images: Images) -> torch.Tensor:
        """Return the spikes (T,B,...) of the layers that are frozen or about to be: nothing in them moves."""
        assert isinstance(self.module, LayeredModule)
        found = respond(self.module, self.module.features, self.to_input(images), still=True)
        if not isinstance(found, torch.Tensor) or found.dim() < 3 or found.shape[1] != len(images):
            raise InputError(
                f"{self._name}.features returned {kind_of(found)} for {len(images)} images, expected a tensor "
                "(T,B,...) of spikes over time for latent replay; return it or choose another method"
            )
        form = (len(found), *found.shape[2:])
        if self._form and form != self._form:
            raise InputError(
                f"{self._name}.features returned {form} for an image, expected {self._form} as before; return as many "
                "steps and neurons each time"
            )
        return found.float()

    def _encoded(self, images: Images) -> Any:
        """Return the packed spikes of images; as stored they are (B,T,...)."""
        return self.storage.pack(array_of(self._features(images).transpose(0, 1)))

    def _as_features(self, spikes: Any) -> torch.Tensor:
        """Return stored spikes (B,T,...) as `_features` gives them, (T,B,...)."""
        return torch.from_numpy(spikes).to(self.device).float().transpose(0, 1)

    def loss(self, images: Images, labels: Labels, columns: torch.Tensor, task: int) -> torch.Tensor:
        """Return the cross entropy of the new images plus that of the replayed spikes."""
        del labels
        if task < 0 and not self.method.freeze_after:
            raise InputError(
                "freeze_after is 0, the end of the first task, expected a number of images in a stream that tells no "
                "tasks; set it"
            )
        if not self.frozen:
            return self.new_images_loss(self.logits(self.to_learn(images)), columns)
        features = self._features(images)
        if not len(self.memory) or self.method.replay_order != "beside":
            return self.new_images_loss(self.logits_of(features), columns)
        spikes, stored_labels, _ = self.drawn(self.method.replay_batch)
        stored = self._as_features(spikes)
        if len(stored) == len(features):
            new, old = self.logits_of(torch.cat([features, stored], dim=1)).split([len(columns), len(stored_labels)])
        else:
            new, old = self.logits_of(features), self.logits_of(stored)
        return self.new_images_loss(new, columns) + self.replayed_images_loss(old, self.columns(stored_labels))

    def remember(self, images: Images, labels: Labels, columns: torch.Tensor, task: int) -> None:
        """Offer the new images, or after the freezing their spikes; at the freezing encode what is held."""
        del columns
        if self.frozen:
            if self.keeps(task):
                self.memory.offer(self._encoded(images), labels, task=task)
            return
        if self.keeps(task):
            self.memory.offer(self._images.pack(images), labels, task=task)
        self.images_seen += len(images)
        if 0 < self.method.freeze_after <= self.images_seen:
            self._freeze()

    def begin_task(self, task: int, classes: tuple[int, ...]) -> None:
        """Note what is stored before the task."""
        super().begin_task(task, classes)
        if (
            task
            and self.method.replay_order != "beside"
            and (self.earlier is None or self.method.replay_order == "after")
        ):
            self.earlier = self.memory.rng.permutation(self.memory.taken()).tolist()

    def begin_epoch(self, task: int) -> None:
        """Freeze before the last of several passes over the first task, if no number of images says when."""
        if self.passes:
            self._replay_after(task)
        super().begin_epoch(task)
        if self._freezes_with_last_pass and self.keeps(task) and not self.frozen:
            self._freeze()

    def end_task(self, task: int) -> None:
        """Freeze after the first task, if no number of images says when."""
        self._replay_after(task)
        super().end_task(task)
        if not (self.method.freeze_after or self.frozen):
            self._freeze()

    def _freeze(self) -> None:
        self.frozen = True
        taken, encoded = self.memory.taken(), []
        for places in batches(taken, _ENCODED_AT_ONCE):
            rows, _, _ = self.memory.get(places)
            encoded.extend(self._encoded(self._images.unpack(rows)))
        self.memory.replace(taken, encoded)

    def _replay_after(self, task: int) -> None:
        """Learn once from what was stored before the task, if it is not replayed beside new images."""
        if self.method.replay_order == "beside" or not task:
            return
        order = np.array(self.earlier, np.int64)
        order = order[np.isin(order, self.memory.taken())]  # a place of coded spikes goes with its example
        if self.method.replay_order == "after":
            order = self.memory.rng.permutation(order)
        with self.undone_by_failure(), self.own_draws():
            for places in batches(order, self.method.replay_batch):
                rows, labels, _ = self.memory.get(places)
                logits = self.logits_of(self._as_features(self.storage.unpack(rows)))
                self.descend(self.replayed_images_loss(logits, self.columns(labels)))

    def facts(self) -> dict[str, Any]:
        """Return the number of images seen before the freezing, and whether that was, beside the rest."""
        return {**super().facts(), "images seen": self.images_seen, "frozen": self.frozen, "earlier": self.earlier}

    def load_facts(self, facts: Any) -> None:
        """Take over what `facts` returned."""
        super().load_facts(facts)
        self.images_seen, self.frozen, self.earlier = facts["images seen"], facts["frozen"], facts["earlier"]
