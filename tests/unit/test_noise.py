import numpy as np
import pytest

from spikelore.data.examples import Examples
from spikelore.data.noise import at_mean, blurred_noise, four_test_sets, white_noise
from spikelore.errors import InputError


def neighbours_correlation(images):
    left, right = images[:, :, :-1].astype(float).ravel(), images[:, :, 1:].astype(float).ravel()
    return np.corrcoef(left, right)[0, 1]


def test_white_noise_has_the_mean_and_independent_pixels():
    images = white_noise(200, 28, 28, 33.0, np.random.default_rng(0))
    assert images.dtype == np.uint8
    assert images.shape == (200, 28, 28)
    assert abs(images.mean() - 33.0) < 0.1
    assert images.max() in (65, 66, 67)
    assert abs(neighbours_correlation(images)) < 0.01


def test_blurred_noise_has_the_mean_and_correlated_neighbours():
    images = blurred_noise(200, 28, 28, 33.0, np.random.default_rng(0))
    assert abs(images.mean() - 33.0) < 0.5
    assert images.min() == 0
    # White noise under a Gaussian of sigma s has the autocorrelation exp(-d**2 / (4 s**2)) at distance d.
    assert neighbours_correlation(images) == pytest.approx(np.exp(-1 / 16), abs=0.02)


def test_blur_does_not_mix_images():
    alone = blurred_noise(1, 28, 28, 33.0, np.random.default_rng(5)).astype(float)
    among = blurred_noise(9, 28, 28, 33.0, np.random.default_rng(5))[:1].astype(float)
    assert np.corrcoef(alone.ravel(), among.ravel())[0, 1] > 0.999


def test_at_mean_meets_the_mean_although_pixels_are_cut():
    images = np.zeros((4, 10, 10), np.uint8)
    images[:, :5] = 250
    images[:, 5:] = np.arange(1, 51).reshape(5, 10)
    brighter = at_mean(images, 160.0)
    assert brighter.max() == 255
    assert abs(brighter.mean() - 160.0) < 1.0


def test_at_mean_leaves_images_that_have_it():
    images = np.random.default_rng(0).integers(0, 256, (5, 8, 8)).astype(np.uint8)
    assert np.array_equal(at_mean(images, images.mean()), images)


def test_at_mean_refuses_what_cannot_be_reached():
    images = np.zeros((1, 2, 2), np.uint8)
    images[0, 0, 0] = 9
    with pytest.raises(InputError, match=r"mean intensity 80.0 cannot be reached"):
        at_mean(images, 80.0)
    with pytest.raises(InputError, match="cannot be reached"):
        at_mean(np.zeros((1, 2, 2), np.uint8), 10.0)


@pytest.fixture
def digits():
    rng = np.random.default_rng(1)
    labels = np.repeat(np.arange(4), 20)
    images = rng.integers(0, 20 * (labels[:, None, None] + 1), (80, 28, 28)).astype(np.uint8)
    return Examples(images, labels)


def test_the_four_sets_have_one_mean_and_their_classes(digits):
    sets = four_test_sets(digits, [0, 1], [3], count=20, mean=30.0, seed=0)
    assert list(sets) == ["white", "blurred", "known", "unknown"]
    for part in sets.values():
        assert len(part) == 20
        assert abs(part.inputs.mean() - 30.0) < 0.6
    assert set(sets["known"].labels.tolist()) == {0, 1}
    assert set(sets["unknown"].labels.tolist()) == {3}
    again = four_test_sets(digits, [0, 1], [3], count=20, mean=30.0, seed=0)
    other = four_test_sets(digits, [0, 1], [3], count=20, mean=30.0, seed=1)
    three = four_test_sets(digits, [0, 1], [], count=20, mean=30.0, seed=0)
    assert list(three) == ["white", "blurred", "known"]
    assert all(np.array_equal(three[name].inputs, sets[name].inputs) for name in three)
    assert np.array_equal(sets["white"].inputs, again["white"].inputs)
    assert not np.array_equal(sets["white"].inputs, other["white"].inputs)


def test_bad_requests(digits):
    with pytest.raises(InputError, match="class 1 is both known and unknown"):
        four_test_sets(digits, [0, 1], [1, 2], count=20, mean=30.0, seed=0)
    with pytest.raises(InputError, match="have 20 images, expected at least 21"):
        four_test_sets(digits, [0, 1], [3], count=21, mean=30.0, seed=0)
    with pytest.raises(InputError, match="count is 0"):
        white_noise(0, 8, 8, 30.0, np.random.default_rng(0))
    with pytest.raises(InputError, match="mean is nan"):
        white_noise(1, 8, 8, float("nan"), np.random.default_rng(0))
    with pytest.raises(InputError, match="sigma_px is 0"):
        blurred_noise(1, 8, 8, 30.0, np.random.default_rng(0), 0)
