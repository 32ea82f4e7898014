"""The errors that users see: one sentence that names the value, what was expected and what to do."""

from numbers import Integral
from typing import Any, Literal, get_args, get_origin, get_type_hints


class SpikeloreError(Exception):
    """Work failed (exit code 1): a full disk, a broken download, a run that cannot go on."""

    exit_code = 1


class InputError(SpikeloreError, ValueError):
    """What was given cannot be used (exit code 2): a bad file, an unknown name, a value out of range."""

    exit_code = 2


def printable(text: str) -> str:
    """Return ``text`` with what no terminal can show, such as an escape in a file's name, replaced."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


def check_whole(name: str, value: Any, least: int = 0) -> None:
    """Refuse what is no whole number of ``least`` or more.

    Raises:
        InputError: such a value.
    """
    if not isinstance(value, Integral) or int(value) < least:
        raise InputError(f"{name} is {value!r}, expected a whole number of {least} or more; choose another number")


def check_choices(settings: Any, prefix: str = "") -> None:
    """Refuse a value that its `Literal` type does not list, in any field of a dataclass.

    Type checkers see such values in code; those of a configuration's variants come as plain text.

    Args:
        settings: an instance of the dataclass.
        prefix: what stands before a field's name in the message, such as ``memory.``.

    Raises:
        InputError: such a value.
    """
    for name, hint in get_type_hints(type(settings)).items():
        value = getattr(settings, name)
        if get_origin(hint) is Literal and value not in get_args(hint):
            known = ", ".join(get_args(hint))
            raise InputError(f"{prefix}{name} is {value!r}, expected one of {known}; choose one")
