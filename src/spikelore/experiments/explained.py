"""A whole configuration as YAML, with what every value means above it."""

import json
import textwrap
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from typing import Any, get_args

import docstring_parser

from spikelore import plain_yaml
from spikelore.experiments import config_file, typed

_WIDTH = 110


def explained(config: Any) -> str:
    """Return a configuration as YAML that reads back the same.

    Above each value stand what it means, as the configuration's class documents it, its type, and the default where
    that is another.
    """
    kind = config_file.kind_of(config)
    head = [f"# kind of experiment (one of {', '.join(config_file.KINDS)})", f"experiment: {kind}"]
    return "\n".join([*head, *_lines(config, _defaults(type(config)), ""), ""])


@cache
def meanings(config: type) -> dict[str, str]:
    """Return what each value of a configuration dataclass means: ``Attributes:`` of its docstring and its bases'."""
    style, names = docstring_parser.DocstringStyle.GOOGLE, {one.name for one in fields(config)}
    texts = [each.__doc__ or "" for each in reversed(config.__mro__)]
    entries = [one for text in texts for one in docstring_parser.parse(text, style).params if one.arg_name in names]
    return {one.arg_name: " ".join((one.description or "").replace("``", "`").split()) for one in entries}


def _lines(config: Any, defaults: dict[str, Any], indent: str) -> Iterator[str]:
    for name, hint in typed.hints_of(type(config)).items():
        value, usual = getattr(config, name), defaults[name]
        section = typed.section_of(hint)
        if section is not None and is_dataclass(value):
            yield from _comment(meanings(type(config))[name].rstrip("."), indent)
            yield f"{indent}{name}:"
            yield from _lines(value, vars(usual) if usual else _defaults(section), f"{indent}  ")
            continue
        told = typed.told(hint)
        facts = told if value == usual or usual is MISSING else f"{told}; default: {_short(usual)}"
        yield from _comment(f"{meanings(type(config))[name].rstrip('.')} ({facts})", indent)
        for inner in _inside(hint):
            each = [
                f"  {one.name}: {meanings(inner)[one.name].rstrip('.')} ({typed.told(typed.hints_of(inner)[one.name])})"
                for one in fields(inner)
            ]
            for line in each:
                yield from _comment(line, indent)
        written = typed.plain(value)
        text = plain_yaml.dump({name: written}, short=isinstance(written, list | dict))
        yield from textwrap.indent(text, indent).splitlines()


def _defaults(config: type) -> dict[str, Any]:
    """Return the default of each value, or MISSING; a class need not be valid with all of them."""
    return {
        one.name: one.default if one.default_factory is MISSING else one.default_factory() for one in fields(config)
    }


def _inside(hint: Any) -> list[type]:
    """Return the dataclasses among the types in a type, such as those of a list's entries."""
    inner = [one for each in get_args(hint) for one in ([each] if is_dataclass(each) else _inside(each))]
    return [one for one in inner if isinstance(one, type)]


def _comment(text: str, indent: str) -> Iterator[str]:
    first = f"{indent}# "
    following = first + "  " * text.startswith(" ")
    yield from textwrap.wrap(text, _WIDTH, initial_indent=first, subsequent_indent=following, break_on_hyphens=False)


def _short(value: Any) -> str:
    text = json.dumps(typed.plain(value), ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:77]}..."
