"""The errors that users see: one sentence that names the value, what was expected and what to do."""

import math
from collections.abc import Sequence
from dataclasses import fields
from functools import cache
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

_LARGEST = 2**63
_LONGEST = 200
"""Characters of a value that is told in a sentence."""
_LONGEST_SENTENCE = 2000


class SpikeloreError(Exception):
    """Work failed (exit code 1): a full disk, a broken download, a run that cannot go on.

    Its sentence is one line that any terminal can show, whatever the names and values in it; a long one is cut within.
    """

    exit_code = 1

    def __init__(self, sentence: str = "") -> None:
        line = printable(" ".join(sentence.split("\n")))
        half = _LONGEST_SENTENCE // 2
        super().__init__(line if len(line) <= _LONGEST_SENTENCE else f"{line[:half]} ... {line[-half:]}")


class InputError(SpikeloreError, ValueError):
    """What was given cannot be used (exit code 2): a bad file, an unknown name, a value out of range."""

    exit_code = 2


def printable(text: str) -> str:
    """Return ``text`` with what no terminal can show, such as an escape in a file's name, replaced."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


def shortened(text: str) -> str:
    """Return a text that is told in a sentence, its end left out if it is long."""
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def shown(value: Any) -> str:
    """Return a value as it is told in a sentence, its end left out if it is long."""
    try:
        return shortened(repr(value))
    except ValueError:  # a number of thousands of digits
        return f"a number of {value.bit_length()} bits" if isinstance(value, int) else "a value of too many digits"


def check_whole(name: str, value: Any, least: int = 0) -> None:
    """Refuse what is no whole number of ``least`` or more, or one beyond 64 bits.

    Raises:
        InputError: such a value.
    """
    if not _is_whole(value) or int(value) < least:
        raise InputError(f"{name} is {shown(value)}, expected a whole number of {least} or more; choose another number")


def check_fields(settings: Any, prefix: str = "") -> None:
    """Refuse values of another type than the fields of a dataclass have, numbers that are not finite among them.

    Type checkers see such values in code; those of a file, a checkpoint or a variant come as plain values. A whole
    number has at most 64 bits; a list is as good as a tuple. Numbers of another kind, such as 1 for 1.0 or NumPy's,
    become Python's own of the field's type, so that kernels are compiled for one type alone.

    Args:
        settings: an instance of the dataclass.
        prefix: what stands before a field's name in the message, such as ``memory.``.

    Raises:
        InputError: such a value.
    """
    for name, hint in _hints(type(settings)):
        value = getattr(settings, name)
        if not _fits(hint, value):
            one = get_args(hint)[0] if get_origin(hint) is tuple and isinstance(value, list | tuple) else Any
            for each in () if one is Any else value:
                if not _fits(one, each):
                    raise InputError(f"{prefix}{name} has {shown(each)}, expected {_told(one)}; correct it")
            raise InputError(f"{prefix}{name} is {shown(value)}, expected {_told(hint)}; correct it")
        if value is not None and (kind := _NUMBERS.get(hint)) and type(value) is not kind:
            object.__setattr__(settings, name, kind(value))


@cache
def _hints(config: type) -> list[tuple[str, Any]]:
    hints = get_type_hints(config)
    return [(one.name, hints[one.name]) for one in fields(config)]


def _is_whole(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and -_LARGEST <= int(value) < _LARGEST


def _fits(hint: Any, value: Any) -> bool:
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return any(_fits(one, value) for one in inner)
    if origin is Literal:
        return isinstance(value, str | int | None) and value in inner
    if origin is tuple:
        if not isinstance(value, Sequence) or isinstance(value, str):
            return hasattr(value, "dtype")  # an array, which the class itself looks at
        several = inner[-1] is Ellipsis
        kinds = [inner[0]] * len(value) if several else inner
        return len(kinds) == len(value) and all(map(_fits, kinds, value))
    if hint is int:
        return _is_whole(value)
    if hint is float:
        try:
            return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(float(value))
        except OverflowError:
            return False
    return not isinstance(hint, type) or isinstance(value, hint)


_NUMBERS = {int: int, float: float, float | None: float, int | None: int}
"""The one type of a field's numbers."""
_NAMES = {int: "a whole number", float: "a finite number", bool: "true or false", str: "a text", NoneType: "null"}


def _told(hint: Any) -> str:
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return ", or ".join(map(_told, inner))
    if origin is Literal:
        return f"one of {', '.join(map(str, inner))}"
    if origin is tuple:
        count = "" if inner[-1] is Ellipsis else f"{len(inner)} "
        return f"a list of {count}values that are each {_told(inner[0])}"
    return _NAMES.get(hint, f"a {getattr(hint, '__name__', hint)}")
