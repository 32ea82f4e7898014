"""Files that are either whole or absent: atomic writes, and tensors without pickle."""

import errno
import hashlib
import json
import os
import re
import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, deserialize
from safetensors.numpy import load as _load_tensors
from safetensors.numpy import save as _save_tensors

from spikelore.errors import InputError, SpikeloreError

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
        digest.update(array.tobytes())
    return digest.hexdigest()


def save_tensors(path: Path, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
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
    write_bytes_atomic(path, b"".join([len(header).to_bytes(8, "little"), header, content[end:]]))


def _looks_like_a_digest(text: str) -> bool:
    """Return whether a text may be a checksum of ours, whose name a flipped byte has changed."""
    return re.fullmatch("[0-9a-f]{64}", text) is not None


def _metadata(content: bytes) -> dict[str, str]:
    """Return the texts in a safetensors file's header; none if they are not of that form."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    found = header.get("__metadata__") if isinstance(header, dict) else None
    return found if isinstance(found, dict) and all(isinstance(text, str) for text in found.values()) else {}


def load_tensors(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Read what `save_tensors` wrote. Runs no code from the file.

    Raises:
        InputError: no such file, not a safetensors file, one that another program wrote, cut short, or its content
            does not have the digest it was written with (a flipped byte).
    """
    try:
        if path.exists() and not path.is_file():  # a pipe or a device would be read for ever
            raise InputError(f"{path} is no regular file, expected a checkpoint (.safetensors); name another path")
        content = path.read_bytes()
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
    except InputError:
        raise
    except (SafetensorError, ValueError, KeyError, RecursionError) as error:
        raise InputError(f"checkpoint {path} is broken ({error}); take another copy or train it again") from error
    if metadata.pop(_DIGEST, None) != _digest(tensors, metadata):
        raise InputError(
            f"checkpoint {path} is damaged: its content does not match the SHA-256 it was written with; "
            "take another copy or train it again"
        )
    return tensors, metadata
