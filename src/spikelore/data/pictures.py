"""A picture file becomes grey pixels of a given size; the rules are those of `spikelore.data.images`."""

import hashlib
import io
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from spikelore.errors import InputError
from spikelore.files import open_regular

_FORMATS = ("PNG", "JPEG", "MPO", "GIF", "BMP", "DIB", "TIFF", "WEBP", "PPM", "JPEG2000", "ICO", "PCX", "SGI")
"""What is read; Pillow knows others, of which some start programs (EPS) or have no mark to know them by."""

_STRIP_PIXELS = 1 << 16
_PIXELS, _PIXELS_A_BYTE = 8_000_000, 20
"""How many pixels a picture may have, whatever its file's size, and for each byte of its file: more are a bomb."""

Pixels = NDArray[np.uint8]
"""One grey image, (H,W)."""


@dataclass
class Picture:
    """One file's pixels at their final scale, not yet padded or inverted.

    ``on_black`` differs from ``on_white`` where the file has transparent parts.
    """

    on_white: Pixels
    on_black: Pixels
    visible: float
    """Sum over pixels of grey level times opacity; and below, of opacity. 0 where nothing is transparent."""
    opacity: float
    digest: bytes

    def laid_on(self, background: str) -> Pixels:
        """Return the pixels on ``white`` or ``black``."""
        return self.on_black if background == "black" else self.on_white


def read(path: Path, size: tuple[int, int]) -> Picture | str:
    """Return the picture in a file, scaled to fit ``size`` (rows, columns), or the reason why there is none."""
    try:
        with open_regular(path, "a picture") as file:
            content = file.read()
    except InputError:
        return "no regular file"
    except OSError:
        return "unreadable"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a file that can be read after all
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(content), formats=_formats()) as image:
                if image.width * image.height > max(_PIXELS, _PIXELS_A_BYTE * len(content)):
                    return "too many pixels"
                return Picture(*_grey(image, size), hashlib.sha256(content).digest())
    except _NoRangeError:
        return "floating-point pixels, whose range is not known"
    except Image.UnidentifiedImageError:
        return "not an image"
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        return "too many pixels"
    except Exception:  # each decoder of Pillow has errors of its own for a broken file
        return "a broken image"


@cache
def _formats() -> tuple[str, ...]:
    Image.init()
    return tuple(one for one in _FORMATS if one in Image.OPEN)


class _NoRangeError(ValueError):
    """Pixels whose largest value is not known."""


def _grey(image: Image.Image, size: tuple[int, int]) -> tuple[Pixels, Pixels, float, float]:
    """Return the scaled grey image on white and on black, and the sums that `Picture` keeps."""
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):
        levels = np.asarray(image)
        rows = [np.rint(np.clip(part / 257, 0, 255)).astype(np.uint8) for part in _strips(levels)]
        image = Image.fromarray(np.concatenate(rows))
    elif image.mode == "F":
        raise _NoRangeError
    if not image.has_transparency_data:
        pixels = _scaled(image if image.mode == "L" else image.convert("RGB").convert("L"), size)
        return pixels, pixels, 0.0, 0.0
    full = image.convert("RGBA")
    shade = np.asarray(full.convert("RGB").convert("L"))
    opacity = np.asarray(full.getchannel("A"))
    laid: dict[int, list[Pixels]] = {255: [], 0: []}
    visible, opaque = 0.0, 0.0
    for grey, alpha in zip(_strips(shade), _strips(opacity), strict=True):
        share = alpha / 255
        for background, rows in laid.items():
            rows.append(np.rint(grey * share + background * (1 - share)).astype(np.uint8))
        visible, opaque = visible + float((grey * share).sum()), opaque + float(share.sum())
    on_white, on_black = (scaled(np.concatenate(rows), size) for rows in laid.values())
    return on_white, on_black, visible, opaque


def _strips(pixels: NDArray) -> list[NDArray]:
    """Return rows of pixels, few at a time: as numbers that are not whole they take many times the memory."""
    rows = max(1, _STRIP_PIXELS // max(1, pixels.shape[1]))
    return [pixels[start : start + rows] for start in range(0, len(pixels), rows)]


def scaled(image: Pixels, size: tuple[int, int]) -> Pixels:
    """Return an image at the largest size that keeps its aspect ratio and fits ``size`` (rows, columns)."""
    return _scaled(Image.fromarray(image), size)


def _scaled(image: Image.Image, size: tuple[int, int]) -> Pixels:
    factor = min(size[1] / image.width, size[0] / image.height)
    fitting = max(1, round(image.width * factor)), max(1, round(image.height * factor))
    return np.asarray(image if image.size == fitting else image.resize(fitting, Image.Resampling.BILINEAR))


def transparent_background(pictures: Sequence[Picture]) -> str:
    """Return ``white`` or ``black``, against which the visible parts stand out, or nothing without transparency."""
    opacity = sum(one.opacity for one in pictures)
    if all(one.on_white is one.on_black for one in pictures):
        return ""
    return "white" if not opacity or sum(one.visible for one in pictures) / opacity < 128 else "black"


def _border(image: Pixels) -> float:
    """Return the median of an image's border pixels."""
    return float(np.median(np.concatenate([image[0], image[-1], image[1:-1, 0], image[1:-1, -1]])))


def border_level(images: Iterable[Pixels]) -> float:
    """Return the median over images of the median of their border pixels; 0 without images."""
    levels = [_border(image) for image in images]
    return float(np.median(levels)) if levels else 0.0


def framed(image: Pixels, size: tuple[int, int]) -> Pixels:
    """Return an image centred in ``size`` (rows, columns); the rest is filled with the median of its border pixels."""
    frame = np.full(size, _border(image)).astype(np.uint8)
    top, left = ((whole - part) // 2 for whole, part in zip(size, image.shape, strict=True))
    frame[top : top + image.shape[0], left : left + image.shape[1]] = image
    return frame
