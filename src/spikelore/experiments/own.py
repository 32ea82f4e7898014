"""Networks and methods of one's own, named in a configuration as ``path/to/file.py:Class`` or ``module:Class``."""

import sys
from collections.abc import Callable
from functools import cache
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from spikelore.errors import InputError


def own_class(setting: str, value: str, expected: str, is_one: Callable[[type], bool]) -> Any:
    """Return the class that a setting names.

    Args:
        setting: its name.
        value: ``file.py:Class`` or ``module:Class``.
        expected: what the class is to be, in words.
        is_one: whether a class is so.

    Raises:
        InputError: it cannot be imported, or is another thing.
    """
    where, _, name = value.rpartition(":")
    path = Path(where).expanduser()
    if where.endswith(".py") and not path.is_file():
        raise InputError(f"{setting} names the file {path}, which is not there; correct the path")
    try:
        found = getattr(_from_file(path) if where.endswith(".py") else import_module(where), name, None)
    except InputError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"{setting} {value!r} cannot be imported ({type(error).__name__}: {reason}); correct its file"
        ) from error
    if not isinstance(found, type) or not is_one(found):
        what = "nothing" if found is None else "another thing"
        raise InputError(f"{setting} {value!r} names {what}, expected {expected}; correct one of them")
    return found


@cache
def _from_file(path: Path) -> Any:
    """Return a file as a module."""
    name = f"spikelore_own_{path.stem}"
    spec = spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module
