"""Axis letters and the array aliases that signatures use.

Axis order is fixed everywhere: ``N`` images, ``T`` time bins or steps, ``C`` input channels,
``F`` features (output channels), ``H`` rows, ``W`` columns, ``K`` kernel rows or columns.

A spike wave is kept as first-spike bins, (N,C,H,W) int8: bin ``b`` in ``0 .. T-1`` is the time of the
neuron's one spike and ``T`` means that it never fires.

`as_images` and `as_labels` are the one rule by which datasets, coding, networks and metrics take images and labels;
`spikelore.continual.methods` and networks of torch take what they return and convert nothing.
"""

from collections.abc import Sequence
from numbers import Integral
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikelore.errors import InputError

Images: TypeAlias = NDArray[np.uint8]
"""(N,H,W) uint8, background 0."""

Labels: TypeAlias = NDArray[np.int64]
"""(N,) int64."""

FirstSpikeBins: TypeAlias = NDArray[np.int8]
"""(N,C,H,W) int8, ``T`` = never."""

Weights: TypeAlias = NDArray[np.float32]
"""(F,C,K,K) float32."""


def as_images(values: ArrayLike, what: str = "images") -> Images:
    """Return ``values`` as images, (N,H,W) uint8 in C order, if that loses nothing; never a changed pixel.

    Taken: any array, tensor on the CPU or nested list, of whole numbers 0 to 255 in whatever type, layout and byte
    order, with or without an axis of one channel, (N,1,H,W) or (N,H,W,1). What is right already is returned as it is,
    all else as a copy.

    Args:
        values: the images.
        what: the word for them in a sentence.

    Raises:
        InputError: another shape, grey levels 0 to 1, numbers that are not whole or beyond 255, NaN, text.

    Example:
        >>> import numpy as np
        >>> from spikelore.shapes import as_images
        >>> as_images(np.full((2, 1, 3, 4), 255.0)).shape
        (2, 3, 4)
    """
    array = _as_array(values, what)
    if array.ndim == 4 and 1 in (array.shape[1], array.shape[3]):
        array = array[:, 0] if array.shape[1] == 1 else array[..., 0]
    if array.ndim != 3:
        raise InputError(
            f"{what} are {array.dtype} of shape {array.shape}, {_EXPECTED}; "
            f"{_SHAPE_ADVICE.get(array.ndim, 'stack them to that shape')}"
        )
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array, np.uint8)
    if array.dtype == np.bool_:
        raise InputError(f"{what} are bool, {_EXPECTED}; convert them with (x * 255).astype(np.uint8)")
    if array.dtype.kind not in "iuf":
        raise InputError(f"{what} are {array.dtype}, {_EXPECTED}; convert them to numbers")
    if array.size:
        low, high = array.min(), array.max()
        found = f"{what} are {array.dtype} from {low:.6g} to {high:.6g}"
        if not (low >= 0 and high <= 255):  # so NaN is refused too
            raise InputError(f"{found}, {_EXPECTED}; scale them to 0 to 255 and convert to np.uint8")
        if array.dtype.kind == "f" and 0 < high <= 1:
            raise InputError(f"{found}, {_EXPECTED}; convert them with (x * 255).round().astype(np.uint8)")
        if array.dtype.kind == "f" and (array != np.rint(array)).any():
            raise InputError(
                f"{found} and not whole numbers, {_EXPECTED}; convert them with x.round().astype(np.uint8)"
            )
    return np.ascontiguousarray(array, np.uint8)


def as_image_shape(shape: Sequence[int]) -> tuple[int, int]:
    """Return the rows and columns of a stream's inputs, for a network of images.

    Raises:
        InputError: inputs of another shape, such as recordings of spikes.

    Example:
        >>> as_image_shape((28, 28))
        (28, 28)
    """
    if len(shape) != 2:
        raise InputError(
            f"inputs are recordings of units of shape {tuple(shape)}, expected images for this network; take a network "
            "of recordings, or make images of them with stream.events_as.coding counts (in a script, "
            "spikelore.coding.event_images)"
        )
    return shape[0], shape[1]


_EXPECTED = "expected (images, rows, columns) of uint8, 0 to 255"
_SHAPE_ADVICE = {
    1: "give one image as x.reshape(1, rows, columns)",
    2: "give one image as x[None], rows of pixels as x.reshape(-1, rows, columns)",
    4: "make colours grey first: one number a pixel",
}


def as_labels(values: ArrayLike, count: int | None = None, what: str = "labels", *, least: int = 0) -> Labels:
    """Return ``values`` as labels, (N,) int64 in C order, if that loses nothing.

    Taken: whole numbers in any type (3.0 and ``True`` too), as an array, a tensor, a list or a column (N,1).

    Args:
        values: the labels.
        count: how many there must be, one an image.
        what: the word for them in a sentence.
        least: the smallest one: 0, or -1 where a network may stay silent.

    Raises:
        InputError: another shape, another number of them, numbers that are not whole, NaN, text, or too small ones.

    Example:
        >>> from spikelore.shapes import as_labels
        >>> as_labels([[3.0], [1.0]]).tolist()
        [3, 1]
    """
    array = _as_array(values, what)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        one_hot = array.ndim == 2 and array.dtype.kind in "biuf" and array.size and (array != 0).sum(1).max() == 1
        advice = "one-hot rows become labels with x.argmax(axis=1)" if one_hot else "give one whole number an image"
        raise InputError(f"{what} are {array.dtype} of shape {array.shape}, expected (images,); {advice}")
    if count is not None and len(array) != count:
        raise InputError(f"{what} have shape {array.shape}, expected ({count},); give one label an image")
    if array.dtype == object and all(isinstance(each, Integral) for each in array):
        array = np.array([int(each) for each in array])
    if array.size == 0 and array.dtype.kind == "f":  # an empty list
        array = array.astype(np.int64)
    if array.dtype.kind not in "biuf":
        raise InputError(f"{what} are {array.dtype}, such as {array[0]!r}, expected whole numbers; number the classes")
    if array.dtype.kind in "uf":
        wrong = ~(np.abs(array) < 2**63) if array.dtype.kind == "f" else array >= 2**63
        wrong |= array != np.rint(array) if array.dtype.kind == "f" else False
        if wrong.any():
            raise InputError(
                f"{what} hold {array[wrong][0]}, expected whole numbers below 2^63; number the classes from 0"
            )
    if len(array) and array.min() < least:
        raise InputError(f"{what[:-1]} {array.min()} is negative, expected {least} or more; renumber the classes")
    return np.ascontiguousarray(array, np.int64)


def as_order(values: ArrayLike, count: int) -> NDArray[np.int64]:
    """Return which of ``count`` images comes when, (M,) int64 in 0 .. count - 1, M at least 1.

    Raises:
        InputError: a mask, no image, one that is not there, or what `as_labels` does not take.
    """
    order = as_labels(values, what="image numbers", least=-(2**63))
    if _as_array(values, "order").dtype == np.bool_:
        raise InputError("order is a mask, expected the numbers of images; take them with np.flatnonzero")
    outside = order[(order < 0) | (order >= count)]
    if len(outside) or not len(order):
        found = f"holds {outside[0]}" if len(outside) else "is empty"
        raise InputError(f"order {found}, expected numbers of {count} images, 0 to {count - 1}; correct it")
    return order


def as_shares(values: ArrayLike, count: int, what: str) -> NDArray[np.float32]:
    """Return ``values`` as (count,) float32 in 0..1.

    Raises:
        InputError: another shape, no numbers, or one beyond 0..1.
    """
    array = _as_array(values, what)
    if array.shape != (count,) or array.dtype.kind not in "biuf":
        raise InputError(f"{what} is {array.dtype} of shape {array.shape}, expected ({count},) numbers; give one each")
    outside = array[~((array >= 0) & (array <= 1))]
    if len(outside):
        raise InputError(f"{what} holds {outside[0]}, expected 0 to 1; correct it")
    return np.ascontiguousarray(array, np.float32)


def _as_array(values: ArrayLike, what: str) -> NDArray[Any]:
    if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
        raise InputError(f"{what} have {np.ma.count_masked(values)} masked values, expected none; fill them first")
    try:
        return np.asarray(values)
    except InputError:  # of what says itself that it is no array
        raise
    except (ValueError, TypeError, RuntimeError, OverflowError) as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        raise InputError(
            f"{what} are no array ({reason}), expected a NumPy array; convert them with np.array"
        ) from None
