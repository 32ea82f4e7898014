"""When each synapse of a convolutional layer last had a presynaptic spike: what decay needs to know of it."""

import math

import numpy as np
from numpy.typing import NDArray

from spikelore.errors import InputError
from spikelore.shapes import Weights


class LayerUse:
    """The weights of a convolutional layer and the last presynaptic spike of each of its synapses.

    Weights are shared over places. Synapse (c, y, x) of a kernel is used by an image if an input of channel c
    spikes anywhere from where that synapse reaches a neuron of the layer. First-spike networks have no clock
    that runs on from image to image; here each image lasts ``image_ms``, and its spikes count as at its end.

    Args:
        weights: (F,C,K,K), the array that decay changes; a copy leaves the network as it is.
        padding: zeros around the layer's input.
        stride: places from one neuron to the next.
        image_ms: time an image takes.

    Raises:
        InputError: the time is not positive.

    Example:
        >>> import numpy as np
        >>> from spikelore.continual.unused_decay import decay_unused_
        >>> from spikelore.networks.layer_use import LayerUse
        >>> use = LayerUse(np.ones((1, 2, 1, 1), np.float32), padding=0, image_ms=500.0)
        >>> spiked = np.zeros((4, 2, 3, 3), np.bool_)
        >>> spiked[:, 0, 1, 1] = True  # channel 0 spikes in every image, channel 1 in none
        >>> use.show_(spiked)
        >>> decay_unused_(use, tau_prune_ms=2000.0)
        >>> [round(float(weight), 3) for weight in use.weights.ravel()]
        [1.0, 0.368]
    """

    def __init__(self, weights: Weights, *, padding: int, stride: int = 1, image_ms: float = 500.0) -> None:
        if not (math.isfinite(image_ms) and image_ms > 0):
            raise InputError(f"image_ms is {image_ms}, expected a time greater than 0; 500 is that of the LIF network")
        self.weights = weights
        self.padding = padding
        self.stride = stride
        self.image_ms = image_ms
        self.images_seen = 0
        self.last_presynaptic_spike_ms: NDArray[np.float64] = np.zeros((1, *weights.shape[1:]))

    @property
    def now_ms(self) -> float:
        """The time of all images shown."""
        return self.images_seen * self.image_ms

    def show_(self, spiked: NDArray[np.bool_]) -> None:
        """Let time go on by images whose inputs to the layer spike where ``spiked`` (N,C,H,W) says.

        Raises:
            InputError: another number of channels than the weights have.
        """
        channels = self.weights.shape[1]
        if spiked.ndim != 4 or spiked.shape[1] != channels:
            raise InputError(f"spikes have shape {spiked.shape}, expected (images, {channels}, rows, columns)")
        ends = (self.images_seen + 1 + np.arange(len(spiked))) * self.image_ms
        self.last_presynaptic_spike_ms = latest_use(
            self.last_presynaptic_spike_ms, spiked, self.padding, ends, stride=self.stride
        )
        self.images_seen += len(spiked)


def latest_use(
    last: NDArray[np.float64],
    spiked: NDArray[np.bool_],
    padding: int,
    ends: NDArray[np.floating],
    *,
    stride: int = 1,
) -> NDArray[np.float64]:
    """Return when each synapse of a convolutional layer last had a presynaptic spike, after further images.

    Args:
        last: (1,C,K,K) before them; not changed.
        spiked: (N,C,H,W), the layer's input.
        padding: zeros around it.
        ends: (N,) when each image ends.
        stride: places from one neuron to the next.
    """
    last, kernel = last.copy(), last.shape[2]
    for y, x in np.ndindex(kernel, kernel):
        rows, columns = (
            slice(
                (at - padding) % stride if at < padding else at - padding,
                max(0, at + padding + size - kernel + 1),
                stride,
            )
            for at, size in zip((y, x), spiked.shape[2:], strict=True)
        )
        used = spiked[:, :, rows, columns].any(axis=(2, 3))
        last[0, :, y, x] = np.maximum(last[0, :, y, x], (used * ends[:, None]).max(axis=0, initial=0.0))
    return last
