"""Files that are either whole or absent: atomic writes, and tensors without pickle."""

import errno
import hashlib
import json
import os
import re
import secrets
import stat
from collections.abc import Iterable, Mapping
from contextlib import suppress
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, deserialize
from safetensors.numpy import load as _load_tensors
from safetensors.numpy import save as _save_tensors

from spikelore.errors import InputError, SpikeloreError, shortened

_MOST_VALUES = 1_000_000
"""Values in a file of JSON, which take up to a hundred bytes each."""
_MOST_TENSORS = 100_000
"""Values in the header of a checkpoint: some six a tensor."""
_LONGEST_NUMBER = 20
"""Digits of a whole number: as many as 64 bits have."""

_DIGEST = "sha256"


_ADVICE = {
    errno.ENOSPC: "free some space, or choose another --out",
    errno.EDQUOT: "free some space, or choose another --out",
    errno.EACCES: "choose a folder that you may write to with --out",
    errno.EPERM: "choose a folder that you may write to with --out",
    errno.EROFS: "choose a folder that you may write to with --out",
    errno.ENOENT: "the folder has been removed meanwhile; leave it in place while it is written to",
    errno.ENOTDIR: "a file stands where a folder is needed; move it away, or choose another --out",
    errno.EEXIST: "a file stands where a folder is needed; move it away, or choose another --out",
    errno.EISDIR: "a folder stands where the file goes; move it away, or choose another --out",
    errno.ENAMETOOLONG: "choose a shorter --out, or shorter names in the configuration",
}
"""What to do about an error of the system while something is written."""

_NO_SYNC = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)
"""What file systems say that cannot be asked to flush a file."""


def cannot_write(path: Path, error: OSError, kept: str = "") -> SpikeloreError:
    """Return the error that says why ``path`` could not be written and what to do about that.

    Args:
        path: the file or folder.
        error: what the system said.
        kept: what became of an earlier file, if that matters.
    """
    reason = error.strerror or str(error)
    advice = _ADVICE.get(error.errno or 0, "choose another --out")
    if os.path.islink(path) and not os.path.exists(path):  # which a name too long does not stop
        advice = f"it is a link to {os.readlink(path)}, which is not there; make that, or choose another --out"
    return SpikeloreError("; ".join(filter(None, (f"could not write {path}: {reason}", kept, advice))))


def user_path(text: str | Path) -> Path:
    """Return the path that a user means, with ``~`` for a home folder.

    Raises:
        InputError: there is no such home, or the text is empty, as an unset variable of a shell is.
    """
    if not str(text).strip():
        raise InputError("the path is empty, expected one of a file or a folder; write it in full")
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise InputError(f"{text} begins with a home folder that is not known; write the path in full") from error


def open_regular(path: Path, expected: str) -> BufferedReader:
    """Open a file for its bytes; a pipe or a device, which could be read for ever, is not opened.

    Args:
        path: the file.
        expected: what should be there, such as ``a checkpoint``.

    Raises:
        InputError: it is no regular file.
        OSError: it cannot be opened.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise InputError(f"cannot read {path}: it is no regular file, expected {expected}; name another path")
    return path.open("rb")


def refuse_link(path: Path) -> None:
    """Refuse a folder that is a link: what is written into it would go elsewhere.

    Raises:
        InputError: it is one.
    """
    if path.is_symlink():
        raise InputError(
            f"{path} is a link to {os.readlink(path)}, expected a folder of its own to write into; remove the link, or "
            "name the folder that it leads to"
        )


def parse_json(text: str | bytes, *, most: int = _MOST_VALUES) -> Any:
    """Return the plain values that a JSON text stands for; what it may cost is bounded before.

    Raises:
        ValueError: it is no JSON, holds more than ``most`` values, is nested too deeply, or has a number that is not
            finite or is whole and beyond 64 bits.
    """
    marks = (",", "[", "{") if isinstance(text, str) else (b",", b"[", b"{")
    if sum(text.count(mark) for mark in marks) > most:  # type: ignore[arg-type]
        raise ValueError(f"it holds more than {most:,} values")
    try:
        return json.loads(text, parse_int=_whole, parse_float=_finite, parse_constant=_finite)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _whole(text: str) -> int:
    if len(text) > _LONGEST_NUMBER:
        raise ValueError(f"it has a number of {len(text)} digits")
    return int(text)


def _finite(text: str) -> float:
    number = float(text)
    if number - number != 0:
        raise ValueError(f"it has the number {shortened(text)}, which is not finite")
    return number


def read_json(path: Path, expected: str) -> dict[str, Any]:
    """Return the names and values in a file of JSON.

    Args:
        path: the file.
        expected: what should be there, such as ``a run's results``.

    Raises:
        InputError: it cannot be read, or as `parse_json` says, or holds something else; the sentence is without a
            remedy.
        FileNotFoundError: there is none.
    """
    try:
        with open_regular(path, expected) as file:
            found = parse_json(file.read())
    except FileNotFoundError:
        raise
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror})") from error
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is broken ({error})") from error
    if not isinstance(found, dict):
        raise InputError(f"{path} is broken: it holds no table of names and values")
    return found


def write_bytes_atomic(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path`` so that a reader, or a crash, sees the old file or the new one.

    The bytes go to a temporary file beside the target, are flushed to disk and renamed over it.

    Raises:
        SpikeloreError: the disk is full or the folder cannot be written; the old file is untouched.
    """
    temporary = path.parent / f".{path.name}.{secrets.token_hex(4)}"
    made = False
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as file:
            made = True
            file.write(content)
            file.flush()
            _sync(file.fileno())
        os.replace(temporary, path)
        made = False
    except OSError as error:
        raise cannot_write(path, error, "the file before it, if any, is untouched") from error
    finally:
        if made:
            with suppress(OSError):  # what went wrong before is what is told
                temporary.unlink()


def _sync(file: int) -> None:
    try:
        os.fsync(file)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise


def append_text(path: Path, text: str) -> None:
    """Append UTF-8 text to a file.

    Raises:
        SpikeloreError: the disk is full or the file cannot be written.
    """
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise cannot_write(path, error) from error


def remove(path: Path) -> None:
    """Delete a file if it is there.

    Raises:
        SpikeloreError: it is there and cannot be deleted.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise cannot_write(path, error) from error


def write_text_atomic(path: Path, text: str) -> None:
    """Write UTF-8 text as `write_bytes_atomic` does; bytes of a name that are no text are written escaped."""
    write_bytes_atomic(path, text.encode(errors="backslashreplace"))


def write_json_atomic(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON as `write_bytes_atomic` does; NaN is refused."""
    write_text_atomic(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def _digest(tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> str:
    digest = hashlib.sha256()
    for key in sorted(metadata):
        digest.update(f"{key}={metadata[key]}\0".encode())
    for key in sorted(tensors):
        array = np.ascontiguousarray(tensors[key])
        digest.update(f"{key} {array.dtype} {array.shape}\0".encode())
        digest.update(array.data)
    return digest.hexdigest()


def arrays_under(title: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the arrays whose names begin with ``title/``, without that."""
    prefix = f"{title}/"
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def arrays_beside(titles: Iterable[str], arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the arrays that are under none of ``titles``."""
    prefixes = tuple(f"{title}/" for title in titles)
    return {name: array for name, array in arrays.items() if not name.startswith(prefixes)}


def save_tensors(path: Path | str, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    """Write named arrays and text metadata as one safetensors file, with a SHA-256 of their content.

    The same content gives the same bytes.
    """
    arrays = {key: np.ascontiguousarray(value) for key, value in tensors.items()}
    stamped = {**metadata, _DIGEST: _digest(arrays, metadata)}
    # The library writes metadata in random order, so its header is put together here; positions count from its end.
    content = memoryview(_save_tensors(arrays))
    end = 8 + int.from_bytes(content[:8], "little")
    entries = {"__metadata__": dict(sorted(stamped.items())), **json.loads(bytes(content[8:end]))}
    header = json.dumps(entries, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    write_bytes_atomic(user_path(path), b"".join([len(header).to_bytes(8, "little"), header, content[end:]]))


def _looks_like_a_digest(text: str) -> bool:
    """Return whether a text may be a checksum of ours, whose name a flipped byte has changed."""
    return re.fullmatch("[0-9a-f]{64}", text) is not None


def _metadata(content: bytes) -> dict[str, str]:
    """Return the texts in a safetensors file's header; none if they are not of that form."""
    length = int.from_bytes(content[:8], "little")
    header = parse_json(content[8 : 8 + length], most=_MOST_TENSORS)
    found = header.get("__metadata__") if isinstance(header, dict) else None
    return found if isinstance(found, dict) and all(isinstance(text, str) for text in found.values()) else {}


def load_tensors(path: Path | str) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Read what `save_tensors` wrote. Runs no code from the file.

    Raises:
        InputError: no such file, not a safetensors file, one that another program wrote, cut short, or its content
            does not have the digest it was written with (a flipped byte).
    """
    expected = "a checkpoint (.safetensors)"
    try:
        with open_regular(user_path(path), expected) as file:
            content = file.read()
    except OSError as error:
        raise InputError(f"cannot read checkpoint {path}: {error.strerror}") from error
    try:
        metadata = _metadata(content)
        if _DIGEST not in metadata and not any(map(_looks_like_a_digest, metadata.values())):
            deserialize(content)
            raise InputError(
                f"checkpoint {path} was not written by Spikelore (it has none of its checksums), expected a file such "
                "as RUN/checkpoints/NAME.safetensors; name another one"
            )
        tensors = _load_tensors(content)
        del content
        sound = metadata.pop(_DIGEST, None) == _digest(tensors, metadata)
    except InputError:
        raise
    except (SafetensorError, ValueError, KeyError, TypeError, OverflowError) as error:
        told = shortened(str(error))
        raise InputError(f"checkpoint {path} is broken ({told}); take another copy or train it again") from error
    if not sound:
        raise InputError(
            f"checkpoint {path} is damaged: its content does not match the SHA-256 it was written with; "
            "take another copy or train it again"
        )
    return tensors, metadata
