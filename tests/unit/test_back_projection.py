"""Features as pictures: weights stamped where they are, pooled places filled."""

import numpy as np

from spikelore.metrics.back_projection import project


def test_projection_through_one_layer_stamps_the_filters_where_the_weights_are():
    weights = np.zeros((1, 2, 3, 3), np.float32)
    weights[0, 1, 0, 2] = 2.0
    kernels = np.zeros((2, 1, 3, 3), np.float32)
    kernels[0, 0] = 5.0
    kernels[1, 0, 1, 1] = 1.0
    picture = project([(weights, 1)], kernels)
    assert picture.shape == (1, 5, 5)
    assert np.argwhere(picture[0]).tolist() == [[1, 3]]
    assert picture[0, 1, 3] == 2.0


def test_projection_through_pooling_fills_the_pooled_places():
    top = np.zeros((1, 1, 2, 2), np.float32)
    top[0, 0, 1, 0] = 1.0
    one = np.full((1, 1, 1, 1), 3.0, np.float32)
    picture = project([(top, 2), (one, 1)], np.ones((1, 1, 1, 1), np.float32))
    np.testing.assert_array_equal(picture[0], [[0] * 4, [0] * 4, [3, 3, 0, 0], [3, 3, 0, 0]])
