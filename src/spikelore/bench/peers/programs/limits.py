"""What the machine can do: a float32 matrix product and a copy."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from .types import Action, Arrays

PACKAGES = ("torch",)
SIDE = 1024
BYTES = 2**27


def prepare(case: str, arrays: Arrays, settings: Mapping[str, Any]) -> dict[str, Action]:
    """Return the product of two matrices of side 1024, and a copy of 128 MiB."""
    left, right = torch.ones(2, SIDE, SIDE)
    source, target = torch.ones(BYTES, dtype=torch.uint8), torch.empty(BYTES, dtype=torch.uint8)

    def product() -> dict[str, np.ndarray]:
        return {"product": torch.mm(left, right).numpy()}

    def copy() -> dict[str, np.ndarray]:
        return {"copy": target.copy_(source).numpy()}

    return {"matrix product": product, "copy": copy}
