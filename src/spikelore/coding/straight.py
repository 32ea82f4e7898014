"""Slanted images set upright, before they become spikes."""

import numpy as np
from numpy.typing import NDArray

from spikelore.shapes import Images

_AT_ONCE = 512
"""Images whose intermediate values stay small in memory."""


def straightened(images: Images) -> Images:
    """Return the images without slant: each row shifted so that the row no longer tells where its ink is.

    With p the grey level at row y and column x, brackets the mean over an image weighted by p, and ``y' = y - <y>``,
    ``x' = x - <x>``,

        s = <x' y'> / <y' y'>,    p'(y, x) = p(y, x + s (y - <y>)),

    with linear interpolation between two columns and 0 outside, rounded to whole levels. The row through the centre
    of mass stays, and so do an upright image, one without ink and one whose ink lies in one row. Moments are sums of
    whole numbers, so that the result is the same on every processor.

    Source: what is called deskewing, LeCun et al. 1998 (doi 10.1109/5.726791), section III.B; there images are also
    moved to the middle.

    Args:
        images: (N,H,W) uint8.

    Returns:
        (N,H,W) uint8.

    Example:
        >>> import numpy as np
        >>> from spikelore.coding.straight import straightened
        >>> straightened(np.array([[[9, 0, 0], [0, 9, 0], [0, 0, 9]]], np.uint8))[0].tolist()
        [[0, 9, 0], [0, 9, 0], [0, 9, 0]]
    """
    found = np.empty_like(images)
    for first in range(0, len(images), _AT_ONCE):
        part = slice(first, first + _AT_ONCE)
        found[part] = _sheared(images[part], *_slants(images[part]))
    return found


def _slants(images: Images) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the slant s and the row <y> of each image, (N,) both; 0 where there is none."""
    rows, columns = (np.arange(size, dtype=np.int64) for size in images.shape[1:])
    by_row, by_column = images.sum(2, dtype=np.int64), images.sum(1, dtype=np.int64)
    sums = by_row.sum(1), by_row @ rows, by_column @ columns, by_row @ rows**2, (images @ columns) @ rows
    ink, y, x, yy, xy = (each.astype(np.float64) for each in sums)
    spread = ink * yy - y * y
    slants = np.divide(ink * xy - x * y, spread, out=np.zeros(len(ink)), where=spread > 0)
    return slants, np.divide(y, ink, out=np.zeros(len(ink)), where=ink > 0)


def _sheared(images: Images, slants: NDArray[np.float64], centres: NDArray[np.float64]) -> Images:
    """Return images (N,H,W) whose row y is read at columns moved by ``slants (y - centres)``, (N,) both."""
    height, width = images.shape[1:]
    shifts = slants[:, None] * (np.arange(height) - centres[:, None])
    whole = np.floor(shifts)
    share = (shifts - whole).astype(np.float32)[:, :, None]
    padded = np.pad(images, ((0, 0), (0, 0), (1, 1))).astype(np.float32)
    sources = whole.astype(np.int64)[:, :, None] + np.arange(1, width + 2)
    read = np.take_along_axis(padded, np.clip(sources, 0, width + 1), axis=2)
    left, right = read[:, :, :-1], read[:, :, 1:]
    return np.rint(left * (1 - share) + right * share).astype(np.uint8)
