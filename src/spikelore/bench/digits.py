"""The digits that a dependency ships, as benchmarks take them."""

from collections.abc import Sequence

import numpy as np

from spikelore.data import Examples, load
from spikelore.errors import InputError
from spikelore.kernels import need_compiled

_LEAST = 16


def digits(images: int, seed: int, classes: Sequence[int] | None = None) -> Examples:
    """Return so many training images, or all there are, of the given classes, drawn without order."""
    train = load("digits-sample").train
    part = train if classes is None else train.of_classes(classes)
    return part.take(np.random.default_rng(seed).permutation(len(part))[:images])


def digits_for_kernels(images: int, seed: int, classes: Sequence[int] | None = None) -> Examples:
    """Return `digits` to measure compiled kernels on.

    Raises:
        InputError: too few images, or Numba must not compile.
    """
    if images < _LEAST:
        raise InputError(f"--images is {images}; measure at least {_LEAST}")
    need_compiled()
    return digits(images, seed, classes)
