"""Files that are either whole or absent: atomic writes, and tensors without pickle."""

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as _load_tensors
from safetensors.numpy import save as _save_tensors

from spikelore.errors import InputError, SpikeloreError

_DIGEST = "sha256"


def user_path(text: str) -> Path:
    """Return the path that a user means, with ``~`` for a home folder.

    Raises:
        InputError: there is no such home.
    """
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
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as error:
        raise SpikeloreError(
            f"could not write {path}: {error.strerror}; the file before it, if any, is untouched. "
            "Free some space or choose another --out."
        ) from error
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)


def write_text_atomic(path: Path, text: str) -> None:
    """Write UTF-8 text as `write_bytes_atomic` does."""
    write_bytes_atomic(path, text.encode())


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
    """Write named arrays and text metadata as one safetensors file, with a SHA-256 of their content."""
    arrays = {key: np.ascontiguousarray(value) for key, value in tensors.items()}
    stamped = {**metadata, _DIGEST: _digest(arrays, metadata)}
    write_bytes_atomic(path, _save_tensors(arrays, stamped))


def load_tensors(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Read what `save_tensors` wrote. Runs no code from the file.

    Raises:
        InputError: no such file, not a safetensors file, cut short, or its content does not have the
            digest it was written with (a flipped byte).
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read checkpoint {path}: {error.strerror}") from error
    try:
        tensors = _load_tensors(content)
        length = int.from_bytes(content[:8], "little")
        metadata: dict[str, str] = json.loads(content[8 : 8 + length]).get("__metadata__", {})
    except (SafetensorError, ValueError, KeyError) as error:
        raise InputError(f"checkpoint {path} is broken ({error}); take another copy or train it again") from error
    expected = metadata.pop(_DIGEST, None)
    if expected != _digest(tensors, metadata):
        raise InputError(
            f"checkpoint {path} is damaged: its content does not match the SHA-256 it was written with; "
            "take another copy or train it again"
        )
    return tensors, metadata
