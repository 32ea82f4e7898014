"""A picture file becomes grey pixels of a given size; the rules are those of `spikelore.data.images`."""

import hashlib
import stat
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

_FORMATS = ("PNG", "JPEG", "MPO", "GIF", "BMP", "DIB", "TIFF", "WEBP", "PPM", "JPEG2000", "ICO", "PCX", "SGI")
"""What is read; Pillow knows others, of which some start programs (EPS) or have no mark to know them by."""

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
        if not stat.S_ISREG(path.stat().st_mode):
            return "no regular file"
        content = path.read_bytes()
    except OSError:
        return "unreadable"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a file that can be read after all
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=_formats()) as image:
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
        levels = np.asarray(image, np.float64)
        image = Image.fromarray(np.rint(np.clip(levels / 257, 0, 255)).astype(np.uint8))
    elif image.mode == "F":
        raise _NoRangeError
    if not image.has_transparency_data:
        pixels = _scaled(image if image.mode == "L" else image.convert("RGB").convert("L"), size)
        return pixels, pixels, 0.0, 0.0
    full = image.convert("RGBA")
    alpha = np.asarray(full.getchannel("A"), np.float64) / 255
    grey = np.asarray(full.convert("RGB").convert("L"), np.float64)
    on_white, on_black = (
        scaled(np.rint(grey * alpha + background * (1 - alpha)).astype(np.uint8), size) for background in (255, 0)
    )
    return on_white, on_black, float((grey * alpha).sum()), float(alpha.sum())


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
