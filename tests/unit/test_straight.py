import numpy as np
import pytest

from spikelore.coding.straight import straightened


def by_hand(image):
    """Return one image straightened, pixel by pixel as the equation has it."""
    height, width = image.shape
    ink = [(y, x, int(image[y, x])) for y in range(height) for x in range(width) if image[y, x]]
    mass = sum(p for *_, p in ink)
    if not mass:
        return image.copy()
    y_mean, x_mean = sum(p * y for y, _, p in ink) / mass, sum(p * x for _, x, p in ink) / mass
    spread = sum(p * (y - y_mean) ** 2 for y, _, p in ink)
    slant = sum(p * (y - y_mean) * (x - x_mean) for y, x, p in ink) / spread if spread > 0 else 0.0
    out = np.zeros((height, width))
    for y in range(height):
        for x in range(width):
            source = x + slant * (y - y_mean)
            left = int(np.floor(source))
            for column, share in ((left, 1 - (source - left)), (left + 1, source - left)):
                if 0 <= column < width:
                    out[y, x] += share * image[y, column]
    return out


def strokes(count, height, width, seed):
    """Return images with a slanted stroke each, of several levels, some of which leave the image."""
    rng = np.random.default_rng(seed)
    images = np.zeros((count, height, width), np.uint8)
    for image in images:
        for y in range(height):
            x = round(width / 2 + rng.uniform(-1.5, 1.5) * (y - height / 2))
            image[y, max(0, x) : x + 2] = rng.integers(1, 256)
    return images


@pytest.mark.parametrize(("height", "width"), [(7, 9), (28, 28), (5, 4)])
def test_it_is_what_the_equation_says(height, width):
    images = strokes(6, height, width, seed=height)
    found = straightened(images)
    for image, straight in zip(images, found, strict=True):
        assert np.abs(by_hand(image) - straight).max() <= 0.501  # rounded, and halves may go either way
    assert (found != images).any()


def test_no_slant_is_left_and_ink_stays():
    image = np.zeros((1, 28, 28), np.uint8)
    for y in range(4, 24):
        image[0, y, y - 1 : y + 2] = 200
    rows, columns = np.mgrid[:28, :28]

    def slant(values):
        ink = values / values.sum()
        y, x = (ink * rows).sum(), (ink * columns).sum()
        return (ink * (rows - y) * (columns - x)).sum() / (ink * (rows - y) ** 2).sum()

    straight = straightened(image)[0].astype(float)
    assert slant(image[0].astype(float)) == pytest.approx(1.0)
    assert abs(slant(straight)) < 0.01
    assert straight.sum() == image.sum()


def test_upright_images_and_those_without_a_slant_to_measure_stay():
    upright = np.zeros((4, 6, 7), np.uint8)
    upright[0, :, 3] = 90
    upright[1, 1:5, 1:6] = 255
    upright[2, 2, 1:5] = 17  # one row: it has no slant
    assert (straightened(upright) == upright).all()
    assert straightened(upright[:0]).shape == (0, 6, 7)


def test_neighbours_change_nothing():
    images = strokes(1030, 5, 6, seed=1)
    found = straightened(images)
    for n in (0, 511, 512, 1029):
        assert (found[n] == straightened(images[n : n + 1])[0]).all()
