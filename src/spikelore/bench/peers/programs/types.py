"""What the programs take and give."""

from collections.abc import Callable, Mapping

import numpy as np

Arrays = Mapping[str, np.ndarray]
"""A case's inputs, labels and weights, by name."""
Action = Callable[[], dict[str, np.ndarray]]
"""A work: called without arguments it does the same each time and returns its results, by name."""
