"""Test images that a network has never learned: noise and unknown classes, all equally bright.

A network that answers noise as eagerly as what it knows has learned nothing about what it does not know. The
four sets of Antonov and Sukhov 2024 ("Weight regularization in spiking neural networks", Neuroinformatics)
have one mean intensity, so that a difference in spikes is a difference in pattern.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from spikelore.data.examples import Examples
from spikelore.errors import InputError, check_whole
from spikelore.randomness import generator
from spikelore.shapes import Images

TestSetName = Literal["white", "blurred", "known", "unknown"]

BLUR_SIGMA_PX = 2.0
"""Standard deviation of the published blur."""


def white_noise(count: int, height: int, width: int, mean: float, rng: np.random.Generator) -> Images:
    """Return images of independent pixels, uniform from 0 to twice the mean intensity: (N,H,W) uint8.

    Raises:
        InputError: no image is asked for, or the mean is not above 0 and at most 127.5.
    """
    return at_mean(_uniform(count, height, width, mean, rng), mean)


def blurred_noise(
    count: int,
    height: int,
    width: int,
    mean: float,
    rng: np.random.Generator,
    sigma_px: float = BLUR_SIGMA_PX,
) -> Images:
    """Return white noise under a Gaussian blur, stretched to start at 0: (N,H,W) uint8.

    The published code blurs the stack of images along its image axis too and stretches the whole set from 0
    to 1 before it divides; here each image is blurred alone and the set's smallest value becomes 0.

    Raises:
        InputError: as `white_noise`, or the standard deviation is not positive.
    """
    if not 0 < sigma_px < np.inf:
        raise InputError(f"sigma_px is {sigma_px}, expected more than 0; 2 is the published blur")
    from scipy.ndimage import gaussian_filter  # slow to load, and few ask for it

    noise = gaussian_filter(_uniform(count, height, width, mean, rng), (0, sigma_px, sigma_px), mode="reflect")
    return at_mean(noise - noise.min(), mean)


def at_mean(images: NDArray[np.generic], mean: float) -> Images:
    """Return ``images`` (N,H,W) times one factor, rounded and cut at 255, so that their mean is ``mean``.

    The factor is found by bisection, since what is cut at 255 is missing from the mean; the mean is met as
    closely as whole grey levels allow.

    Raises:
        InputError: there is no image, all pixels are 0, or even 255 at all pixels that are not would be too dark.
    """
    values = np.asarray(images, np.float64)
    if not values.size:
        raise InputError("there are no images to scale, expected at least one; give some")
    reachable = 255 * float((values > 0).mean())
    if not 0 < mean <= reachable:
        raise InputError(
            f"mean intensity {mean} cannot be reached by scaling, expected more than 0 and at most "
            f"{reachable:.1f}; choose another mean or brighter images"
        )
    levels, counts = np.unique(values, return_counts=True)

    def too_bright(factor: float) -> bool:
        return float(np.minimum(np.rint(levels * factor), 255) @ counts) > mean * values.size

    low, high = 0.0, 1.0
    while not too_bright(high) and high < 1e12:
        low, high = high, 2 * high
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if too_bright(middle) else (middle, high)
    return np.minimum(np.rint(values * low), 255).astype(np.uint8)


def four_test_sets(
    test: Examples, known: Sequence[int], unknown: Sequence[int], *, count: int, mean: float, seed: int
) -> dict[TestSetName, Examples]:
    """Return the sets ``white``, ``blurred``, ``known`` and ``unknown`` of ``count`` images at one mean.

    Known and unknown images are drawn without replacement, in the proportions they have in ``test``. Noise
    has the label 0.

    Args:
        test: where known and unknown images come from.
        known: the classes that the network has learned.
        unknown: other classes; none leaves the set ``unknown`` out.
        count: images a set.
        mean: mean intensity of every set, that of the training images.
        seed: the experiment's root seed.

    Raises:
        InputError: a class is both known and unknown or has no image, or there are too few images.
    """
    both = sorted(set(known) & set(unknown))
    if both:
        raise InputError(f"class {both[0]} is both known and unknown, expected one of them; name it once")
    check_whole("count", count, 1)
    drawn: dict[TestSetName, Examples] = {"known": _drawn(test, known, count, mean, generator(seed, "noise", "known"))}
    if unknown:
        drawn["unknown"] = _drawn(test, unknown, count, mean, generator(seed, "noise", "unknown"))
    height, width = test.inputs.shape[1:]
    nothing = np.zeros(count, np.int64)
    white = white_noise(count, height, width, mean, generator(seed, "noise", "white"))
    blurred = blurred_noise(count, height, width, mean, generator(seed, "noise", "blurred"))
    return {"white": Examples(white, nothing), "blurred": Examples(blurred, nothing), **drawn}


def _drawn(test: Examples, classes: Sequence[int], count: int, mean: float, rng: np.random.Generator) -> Examples:
    chosen = test.of_classes(classes)
    if len(chosen) < count:
        raise InputError(
            f"classes {list(classes)} have {len(chosen)} images, expected at least {count}; ask for fewer "
            "images or add a class"
        )
    drawn = chosen.take(rng.permutation(len(chosen))[:count])
    return Examples(at_mean(drawn.inputs, mean), drawn.labels)


def _uniform(count: int, height: int, width: int, mean: float, rng: np.random.Generator) -> NDArray[np.float64]:
    if count < 1:
        raise InputError(f"count is {count}, expected at least 1 image; ask for more")
    for name, value in (("count", count), ("height", height), ("width", width)):
        check_whole(name, value, 1)
    if not 0 < mean <= 127.5:
        raise InputError(f"mean is {mean}, expected more than 0 and at most 127.5; give the training set's mean")
    return rng.random((count, height, width))
