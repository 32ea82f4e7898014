"""What a checkpoint says of its network, looked at before anything is made of it.

A checkpoint's digest tells that it is whole, not that it is well meant: its configuration may say sizes that its arrays
do not have, and that no memory holds.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikelore.errors import InputError, shortened
from spikelore.files import parse_json

Arrays = Mapping[str, tuple[tuple[int, ...], Any]]
"""Name to shape and type of an array."""


@contextmanager
def described(path: Path | str, kind: str) -> Iterator[None]:
    """Say of whatever goes wrong within that the checkpoint does not describe a network of this kind.

    Raises:
        InputError: something went wrong.
    """
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        reason = shortened(" ".join(str(error).split()))
        raise InputError(f"checkpoint {path} does not describe a {kind}: {reason}") from error


def settings(metadata: Mapping[str, str], name: str) -> dict[str, Any]:
    """Return the names and values that a text of a checkpoint holds as JSON.

    Raises:
        KeyError: there is no such text.
        ValueError: it holds something else.
    """
    found = parse_json(metadata[name])
    if not isinstance(found, dict):
        raise ValueError(f"its {name} holds no names and values")
    return found


def check_shapes(arrays: Mapping[str, Any], expected: Arrays, where: str = "", of: str = "") -> None:
    """Refuse arrays of other shapes or types than expected.

    Args:
        arrays: by name; further ones are not looked at.
        expected: those that must be there.
        where: what stands before the sentence.
        of: what stands after an array's name.

    Raises:
        InputError: one is missing or other than expected.
    """
    for name, (shape, kind) in expected.items():
        if name not in arrays:
            raise InputError(f"{where}the checkpoint has no {name}; take another copy, of such a network")
        array = arrays[name]
        if not isinstance(array, np.ndarray):
            raise InputError(f"{where}{name}{of} is a {type(array).__name__}; expected a NumPy array")
        if array.dtype != kind:
            raise InputError(f"{where}{name}{of} is of type {array.dtype}; expected {np.dtype(kind)}")
        if array.shape != shape:
            raise InputError(
                f"{where}{name}{of} has shape {array.shape}, but its configuration says {shape}; load it into a "
                "network of its own configuration"
            )


def check_finite(arrays: Mapping[str, NDArray], where: str = "", of: str = "") -> None:
    """Refuse arrays with NaN or infinite values.

    Raises:
        InputError: one has such.
    """
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise InputError(f"{where}{name}{of} holds NaN or infinite values; train it again")
