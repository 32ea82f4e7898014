"""HDF5 files of others, read without trust: ragged arrays are read here, all else by the library.

The library allots what a file says that it holds, and can follow a broken heap for ever. A ragged array is stored as
references: an entry's length (4 bytes), the address of a collection in the file and the entry's number in it (4 bytes).
A collection is ``GCOL``, version 1, its size, and objects: number, count of references (2 bytes each), 4 bytes of
nothing, the size, and the values, filled up to 8 bytes. Source: "HDF5 File Format Specification Version 3.0", section
"Global Heap".
"""

import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import numpy as np
from numpy.typing import NDArray

from spikelore.data.recordings import ANOTHER_COPY
from spikelore.errors import InputError
from spikelore.files import open_regular

_MOST_CHUNK_BYTES = 1 << 24
"""Bytes of a chunk beyond which a file is taken for a broken one; files of the layout have some thousands."""
_REFERENCE_BYTES = 16
_KEPT_COLLECTIONS = 8
"""Parts of the heap that are kept: neighbours lie in the same ones."""


class Hdf5:
    """An open file.

    Attributes:
        path: where it is.
        layout: what was expected in it, for sentences: ``expected ...``.
        size: its bytes.
        root: the library's file.
    """

    def __init__(self, path: Path, layout: str, root: Any, stream: BinaryIO) -> None:
        self.path, self.layout, self.root, self._stream = path, layout, root, stream
        self.size = os.fstat(stream.fileno()).st_size
        self._collections: dict[int, tuple[bytes, dict[int, tuple[int, int]]]] = {}
        if root.userblock_size or root.id.get_create_plist().get_sizes() != (8, 8):
            self.refuse("bytes before its beginning or short addresses, expected neither")

    def refuse(self, found: str) -> NoReturn:
        """Say in one sentence what the file has that it should not have.

        Raises:
            InputError: always.
        """
        raise InputError(f"{self.path} has {found}, {self.layout}; {ANOTHER_COPY}")

    def array(self, name: str) -> Any:
        """Return a one-dimensional array that lies in the file itself, in parts that fit the memory.

        Raises:
            InputError: no such array.
        """
        import h5py

        found = self.root.get(name)
        if not isinstance(found, h5py.Dataset):
            self.refuse(f"no {name}")
        if found.ndim != 1 or found.is_virtual or found.external:
            self.refuse(f"{name} of shape {found.shape}, expected (recordings,) in the file itself")
        if found.chunks and found.chunks[0] * max(found.dtype.itemsize, 16) > _MOST_CHUNK_BYTES:
            self.refuse(f"{name} in chunks of {found.chunks[0]}, expected smaller ones")
        return found

    def whole_numbers(self, name: str, count: int) -> NDArray[np.integer]:
        """Return whole numbers (count,).

        Raises:
            InputError: another number of them, or another type.
        """
        found = self.array(name)
        if found.shape != (count,) or found.dtype.kind not in "iu":
            self.refuse(
                f"{name} of {found.dtype} and shape {found.shape}, expected ({count},) whole numbers, one a recording"
            )
        return found[:]

    def ragged(self, name: str, kinds: str) -> "Ragged":
        """Return a ragged array of numbers of some kinds: ``f`` floating point, ``iu`` whole.

        Raises:
            InputError: another type, or entries that the file is too small for.
        """
        import h5py

        found = self.array(name)
        inner = h5py.check_vlen_dtype(found.dtype)
        kind = np.dtype(inner) if inner is not None and inner is not str and inner is not bytes else found.dtype
        if inner is None or kind.kind not in kinds:
            wanted = "floating point numbers" if kinds == "f" else "whole numbers"
            self.refuse(f"{name} of type {kind}, expected ragged {wanted}")
        if found.id.get_type().get_super() != h5py.h5t.py_create(kind):
            self.refuse(f"{name} of numbers of its own format, expected {kind}")
        return Ragged(self, name, kind, self._references(name, found))

    def collection(self, address: int) -> tuple[bytes, dict[int, tuple[int, int]]]:
        """Return a collection of the heap: its bytes, and of each object the first and how many there are.

        Raises:
            InputError: there is none.
        """
        if address in self._collections:
            return self._collections[address]
        head = self._bytes("a heap", address, 16)
        size = int.from_bytes(head[8:], "little")
        if head[:5] != b"GCOL\x01" or size > self.size:
            self.refuse("a broken heap, expected a whole one")
        content = self._bytes("a heap", address, size)
        objects, at = {}, 16
        while at + 16 <= size:
            number, length = struct.unpack_from("<H6xQ", content, at)
            if not number or at + 16 + length > size:
                break
            objects[number] = (at + 16, length)
            at += 16 + -(-length // 8) * 8
        while len(self._collections) >= _KEPT_COLLECTIONS:
            del self._collections[next(iter(self._collections))]
        self._collections[address] = content, objects
        return content, objects

    def _references(self, name: str, found: Any) -> NDArray[np.uint8]:
        """Return what each entry is stored as, (N,16)."""
        width, count = _REFERENCE_BYTES, len(found)
        if count * width > max(self.size, _MOST_CHUNK_BYTES):
            self.refuse(f"{count} entries in {name}, more than its {self.size:,} bytes can hold")
        references = np.zeros((count, width), np.uint8)
        if found.chunks is None:
            offset = found.id.get_offset()
            if offset is None and found.id.get_storage_size():
                self.refuse(f"{name} in its header, expected a contiguous or a chunked array")
            if offset is not None:
                references.reshape(-1)[:] = np.frombuffer(self._bytes(name, offset, references.nbytes), np.uint8)
        else:
            self._read_chunks(name, found, references)
        return references

    def _read_chunks(self, name: str, found: Any, references: NDArray[np.uint8]) -> None:
        """Fill in the references that are stored in chunks; of chunks that are not there, they are empty."""
        import h5py

        each, plist = found.chunks[0], found.id.get_create_plist()
        filters = [plist.get_filter(n)[0] for n in range(plist.get_nfilters())]
        if filters not in ([], [h5py.h5z.FILTER_DEFLATE], [h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_DEFLATE]):
            self.refuse(f"{name} packed by filters {filters}, expected none or gzip")
        for number in range(found.id.get_num_chunks()):
            info = found.id.get_chunk_info(number)
            first, full = int(info.chunk_offset[0]), each * references.shape[1]
            content = self._bytes(name, info.byte_offset, info.size)
            done = [one for n, one in enumerate(filters) if not info.filter_mask >> n & 1]
            if h5py.h5z.FILTER_DEFLATE in done:
                content = zlib.decompressobj().decompress(content, full)
            if len(content) < full or first >= len(references):
                self.refuse(f"a broken chunk in {name}, expected a whole one")
            rows = np.frombuffer(content, np.uint8, full)
            rows = rows.reshape(-1, each).T if h5py.h5z.FILTER_SHUFFLE in done else rows.reshape(each, -1)
            references[first : first + each] = rows[: len(references) - first]

    def _bytes(self, name: str, offset: int, count: int) -> bytes:
        """Return bytes of the file."""
        if count > self.size or offset > self.size:
            self.refuse(f"{name} beyond its end, expected it within")
        self._stream.seek(offset)
        content = self._stream.read(count)
        if len(content) < count:
            self.refuse(f"{name} beyond its end, expected it within")
        return content


class Ragged:
    """A ragged array.

    Attributes:
        lengths: (N,) int64, of each entry.
    """

    def __init__(self, file: Hdf5, name: str, dtype: np.dtype, references: NDArray[np.uint8]) -> None:
        self._file, self._name, self._dtype = file, name, dtype
        self.lengths = references[:, :4].copy().view("<u4")[:, 0].astype(np.int64)
        self._addresses = references[:, 4:12].copy().view("<u8")[:, 0].tolist()
        self._numbers = references[:, 12:].copy().view("<u4")[:, 0].tolist()
        if (total := int(self.lengths.sum())) * dtype.itemsize > file.size:
            file.refuse(f"{total:,} values in {name}, more than its {file.size:,} bytes can hold")

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, number: int) -> np.ndarray:
        """Return one entry; nothing of it may be written.

        Raises:
            InputError: it is not where it should be.
        """
        length = int(self.lengths[number])
        if not length:
            return np.zeros(0, self._dtype)
        content, objects = self._file.collection(self._addresses[number])
        start, size = objects.get(self._numbers[number], (0, 0))
        if size < length * self._dtype.itemsize:
            self._file.refuse(f"entry {number} of {self._name} lost, expected it in its heap")
        return np.frombuffer(content, self._dtype, length, start)


@contextmanager
def opened(path: Path, layout: str) -> Iterator[Hdf5]:
    """Open a file for reading; whatever the library says of it within becomes one sentence.

    Args:
        path: the file.
        layout: what is expected in it, ``expected ...``.

    Raises:
        InputError: a file that cannot be read.
    """
    import h5py  # slow to load, and images need none

    try:
        with open_regular(path, "an HDF5 file") as stream, h5py.File(path, "r", locking=False) as root:
            yield Hdf5(path, layout, root, stream)
    except InputError:
        raise
    except MemoryError:
        raise InputError(f"{path} asks for more memory than there is, {layout}; {ANOTHER_COPY}") from None
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError, OverflowError, zlib.error) as error:
        reason = str(error).strip("'\"").partition("\n")[0][:300]
        raise InputError(f"{path} cannot be read ({reason}), {layout}; {ANOTHER_COPY}") from error
