"""Plain values against the types of a configuration class: one check for files, command lines and variants."""

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import MISSING, asdict, fields, is_dataclass, replace
from difflib import get_close_matches
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from spikelore import plain_yaml
from spikelore.errors import InputError, shown


def plain(value: Any) -> Any:
    """Return a configuration dataclass, or a value of one, as plain values: tuples as lists, sections as dicts."""
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, Mapping):
        return {key: plain(each) for key, each in value.items()}
    return [plain(each) for each in value] if isinstance(value, list | tuple) else value


def made(config: type, values: Mapping[str, Any]) -> Any:
    """Return an instance of a configuration dataclass from nested plain values that `check_values` has passed.

    A section keeps the values of its default that are not named.

    Raises:
        InputError: a value without a default is missing, or one that the class refuses.
    """
    return config(**_arguments(config, values))


def _arguments(config: type, values: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for one in fields(config):
        default = one.default if one.default_factory is MISSING else one.default_factory()
        if one.name in values:
            found[one.name] = _made(hints_of(config)[one.name], values[one.name], default)
        elif default is MISSING:
            raise InputError(f"{one.name} is missing, expected {told(hints_of(config)[one.name])}; add it")
    return found


def _made(hint: Any, value: Any, default: Any = None) -> Any:
    """Return a plain value of the type ``hint`` as that type: lists as tuples, sections as dataclasses."""
    section, other = section_of(hint), other_than(hint)
    if value is None:
        return None
    if other is not None:
        whole = {**default, **value} if isinstance(default, other) and "kind" not in value else dict(value)
        if whole.get("kind", other.SECTION_KIND) != other.SECTION_KIND:
            return other(whole)
        whole.pop("kind", None)
        check_values(section, whole, f"{other.NAME}.")
        value = nested(section, whole, f"{other.NAME}.")
    if section is not None:
        given = is_dataclass(default) and not isinstance(default, type)
        return _with(default, value) if given else made(section, value)
    hint = _fitting([one for one in _types(hint) if one is not NoneType], value)
    inner = get_args(hint)
    if get_origin(hint) is tuple:
        each = inner[:1] * len(value) if inner[-1] is Ellipsis else inner
        return tuple(_made(one, item) for one, item in zip(each, value, strict=True))
    if isinstance(value, str) and hint in _NUMBERS:
        value = plain_yaml.parse(value, repr(value))
    return float(value) if hint is float else value


def changed(config: Any, values: Mapping[str, Any]) -> Any:
    """Return a configuration with other values, nested or named by dotted paths such as ``memory.images``.

    Raises:
        InputError: a name that the configuration does not have, a value of another type, or one that the class refuses.
    """
    check_values(type(config), values)
    return _with(config, nested(type(config), values))


def _with(config: Any, values: Mapping[str, Any]) -> Any:
    """Return a configuration dataclass with other nested plain values."""
    hints = hints_of(type(config))
    # All at once, since some values have a sense only together.
    return replace(config, **{name: _made(hints[name], each, getattr(config, name)) for name, each in values.items()})


def converted(config: type, name: str, value: Any) -> Any:
    """Return a plain value that `check_values` has passed as one of a configuration dataclass."""
    return _made(hints_of(config)[name], value)


def check_values(config: type, values: Mapping[Any, Any], prefix: str = "") -> None:
    """Refuse unknown names, names given twice and values of another type.

    Args:
        config: a dataclass, maybe of dataclasses, which are its sections.
        values: plain, nested or with dots in their names.
        prefix: what stands before a name in the message, such as ``memory.``.

    Raises:
        InputError: such a name or value.
    """
    for name, value in nested(config, values, prefix).items():
        _check(hints_of(config)[name], value, prefix + name)


def nested(config: type, values: Mapping[Any, Any], prefix: str = "") -> dict[str, Any]:
    """Return values with the dotted names among them, such as ``memory.images``, brought into their sections.

    Raises:
        InputError: an unknown name, a section that is something else, or a name given twice, one way and the other.
    """
    found: dict[str, Any] = {}
    for path, value in values.items():
        name, rest, hint = _first(config, str(path), prefix)
        section = section_of(hint)
        if section is None or (value is None and not rest):
            if name in found:
                raise InputError(f"{prefix}{name} is given twice; join them")
            found[name] = value
            continue
        inner = {rest: value} if rest else value
        if not isinstance(inner, Mapping):
            names = ", ".join(hints_of(section))
            raise InputError(
                f"{prefix}{name} is {_shown(value)}, expected names with values (of {names}); name what differs, or "
                "leave it out"
            )
        if other_than(hint) is None or not _is_another_kind(section, inner):
            inner = nested(section, inner, f"{prefix}{name}.")
        found[name] = _joined(found[name], inner, f"{prefix}{name}") if name in found else inner
    return found


def _joined(one: Any, other: Any, name: str) -> Any:
    if not isinstance(one, dict) or not isinstance(other, dict):
        raise InputError(f"{name} is given twice; join them")
    both = {key: _joined(one[key], other[key], f"{name}.{key}") for key in one.keys() & other.keys()}
    return {**one, **other, **both}


def merged(config: type, values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested values with nested changes; a changed section keeps the values that the change does not name."""
    out = dict(values)
    for name, value in changes.items():
        section, old = section_of(hints_of(config).get(name)), out.get(name)
        if section is not None and isinstance(old, Mapping) and isinstance(value, Mapping):
            value = merged(section, old, value) if value.get("kind", old.get("kind")) == old.get("kind") else value
        out[name] = value
    return out


def overrides(config: type, words: Sequence[str]) -> dict[str, Any]:
    """Return the nested values in words of a command line, such as ``--memory.images 300`` or ``--seed=3``.

    A value is read as in a file, except that the value of a text is taken as it is, without quotes.

    Raises:
        InputError: an unknown name, one given twice, one without a value, or a value of another type.
    """
    found: dict[str, Any] = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        name, equals, text = word.removeprefix("--").partition("=")
        if not word.startswith("--") or not name:
            raise InputError(
                f"{word!r} stands where a name was expected; write --name value, and a list as one value in quotes, "
                "as in --name '[4, 8]'"
            )
        hint = _hint(config, name)
        if not equals:
            if not rest or rest[0].startswith("--"):
                raise InputError(f"--{name} has no value, expected {told(hint)}; write --{name} VALUE")
            text = rest.pop(0)
        if name in found:
            raise InputError(f"--{name} is given twice; give it once")
        found[name] = _read(hint, text, f"--{name}")
    check_values(config, found, "--")
    return nested(config, found, "--")


def _read(hint: Any, text: str, name: str) -> Any:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{name} is {text!r}, which is not UTF-8 text; write it in UTF-8") from error
    types = _types(hint)
    if all(one is str or one is NoneType or _is_choice(one) for one in types):
        return None if NoneType in types and text == "null" else text
    return plain_yaml.parse(text, f"{name} {text!r}")


@cache
def hints_of(config: type) -> dict[str, Any]:
    """Return the type of each value of a configuration dataclass, in order."""
    hints = get_type_hints(config)
    return {one.name: hints[one.name] for one in fields(config)}


def _hint(config: type, path: str) -> Any:
    """Return the type of the value that a dotted name stands for.

    Raises:
        InputError: the class has no such value.
    """
    within = "--"
    while True:
        name, rest, hint = _first(config, path, within)
        if not rest:
            return hint
        if other_than(hint) is not None and _is_another_kind(section_of(hint), {rest: None}):
            return Any
        config, path, within = section_of(hint), rest, f"{within}{name}."


def _first(config: type, path: str, prefix: str) -> tuple[str, str, Any]:
    """Return the first name of a dotted path, the rest, which is of a section, and the type of what it names."""
    hints = hints_of(config)
    name, dot, rest = path.partition(".")
    if name not in hints or (dot and (section_of(hints[name]) is None or not rest)):
        raise _unknown(prefix, path, hints)
    return name, rest, hints[name]


def _unknown(prefix: str, path: str, names: Iterable[str]) -> InputError:
    alike = get_close_matches(path.partition(".")[0].lower(), names, n=1)
    remedy = f"did you mean {alike[0]}?" if alike else "correct the name"
    return InputError(f"{prefix}{path} is not known, expected one of {', '.join(names)}; {remedy}")


def _types(hint: Any) -> tuple[Any, ...]:
    """Return the types of a union, or the one type."""
    return get_args(hint) if isinstance(hint, UnionType) else (hint,)


def section_of(hint: Any) -> Any:
    """Return the dataclass that a value is a section of, maybe one that can be null; None for other values."""
    return next((one for one in _types(hint) if isinstance(one, type) and is_dataclass(one)), None)


def other_than(hint: Any) -> Any:
    """Return the class of a section's other kinds, which are mappings with a ``kind``; None for other values."""
    return next((one for one in _types(hint) if section_of(hint) and _is_mapping(one)), None)


def _is_another_kind(section: type, values: Mapping[Any, Any]) -> bool:
    """Return whether values may be of another kind of section: they say so, or have other names."""
    return not {str(name).partition(".")[0] for name in values} <= {*hints_of(section)}


def _fitting(hints: Sequence[Any], value: Any) -> Any:
    """Return the one type of a value, or of a number and a list the one that the value looks like."""
    listed = isinstance(value, list | tuple)
    return next((one for one in hints if (get_origin(one) is tuple) == listed), hints[0])


def _is_choice(hint: Any) -> bool:
    return get_origin(hint) is Literal and all(isinstance(one, str) for one in get_args(hint))


def _is_mapping(origin: Any) -> bool:
    return isinstance(origin, type) and issubclass(origin, Mapping)


def _check(hint: Any, value: Any, name: str) -> None:
    """Refuse a plain value that is not of the type ``hint``; dataclasses in it have strict names."""
    types = _types(hint)
    if value is None:
        if NoneType not in types:
            raise InputError(f"{name} is null, expected {told(hint)}; give one or leave the name out")
        return
    section = section_of(hint)
    if section is not None and isinstance(value, Mapping):
        if other_than(hint) is None or not _is_another_kind(section, value):
            check_values(section, value, f"{name}.")
    elif section is None:
        _check_plain(_fitting([one for one in types if one is not NoneType], value), hint, value, name)
    else:
        raise _mistaken(hint, value, name)


def _check_plain(hint: Any, whole: Any, value: Any, name: str) -> None:
    """Refuse a value that is not of the type ``hint``, which is ``whole`` but for null."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise InputError(f"{name} is {_shown(value)}, expected {told(whole)}; write it as [...]")
        several = inner[-1] is Ellipsis
        if not several and len(value) != len(inner):
            raise _mistaken(whole, value, name)
        for n, each in enumerate(value):
            _check(inner[0] if several else inner[n], each, f"{name}[{n}]")
    elif _is_mapping(origin):
        if not isinstance(value, Mapping):
            raise _mistaken(whole, value, name)
    elif origin is Literal:
        if value not in inner:
            raise InputError(f"{name} is {_shown(value)}, expected one of {', '.join(map(str, inner))}; choose one")
    else:
        if isinstance(value, str) and hint in _NUMBERS:  # a number in quotes is one
            with suppress(plain_yaml.NotPlainError):
                value = plain_yaml.parse(value, name)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        fits = {int: number and isinstance(value, int), float: number, bool: isinstance(value, bool)}
        if not fits.get(hint, hint is Any or isinstance(value, hint)):
            raise _mistaken(whole, value, name)


def _mistaken(hint: Any, value: Any, name: str) -> InputError:
    quote = "; put it in quotes" if str in _types(hint) and not isinstance(value, list | Mapping) else "; correct it"
    return InputError(f"{name} is {_shown(value)}, expected {told(hint)}{quote}")


_NUMBERS = (int, float, bool)
_TOLD = {
    int: ("a whole number", "whole numbers"), float: ("a number", "numbers"), bool: ("true or false", "true or false"),
    str: ("a text", "texts"), NoneType: ("null", "null"), Any: ("a value", "values"),
}  # fmt: skip


def told(hint: Any, *, several: bool = False) -> str:
    """Return the type of a value in words, such as ``a list of whole numbers, or null``."""
    types = _types(hint)
    if len(types) > 1:
        return ", or ".join(told(one, several=several) for one in types)
    origin, inner = get_origin(hint), get_args(hint)
    if origin is tuple:
        count = "" if inner[-1] is Ellipsis else f"{len(inner)} "
        return f"{'lists' if several else 'a list'} of {count}{told(inner[0], several=True)}"
    if origin is Literal:
        return f"{'any' if several else 'one'} of {', '.join(map(str, inner))}"
    if _is_mapping(origin) or _is_mapping(hint) or is_dataclass(hint):
        return "names with values"
    return _TOLD[hint][several]


def _shown(value: Any) -> str:
    return json.dumps(value) if value is None or isinstance(value, bool) else shown(value)
