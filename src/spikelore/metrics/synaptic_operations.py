"""What an event-driven processor would do: additions of a weight to a potential, one for each spike and synapse."""

import numpy as np
from numpy.typing import NDArray

from spikelore.errors import InputError, check_whole


def convolution_operations(spiked: NDArray[np.bool_], *, features: int, kernel: int, padding: int) -> NDArray[np.int64]:
    """Count the synaptic operations of a convolution layer whose inputs spike at most once.

    A spike at row y and column x is added once for every feature and every window that covers it,

        operations = F sum over spikes of r(y) r(x),    r(y) = #{0 <= o < H' : o <= y + p < o + K},

    with K the kernel's side, p the padding and H' = H + 2p - K + 1 output rows (columns likewise).

    Args:
        spiked: (N,C,H,W) bool.
        features: F, the layer's features.
        kernel: K.
        padding: p, silent rows and columns around the input.

    Returns:
        (N,) int64.

    Raises:
        InputError: another shape, or no window fits.

    Example:
        >>> import numpy as np
        >>> from spikelore.metrics.synaptic_operations import convolution_operations
        >>> one_spike = np.zeros((1, 1, 4, 4), np.bool_)
        >>> one_spike[0, 0, 1, 1] = True  # 2 x 2 windows of 3 x 3 cover it
        >>> convolution_operations(one_spike, features=10, kernel=3, padding=0).tolist()
        [40]
    """
    check_whole("kernel", kernel, 1)
    check_whole("padding", padding)
    check_whole("features", features)
    spiked = np.asarray(spiked)
    if spiked.ndim != 4 or min(spiked.shape[2:]) + 2 * padding < kernel:
        raise InputError(
            f"spikes have shape {spiked.shape}, expected (images, channels, rows, columns) with rows and columns of at "
            f"least {kernel - 2 * padding}; give larger images or a smaller kernel"
        )
    rows, columns = (
        np.convolve(np.ones(side + 2 * padding - kernel + 1, np.int64), np.ones(kernel, np.int64))[padding:][:side]
        for side in spiked.shape[2:]
    )
    per_place = np.count_nonzero(spiked, axis=1).astype(np.int64)
    return features * np.einsum("nhw,h,w->n", per_place, rows, columns)
