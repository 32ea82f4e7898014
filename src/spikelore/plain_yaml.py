"""YAML read as plain values, with nothing dropped or guessed, and written so that it reads back the same.

One rule for files and for values on a command line: the core schema of YAML 1.2. Numbers are ``10``, ``010`` (ten),
``0o10``, ``0x10``, ``1e-3``, ``1.5``; ``true``, ``false`` and ``null`` (with capitals, too) and ``~`` are no texts;
everything else is a text, such as ``no``, ``on``, ``1_000``, ``12:30`` and ``2024-01-01``. Anchors, aliases and the
merge key ``<<`` are understood. A name given twice, a number that is not finite, a tag, and a second document are
refused, with the line.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from spikelore.errors import InputError, shortened
from spikelore.files import open_regular

_PREFIX = "tag:yaml.org,2002:"
_MERGE = "<<"
_NODES = 100_000
"""More values than any configuration has; aliases of aliases can stand for billions."""
_DEPTH = 50
"""More levels than any configuration has; the time to read them grows with their square."""
_LENGTH = 250_000
"""More characters than any configuration has; they are read in seconds."""
_DIGITS = 400
"""More digits than any number has."""


def _integer(text: str) -> int:
    base = 8 if "0o" in text else 16 if "0x" in text else 10
    return int(text, base)


_SCALARS: dict[str, tuple[str, str, Callable[[str], Any]]] = {
    "null": (r"null|Null|NULL|~|", "nN~", lambda text: None),
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF", lambda text: text.lower() == "true"),
    "int": (r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789", _integer),
    "float": (
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        "-+.0123456789",
        lambda text: float(text.lower().replace(".inf", "inf").replace(".nan", "nan")),
    ),
    "str": (r"(?!)", "", str),
}
"""The core schema's plain scalars: their form, the characters that they may begin with, and what they mean."""


class _Loader(yaml.SafeLoader):
    """Composes nodes by the core schema; values are made of them here."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  # PyYAML's own way
    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        self.depth += 1
        if self.depth > _DEPTH:
            raise _Refused(f"line {self.line + 1} is nested more than {_DEPTH} levels deep, expected a few; flatten it")
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1


class _Dumper(yaml.SafeDumper):
    """Quotes what the core schema would not read as a text."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def text(self, data: str) -> yaml.ScalarNode:
        # PyYAML folds lines at these signs, which are lost then, unless they are escaped
        style = '"' if re.search("[\r\x85\u2028\u2029]", data) else None
        return self.represent_scalar(f"{_PREFIX}str", data, style=style)


_Dumper.add_representer(str, _Dumper.text)


for _name, (_form, _first, _) in _SCALARS.items():
    if _first:
        for _class in (_Loader, _Dumper):
            # an empty value is null, too
            _firsts = [*_first, ""] if _name == "null" else [*_first]
            _class.add_implicit_resolver(_PREFIX + _name, re.compile(f"(?:{_form})$"), _firsts)
for _class in (_Loader, _Dumper):
    _class.add_implicit_resolver(_PREFIX + "merge", re.compile(f"{_MERGE}$"), ["<"])


class NotPlainError(InputError):
    """A text that is not YAML, or holds what is refused here."""


def read(path: Path) -> Any:
    """Return the plain values in a file.

    Raises:
        InputError: the file cannot be read, is not UTF-8 text, or as `parse` says.
    """
    try:
        with open_regular(path, "a file of YAML") as file:
            content = file.read(4 * _LENGTH + 1)  # a character has at most four bytes
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise NotPlainError(f"{path} is not UTF-8 text (line {line}); save it again as UTF-8") from error
    return parse(text, str(path))


def parse(text: str, name: str) -> Any:
    """Return the plain values (None, bool, int, float, str, list, dict) that a YAML text stands for.

    Args:
        text: one YAML document, or none (the answer is then None).
        name: what to call the text in an error.

    Raises:
        NotPlainError: not YAML, or what the module refuses; with the line where there are several.
    """
    if len(text) > _LENGTH:
        raise NotPlainError(f"{name} has more than {_LENGTH:,} characters, expected a configuration; name another file")
    try:
        nodes = list(yaml.compose_all(text, _Loader))
        if len(nodes) > 1:
            line = nodes[1].start_mark.line + 1
            raise _Refused(f"line {line} begins a second document, expected one; move it to a file of its own")
        return _Values().of(nodes[0]) if nodes else None
    except _Refused as error:
        raise NotPlainError(f"{name}: {error}") from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        sign = f"U+{ord(text[error.position]):04X}"
        raise NotPlainError(f"{name}: line {line} holds the control character {sign}; remove it") from error
    except yaml.MarkedYAMLError as error:
        raise NotPlainError(_not_yaml(error, text, name)) from error


def split_list(text: str, name: str) -> list[str]:
    """Return the values of a list without its brackets, such as ``[4,8],[8,16]``, each as it is written.

    Commas inside of brackets and quotes part nothing; quotes around a whole value are taken off.

    Args:
        text: values with commas between them.
        name: what to call the text in an error.

    Raises:
        NotPlainError: brackets or quotes are not closed, or a value is empty.
    """
    whole = f"[{text}]"
    try:
        node = yaml.compose(whole, _Loader) if len(whole) <= _LENGTH else None
    except (_Refused, yaml.YAMLError) as error:
        raise NotPlainError(
            f"{name} is no list of values: brackets or quotes are not closed, a value is empty, or needs quotes; "
            "write values with commas between them, and a value that is a list in brackets"
        ) from error
    found = [
        each.value if getattr(each, "style", None) in ("'", '"') else whole[each.start_mark.index : each.end_mark.index]
        for each in (node.value if isinstance(node, yaml.SequenceNode) else [])
    ]
    if text.rstrip().endswith(",") or not all(one.strip() for one in found) or not found:
        raise NotPlainError(f"{name} has an empty value; leave the comma out")
    return found


def dump(value: Any, *, short: bool = False) -> str:
    """Return plain values as YAML that `parse` reads back the same: one to a line, or ``short``, lists of them."""
    return yaml.dump(
        value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=None if short else False
    )


class _Refused(Exception):  # noqa: N818
    """A sentence on what is wrong, with its line."""


def _not_yaml(error: yaml.MarkedYAMLError, text: str, name: str) -> str:
    mark = error.problem_mark or error.context_mark
    at = mark.line if mark else 0
    lines = [*text.splitlines(), ""]
    shown = lines[min(at, len(lines) - 1)]
    if "\t" in shown[: len(shown) - len(shown.lstrip())] or "'\\t'" in str(error.problem):
        return f"{name}: line {at + 1} has a tab, expected spaces; replace it"
    context = error.context_mark
    opened = lines[context.line][context.column : context.column + 1] if context else ""
    if context and opened in ("[", "{") and "flow" in str(error.context):
        return (
            f"{name} is not valid YAML: the {opened} in line {context.line + 1} is not closed, or a comma is missing "
            f"before column {mark.column + 1 if mark else 0} of line {at + 1}; correct it"
        )
    if "<stream end>" in str(error.problem):
        return f"{name} is not valid YAML: it ends, in line {at + 1}, before all its brackets are closed; close them"
    problem = " ".join(str(error.problem or error).split())
    return f"{name} is not valid YAML: line {at + 1}: {problem}; correct it"


class _Values:
    """Makes plain values of nodes."""

    def __init__(self) -> None:
        self.within: set[int] = set()
        self.left = _NODES

    def of(self, node: yaml.Node) -> Any:
        line = node.start_mark.line + 1
        self.left -= 1
        if self.left < 0:
            raise _Refused(f"line {line} repeats itself by aliases more than {_NODES:,} times; write out what is meant")
        if id(node) in self.within:
            raise _Refused(f"line {line} holds itself by an alias, expected values that end; write out what is meant")
        self.within.add(id(node))
        try:
            return self._value(node, line)
        finally:
            self.within.discard(id(node))

    def _value(self, node: yaml.Node, line: int) -> Any:
        tag = node.tag.removeprefix(_PREFIX)
        if isinstance(node, yaml.MappingNode) and tag == "map":
            return self._mapping(node)
        if isinstance(node, yaml.SequenceNode) and tag == "seq":
            return [self.of(each) for each in node.value]
        if isinstance(node, yaml.ScalarNode) and tag in _SCALARS:
            return _scalar(node.value, tag, line)
        if isinstance(node, yaml.ScalarNode) and tag == "merge":
            return node.value
        tag = shortened(node.tag.replace(_PREFIX, "!!"))
        raise _Refused(f"line {line} has the tag {tag}, expected a plain value; leave the tag out")

    def _mapping(self, node: yaml.MappingNode) -> dict[Any, Any]:
        lines: dict[Any, int] = {}
        own: dict[Any, Any] = {}
        merged: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                raise _Refused(f"line {line} has a list or names with values for a name, expected a text; quote it")
            key = self.of(key_node)
            if key in lines:
                where = f"line {line}" if lines[key] == line else f"lines {lines[key]} and {line}"
                raise _Refused(f"{shortened(str(key))} is given twice, in {where}; join them")
            lines[key] = line
            if key_node.tag == f"{_PREFIX}merge":
                merged = self._merged(value_node)
            else:
                own[key] = self.of(value_node)
        return {**merged, **own}

    def _merged(self, node: yaml.Node) -> dict[Any, Any]:
        """Return what ``<<`` brings in: of one mapping, or of several, whose first counts where they differ."""
        nodes = node.value if isinstance(node, yaml.SequenceNode) else [node]
        found: dict[Any, Any] = {}
        for each in reversed(nodes):
            if not isinstance(each, yaml.MappingNode):
                line = node.start_mark.line + 1
                raise _Refused(f"line {line} merges (<<) what is no names with values; name an anchor of such")
            found |= self.of(each)
        return found


def _scalar(text: str, tag: str, line: int) -> Any:
    form, _, convert = _SCALARS[tag]
    if tag == "str":
        return text
    if len(text) > _DIGITS:
        raise _Refused(f"line {line} has a number of {len(text)} digits, expected a shorter one")
    if not re.fullmatch(form, text):  # a tag of the file's own, such as !!int many
        raise _Refused(f"line {line} tags {text!r} as !!{tag}, which it is not; leave the tag out")
    value = convert(text)
    if isinstance(value, float) and value - value != 0:
        raise _Refused(f"line {line} has the number {text}, expected a finite one; quote it if it is a text")
    return value
