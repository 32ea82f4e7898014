"""`prototypes` on a network that gradients teach: it learns for a while, and then its features are frozen."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from spikelore.continual.methods.gradient import GradientLearner
from spikelore.continual.methods.prototypes import statistics_of
from spikelore.continual.storage import blank_input
from spikelore.errors import InputError
from spikelore.files import arrays_under
from spikelore.networks.devices import array_of
from spikelore.networks.foreign import put_, respond, same_draws
from spikelore.networks.protocol import LayeredModule
from spikelore.shapes import Images, Labels

_AT_ONCE = 256


class FrozenFeaturesLearner(GradientLearner):
    """Learns by gradients from ``freeze_after`` images; from then on nothing in the network moves.

    The features are the spike counts of the module's ``features``. They are of the averaged weights, if there are any.
    """

    def __init__(self, method: Any, network: Any, *, seed: int = 0, tasks: int = 1) -> None:
        super().__init__(method, network, seed=seed, tasks=tasks)
        self.images_seen = 0
        with same_draws(self.module):
            size = self._features(blank_input(network)).shape[1]
        self.statistics = statistics_of(method, size)

    @property
    def frozen(self) -> bool:
        """Whether the network has stopped learning."""
        return self.images_seen >= self.method.freeze_after

    @property
    def memory_bytes(self) -> int:
        """Bytes of the statistics."""
        return self.statistics.bytes

    @torch.no_grad()
    def _features(self, images: Images) -> NDArray[np.float64]:
        assert isinstance(self.module, LayeredModule)
        found = []
        for part in (images[n : n + _AT_ONCE] for n in range(0, len(images), _AT_ONCE)):
            spikes = respond(self.module, self.module.features, self.to_input(part), still=True)
            found.append(array_of(spikes.sum(0).flatten(1)).astype(np.float64))
        counts = np.concatenate(found)
        if (counts != np.rint(counts)).any():
            raise InputError(
                f"the features of {self._name} are no whole numbers, expected counts of spikes for {self.method.name}; "
                "raise network.split or choose another coding"
            )
        return counts

    def take_step(self, images: Images, labels: Labels, columns: torch.Tensor, task: int) -> float:
        """Take a step, or once the network is frozen add up its features."""
        if not self.frozen:
            return super().take_step(images, labels, columns, task)
        self.statistics.learn(self._features(images), labels)
        return 0.0

    def remember(self, images: Images, labels: Labels, columns: torch.Tensor, task: int) -> None:
        """Count the images, and at the freezing take the averaged weights."""
        if self.frozen:
            return
        self.images_seen += len(images)
        if self.frozen:
            put_(self.module, self.averaged)
            self.averaged, self.optimiser = {}, None

    def decide(self, images: Images, among: tuple[int, ...]) -> Labels:
        """Return the class in ``among`` that each image is decided for: by the network until it is frozen."""
        if not len(self.statistics.labels) or not len(images):
            return super().decide(images, among)
        return self.statistics.decide(self._features(images), among)

    def facts(self) -> dict[str, Any]:
        """Return the number of images before the freezing beside the rest."""
        return {**super().facts(), "images seen": self.images_seen}

    def load_facts(self, facts: Any) -> None:
        """Take over what `facts` returned."""
        super().load_facts(facts)
        self.images_seen = facts["images seen"]
        if self.frozen:
            self.optimiser = None

    def kept_arrays(self) -> dict[str, NDArray]:
        """Return the statistics."""
        return {f"statistics/{name}": array for name, array in self.statistics.arrays().items()}

    def take_over(self, arrays: Any, facts: Any) -> None:
        """Take over these beside the rest."""
        super().take_over(arrays, facts)
        self.statistics.load(arrays_under("statistics", arrays))
