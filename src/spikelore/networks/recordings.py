"""What networks have in common that take recordings of spikes."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from spikelore.data.events import Events, as_bins
from spikelore.networks.devices import device_of
from spikelore.networks.headed import HeadedNetwork

_DECIDED_AT_ONCE = 128


class TakesRecordings(HeadedNetwork):
    """A network of recordings of spikes; answers `spikelore.networks.protocol.SeesSpikes`.

    Inputs are `Events`, which are put into ``config.steps`` bins of ``config.bin_us`` (later events are dropped), or
    bins themselves, (N,T,*units) bool.
    """

    @property
    def input_ms(self) -> float:
        """How long an input lasts, for the clocks of synapses."""
        return self.config.steps * self.config.bin_ms

    @property
    def spikes_seen(self) -> tuple[int, ...]:
        """Shape of the spikes that it makes of an input: (T,*units)."""
        return self.config.steps, *self.input_shape

    def checked(self, inputs: Any) -> Any:
        """Return recordings as they are, if they are of the network's units; InputError for others."""
        if isinstance(inputs, Events) and inputs.unit_shape == self.input_shape:
            return inputs
        return self.spikes_of(inputs[:0] if isinstance(inputs, Events) else inputs)

    def spikes_of(self, inputs: Any) -> NDArray[np.bool_]:
        """Return the bins of recordings, (N,T,*units) bool."""
        return as_bins(inputs, self.config.steps, self.config.bin_us, self.input_shape)

    def to_input(self, inputs: Any) -> torch.Tensor:
        """Return recordings as (B,T,*units) float spikes on the weights' device, laid out step after step."""
        bins = self.spikes_of(self.checked(inputs))
        steps = torch.from_numpy(np.ascontiguousarray(bins.swapaxes(0, 1)))
        return steps.to(device_of(self)).float().transpose(0, 1)

    def _looks(self, inputs: Any, /) -> Iterator[torch.Tensor]:
        for n in range(0, len(inputs), _DECIDED_AT_ONCE):
            yield self.encode(self.to_input(inputs[n : n + _DECIDED_AT_ONCE]))
