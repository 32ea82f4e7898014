"""What the coder takes for granted: how likely a spike is in each context, and how fast it learns otherwise."""

import numpy as np

ONE = 1 << 16
"""A probability of 1."""

# Percent. Contexts count up in bits: left (1), two to the left (2), above left (4), above (8), above right (16), a step
# before (32). Without the last: mean of the log odds in spoken digits (16 bins of 30 ms, 50 channels) and MNIST's
# pictures; with it N-MNIST's recordings in ten bins of 30 ms. None below 1 or above 99.
_PERCENT = (
    1, 86, 2, 61, 1, 48, 1, 33, 35, 94, 25, 88, 11, 86, 4, 67,
    24, 98, 33, 90, 11, 71, 20, 61, 60, 99, 65, 97, 35, 98, 29, 93,
    6, 39, 9, 46, 12, 49, 8, 34, 33, 66, 30, 64, 46, 86, 17, 64,
    30, 68, 31, 76, 29, 59, 27, 54, 66, 93, 58, 93, 62, 94, 45, 90,
)  # fmt: skip
PRIOR = np.array([ONE * each // 100 for each in _PERCENT], np.int64)
"""(64,) probability of a spike in each context before any bit of a record, in 65536ths."""
FIRST, LAST = 8, 128
"""Each context moves by an eighth of its error at first, and a 128th at last."""
LEAST = 16
"""No probability comes nearer to 0 or 1."""
