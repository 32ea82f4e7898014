"""Rank-order coding of grey images through difference-of-Gaussians filters."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from spikelore.errors import InputError, check_fields, check_whole
from spikelore.kernels import DEFAULT_BACKEND, rank_order
from spikelore.shapes import FirstSpikeBins, Images, as_images

_LARGEST_SIDE = 255
"""Pixels of a window: more than those of the images that such a network reads."""


@dataclass(frozen=True)
class DifferenceOfGaussians:
    """One filter: an on-centre (sigma_1 < sigma_2) or off-centre Gaussian difference.

    Attributes:
        size: side of the square window in pixels, odd.
        sigma_1: width of the positive Gaussian in pixels.
        sigma_2: width of the negative Gaussian in pixels.
    """

    size: int
    sigma_1: float
    sigma_2: float

    def kernel(self) -> NDArray[np.float64]:
        """Return the (size, size) kernel: the difference minus its mean, over its maximum."""
        reach = self.size // 2
        y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
        squared = x * x + y * y

        def gaussian(sigma: float) -> NDArray[np.float64]:
            return np.exp(-squared / (2 * sigma**2)) / (2 * np.pi * sigma**2)

        difference = gaussian(self.sigma_1) - gaussian(self.sigma_2)
        difference -= difference.mean()
        return difference / difference.max()


def _published_filters() -> tuple[DifferenceOfGaussians, ...]:
    return tuple(
        DifferenceOfGaussians(size, sigmas[0] / 9, sigmas[1] / 9)
        for size in (3, 7, 13)
        for sigmas in ((size, 2 * size), (2 * size, size))
    )


@dataclass(frozen=True)
class RankOrderConfig:
    """How images become spikes; the defaults are the published ones.

    Attributes:
        filters: one channel each; on and off centres at 3, 7 and 13 pixels.
        threshold: filter responses below it are dropped (pixel value 0..255 x kernel).
        normalization_radius: radius in pixels of the box whose mean divides a response (8: 17 x 17).
        total_bins: number of time bins T.
    """

    filters: tuple[DifferenceOfGaussians, ...] = field(default_factory=_published_filters)
    threshold: float = 50.0
    normalization_radius: int = 8
    total_bins: int = 15

    def __post_init__(self) -> None:
        check_fields(self, "coding.")
        if not self.filters:
            raise InputError("coding.filters is empty; rank-order coding needs at least one filter")
        for one in self.filters:
            check_fields(one, "coding.filters.")
            sigmas = one.sigma_1, one.sigma_2
            if one.size < 1 or one.size % 2 != 1 or not all(0 < sigma < np.inf for sigma in sigmas):
                raise InputError(f"{one} is no filter: its size must be odd and its sigmas positive")
            if one.size == 1 or one.sigma_1 == one.sigma_2:
                raise InputError(f"{one} is 0 everywhere: its size must be above 1 and its sigmas must differ")
            if one.size > _LARGEST_SIDE:
                raise InputError(f"{one} is too large: its size must be at most {_LARGEST_SIDE}")
            with np.errstate(all="ignore"):
                if not np.isfinite(one.kernel()).all():
                    raise InputError(f"{one} is no filter: its values are no finite numbers at these sigmas")
        if not 1 <= self.total_bins <= 127:
            raise InputError(f"coding.total_bins is {self.total_bins}; it must lie in 1..127")
        check_whole("coding.normalization_radius", self.normalization_radius)
        if self.normalization_radius > 4096:
            raise InputError(
                f"coding.normalization_radius is {self.normalization_radius}, expected at most 4096; 8 is published"
            )

    def kernels(self) -> NDArray[np.float32]:
        """Return all filters, (C,K,K) float32, zero-padded to the largest window."""
        largest = max(one.size for one in self.filters)
        out = np.zeros((len(self.filters), largest, largest), np.float32)
        for plane, one in zip(out, self.filters, strict=True):
            edge = (largest - one.size) // 2
            plane[edge : largest - edge, edge : largest - edge] = one.kernel()
        return out


_CHUNK = 512  # images whose intensities are kept at once, four bytes a filter and pixel


def encode(images: Images, config: RankOrderConfig, *, backend: str = DEFAULT_BACKEND) -> FirstSpikeBins:
    """Return the first-spike bins of each image.

    An image with fewer positive responses than bins (a blank one) has no spikes: every bin is ``total_bins``.

    Args:
        images: (N,H,W) uint8.
        config: filters, threshold, normalisation, bins.
        backend: ``numba_cpu`` or ``reference``.

    Returns:
        (N,C,H,W) int8.

    Raises:
        InputError: the images are none that `spikelore.shapes.as_images` takes.

    Source: Mozafari et al. 2019 (doi 10.1016/j.patcog.2019.05.015), section 2.

    Example:
        >>> import numpy as np
        >>> from spikelore.coding.rank_order import RankOrderConfig, encode
        >>> image = np.zeros((1, 28, 28), np.uint8)
        >>> image[0, 8:20, 13:15] = 255
        >>> bins = encode(image, RankOrderConfig())
        >>> counts = np.bincount(bins.ravel(), minlength=16)
        >>> bool(counts[0] > 0 and (counts[:15] == counts[0]).all())
        True
    """
    images = as_images(images)
    kernels = config.kernels()
    out = np.empty((len(images), len(kernels), *images.shape[1:]), np.int8)
    for start in range(0, len(images), _CHUNK):
        part = slice(start, start + _CHUNK)
        out[part] = rank_order.first_spike_bins(
            rank_order.intensities(
                images[part],
                kernels,
                threshold=config.threshold,
                normalization_radius=config.normalization_radius,
                backend=backend,
            ),
            total_bins=config.total_bins,
            backend=backend,
        )
    return out
