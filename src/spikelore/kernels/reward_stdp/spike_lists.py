"""Which inputs of an image spike, as lists of channels per place."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class SpikeLists:
    """Spikes of N images of C channels at H x W places, without their time.

    Attributes:
        starts: (N, H*W + 1) int64; the spikes of image n at place p (row-major) are
            ``channels[starts[n, p] : starts[n, p + 1]]``, ascending.
        channels: (total,) uint16.
        shape: (C, H, W).
    """

    starts: NDArray[np.int64]
    channels: NDArray[np.uint16]
    shape: tuple[int, int, int]

    def __len__(self) -> int:
        return len(self.starts)

    @classmethod
    def from_spikes(cls, spiked: NDArray[np.bool_]) -> "SpikeLists":
        """Build the lists from (N,C,H,W) bool."""
        images, channels, height, width = spiked.shape
        by_place = np.ascontiguousarray(spiked.reshape(images, channels, height * width).transpose(0, 2, 1))
        ends = np.count_nonzero(by_place, axis=2).ravel().cumsum().reshape(images, -1)
        starts = np.empty((images, height * width + 1), np.int64)
        starts[:, 1:] = ends
        starts[0, :1] = 0
        starts[1:, 0] = ends[:-1, -1]
        number = np.uint32 if by_place.size < 2**32 else np.uint64  # short ones divide in half the time
        flat = np.flatnonzero(by_place).astype(number)
        return cls(starts, (flat % number(channels)).astype(np.uint16), (channels, height, width))

    @classmethod
    def concatenate(cls, parts: "list[SpikeLists]") -> "SpikeLists":
        """Join lists of the same shape, in order."""
        offsets = np.cumsum([0, *(len(part.channels) for part in parts)])
        return cls(
            np.concatenate([part.starts + offset for part, offset in zip(parts, offsets, strict=False)]),
            np.concatenate([part.channels for part in parts]),
            parts[0].shape,
        )

    def spikes(self, image: int) -> NDArray[np.bool_]:
        """Return the spikes of one image, (C,H,W) bool."""
        channels, height, width = self.shape
        dense = np.zeros((height * width, channels), np.bool_)
        for place in range(height * width):
            dense[place, self.channels[self.starts[image, place] : self.starts[image, place + 1]]] = True
        return dense.T.reshape(self.shape)

    def counts(self) -> NDArray[np.int64]:
        """Return the number of spikes of each image, (N,) int64."""
        return self.starts[:, -1] - self.starts[:, 0]
