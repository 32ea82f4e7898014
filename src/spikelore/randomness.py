"""One root seed, any number of independent named generators."""

import hashlib
from numbers import Integral
from typing import TYPE_CHECKING

import numpy as np

from spikelore.errors import InputError

if TYPE_CHECKING:
    import torch


_SEEDS = 2**63


def check_seed(seed: int) -> int:
    """Return a root seed.

    Raises:
        InputError: it is negative, or does not fit the 64 bits that saved states and libraries have for it.
    """
    if not isinstance(seed, Integral) or not 0 <= seed < _SEEDS:
        expected = f"at most {_SEEDS - 1}" if isinstance(seed, Integral) and seed > 0 else "0 or more"
        raise InputError(f"seed is {seed}, expected {expected}; choose another seed")
    return seed


def generator(seed: int, *names: str | int) -> np.random.Generator:
    """Return the generator that belongs to ``names`` under the root ``seed``.

    The same seed and names always give the same stream; different names give independent streams
    (each name is hashed into the entropy of a ``numpy.random.SeedSequence``), so adding a consumer
    of randomness never changes what another one draws.

    Args:
        seed: the experiment's root seed, a non-negative integer.
        names: what the numbers are for, e.g. ``"layer 3", "weights"``.

    Raises:
        InputError: as `check_seed` says.

    Example:
        >>> from spikelore.randomness import generator
        >>> bool(generator(0, "weights").normal() == generator(0, "weights").normal())
        True
        >>> bool(generator(0, "weights").normal() == generator(0, "order").normal())
        False
    """
    check_seed(seed)
    digest = hashlib.sha256("\0".join(str(name) for name in names).encode()).digest()
    return np.random.default_rng([seed, *np.frombuffer(digest[:16], np.uint32).tolist()])


def torch_generator(seed: int, *names: str | int) -> "torch.Generator":
    """Return the torch generator that belongs to ``names`` under the root ``seed``; see `generator`."""
    import torch

    return torch.Generator().manual_seed(int(generator(seed, *names).integers(2**63)))
