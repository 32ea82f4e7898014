"""IDX, the file format of MNIST: a magic number, the axis lengths, the values, all big-endian.

Source of the format: Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits", section
"FILE FORMATS". Bytes 0 and 1 are zero, byte 2 is the type of the values, byte 3 the number of axes; then
comes one unsigned 32-bit length an axis, then the values in C order.
"""

import gzip
import hashlib
import io
import math
import os
import struct
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spikelore.errors import InputError
from spikelore.files import open_regular, write_bytes_atomic

_TYPES = {
    0x08: np.dtype(np.uint8),
    0x09: np.dtype(np.int8),
    0x0B: np.dtype(">i2"),
    0x0C: np.dtype(">i4"),
    0x0D: np.dtype(">f4"),
    0x0E: np.dtype(">f8"),
}
_GZIP_MAGIC = b"\x1f\x8b"
_CHUNK_BYTES = 1 << 20
_MAX_AXES = 64  # what a NumPy array can have
_UNPACKED_BYTES, _UNPACKED_RATIO = 1 << 25, 50
"""A gzip file may unpack to so many bytes, or to so many times its own: images do not go beyond, bombs do."""
_ANOTHER_COPY = "take another copy of the file"


@dataclass(frozen=True)
class IdxHeader:
    """What an IDX file says of itself: the type of its values (big-endian) and its axis lengths."""

    dtype: np.dtype
    shape: tuple[int, ...]

    @property
    def data_bytes(self) -> int:
        """Bytes that the values take."""
        return math.prod(self.shape) * self.dtype.itemsize


@contextmanager
def _content(path: Path) -> Iterator[tuple[io.BufferedIOBase, int]]:
    """Open ``path`` for its decompressed bytes; the first two bytes tell gzip from plain, not the name.

    Also yields the most of them that are read.
    """
    try:
        with open_regular(path, "an IDX file") as file:
            packed = file.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
            file.seek(0)
            size = os.fstat(file.fileno()).st_size
            if packed:
                with gzip.GzipFile(fileobj=file) as unpacked:
                    yield unpacked, max(_UNPACKED_BYTES, _UNPACKED_RATIO * size)
            else:
                yield file, size
    except EOFError as error:
        raise InputError(f"{path} is a gzip file cut short, expected a whole one; {_ANOTHER_COPY}") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"{path} is a broken gzip file ({error}), expected a whole one; {_ANOTHER_COPY}") from error
    except OSError as error:
        raise InputError(
            f"cannot read {path} ({error.strerror}), expected an IDX file; check the path and its permissions"
        ) from error


def _read_header(path: Path, file: io.BufferedIOBase) -> IdxHeader:
    magic = file.read(4)
    if magic[:2] != b"\0\0"[: len(magic)]:
        raise InputError(
            f"{path} is not an IDX file: it starts with the bytes {magic.hex(' ')}, expected 00 00; "
            "give an IDX file, plain or gzip"
        )
    if len(magic) < 4:
        raise InputError(
            f"{path} is cut short: its header has {len(magic)} bytes, expected at least 4; {_ANOTHER_COPY}"
        )
    dtype, axes = _TYPES.get(magic[2]), magic[3]
    if dtype is None:
        raise InputError(
            f"{path} has the unknown IDX type 0x{magic[2]:02x}, expected one of "
            f"{', '.join(f'0x{code:02x}' for code in _TYPES)}; {_ANOTHER_COPY}"
        )
    if not 1 <= axes <= _MAX_AXES:
        raise InputError(f"{path} has an IDX header of {axes} axes, expected 1 to {_MAX_AXES}; {_ANOTHER_COPY}")
    lengths = file.read(4 * axes)
    if len(lengths) < 4 * axes:
        raise InputError(
            f"{path} is cut short: its header has {4 + len(lengths)} bytes, expected {4 + 4 * axes} "
            f"for {axes} axes; {_ANOTHER_COPY}"
        )
    shape = struct.unpack(f">{axes}I", lengths)
    if math.prod(max(length, 1) for length in shape) * dtype.itemsize > sys.maxsize:
        raise InputError(
            f"{path} has the shape {shape} in its header, expected one that fits a memory; {_ANOTHER_COPY}"
        )
    return IdxHeader(dtype, shape)


def read_idx_header(path: Path) -> IdxHeader:
    """Read the type and axis lengths of an IDX file and nothing after them.

    Raises:
        InputError: the file cannot be read, is not IDX, or ends within its header.
    """
    with _content(path) as (file, _):
        return _read_header(path, file)


def _too_large(path: Path, unpacked: int) -> InputError:
    return InputError(
        f"{path} unpacks to {unpacked:,} bytes or more, expected at most {_UNPACKED_RATIO} times its own size; "
        f"{_ANOTHER_COPY}, or unpack it"
    )


def read_idx(path: Path | str) -> np.ndarray:
    """Read an IDX file, plain or gzip, as a writable array in the machine's byte order.

    Memory stays within what the file really holds, whatever its header claims.

    Raises:
        InputError: the file cannot be read, is not IDX, is cut short, has bytes after its values, or is a
            broken gzip file.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from pathlib import Path
        >>> from spikelore.data.idx import read_idx, write_idx
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_idx(Path(folder) / "labels.gz", np.array([3, 1, 4], np.uint8))
        ...     read_idx(Path(folder) / "labels.gz").tolist()
        [3, 1, 4]
    """
    path = Path(path)
    with _content(path) as (file, most):
        header = _read_header(path, file)
        values = np.empty(min(header.data_bytes, most), np.uint8)
        read, more = 0, 1
        while more and read < len(values):
            more = file.readinto(values.data[read : read + _CHUNK_BYTES])
            read += more
        too_long = bool(file.read(1))
        if too_long and read < header.data_bytes:
            raise _too_large(path, read)
    expected = f"expected {header.data_bytes} for the shape {header.shape} in its header"
    if read < header.data_bytes:
        raise InputError(f"{path} is cut short: {read} bytes follow its header, {expected}; {_ANOTHER_COPY}")
    if too_long:
        raise InputError(
            f"{path} is too long: more than {header.data_bytes} bytes follow its header, {expected}; {_ANOTHER_COPY}"
        )
    array = values.view(header.dtype).reshape(header.shape)
    return array if header.dtype.isnative else array.byteswap(inplace=True).view(header.dtype.newbyteorder("="))


def write_idx(path: Path | str, array: np.ndarray) -> None:
    """Write ``array`` as an IDX file, gzip if the name ends in ``.gz``; the same array, the same bytes.

    Args:
        path: the file to write; it is there whole or not at all.
        array: ``uint8``, ``int8``, ``int16``, ``int32``, ``float32`` or ``float64``, with at least one axis.

    Raises:
        InputError: IDX has no such type, or the array has no axis.
        SpikeloreError: the file cannot be written.
    """
    path, array = Path(path), np.asarray(array)
    dtype = array.dtype.newbyteorder(">")
    codes = {known: code for code, known in _TYPES.items()}
    if dtype not in codes or array.ndim == 0:
        raise InputError(
            f"cannot write {path}: IDX holds no array of {array.dtype} with {array.ndim} axes, expected "
            "uint8, int8, int16, int32, float32 or float64 with at least one axis; convert the array first"
        )
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, codes[dtype], array.ndim, *array.shape)
    content = header + array.astype(dtype).tobytes()
    write_bytes_atomic(path, gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)


def content_sha256(path: Path) -> str:
    """Return the SHA-256, in hex, of a file's decompressed bytes, so that recompressing does not change it.

    Raises:
        InputError: the file cannot be read, is a broken gzip file, or unpacks to more than images do.
    """
    digest, read = hashlib.sha256(), 0
    with _content(path) as (file, most):
        while chunk := file.read(_CHUNK_BYTES):
            read += len(chunk)
            if read > most:
                raise _too_large(path, read)
            digest.update(chunk)
    return digest.hexdigest()
