"""Plain values against the types of a configuration class: one check for files, command lines and variants."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

import yaml
from jsonargparse import ArgumentParser

from spikelore.errors import InputError


def parser(config: type, name: str) -> ArgumentParser:
    """Return a parser, called ``name`` in its help, of the values of a configuration dataclass."""
    made = ArgumentParser(prog=name, exit_on_error=False, allow_abbrev=False)
    made.add_class_arguments(config, None)
    return made


@contextmanager
def one_line() -> Iterator[None]:
    """Turn what jsonargparse finds wrong with the given values into an InputError of one line."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # jsonargparse raises several kinds, all about the given values
        if isinstance(error.__cause__, InputError):
            raise error.__cause__ from error
        raise InputError(" ".join(str(error).split())) from error


def check_values(config: type, values: Mapping[Any, Any], prefix: str = "") -> None:
    """Refuse what the parser would take badly: unknown names, and sections and lists that are something else.

    Args:
        config: a dataclass, maybe of dataclasses, which are its sections.
        values: plain, nested or with dots in their names.
        prefix: what stands before a name in the message, such as ``memory.``.

    Raises:
        InputError: such a name or value.
    """
    known = [one.name for one in fields(config)]
    hints = get_type_hints(config)
    for path, value in values.items():
        name, _, rest = str(path).partition(".")
        full = prefix + name
        if name not in known:
            raise InputError(f"{prefix}{path} is not known, expected one of {', '.join(known)}; correct the name")
        types = get_args(hints[name]) if isinstance(hints[name], UnionType) else (hints[name],)
        section = next((one for one in types if isinstance(one, type) and is_dataclass(one)), None)
        if value is None and NoneType in types:
            continue
        if section is not None:
            inner = {rest: value} if rest else value
            if not isinstance(inner, Mapping):
                names = ", ".join(one.name for one in fields(section))
                raise InputError(
                    f"{full} is {_shown(value)}, expected names with values (of {names}); name what differs, or leave "
                    "it out"
                )
            check_values(section, inner, f"{full}.")
        elif value is None:
            raise InputError(f"{full} is null, expected a value; give one or leave the name out")
        elif any(get_origin(one) is tuple for one in types) and not isinstance(value, Sequence):
            raise InputError(f"{full} is {_shown(value)}, expected a list; write it as [...]")


def check_overrides(config: type, words: Sequence[str]) -> None:
    """Refuse the same in words of a command line, such as ``--memory.images 300``."""
    for word, following in zip(words, [*words, ""][1:], strict=True):
        name, equals, text = word.removeprefix("--").partition("=")
        value: Any = text if equals else following
        if word.startswith("--") and value:  # a missing value is the parser's to refuse
            with suppress(yaml.YAMLError):
                value = yaml.safe_load(value)
            check_values(config, {name: value}, "--")


def _shown(value: Any) -> str:
    return "null" if value is None else repr(value)


@cache
def _parser_of(config: type) -> ArgumentParser:
    return parser(config, config.__name__)


def checked(config: type, path: str, value: Any) -> Any:
    """Return a value as the type that a configuration class gives it, such as a tuple for a list.

    Args:
        config: a dataclass, maybe of dataclasses.
        path: the value's name with dots, such as ``memory.images``; the class has it.
        value: plain.

    Raises:
        InputError: a value of another type.
    """
    with one_line():
        return _checked(config, path, json.dumps(value))


@cache  # variants share most of their values, and are read more than once
def _checked(config: type, path: str, text: str) -> Any:
    return _parser_of(config).parse_object({path: json.loads(text)}, defaults=False)[path]
