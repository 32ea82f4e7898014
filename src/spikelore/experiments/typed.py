"""Plain values against the types of a configuration class: one check for files, command lines and variants."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from jsonargparse import ArgumentParser

from spikelore.errors import InputError


def parser(config: type, name: str) -> ArgumentParser:
    """Return a parser, called ``name`` in its help, of the values of a configuration dataclass."""
    made = ArgumentParser(prog=name, exit_on_error=False)
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
