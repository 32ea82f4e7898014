"""Values of files and command lines against the types of a configuration class."""

from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from spikelore.errors import InputError
from spikelore.experiments import typed


@dataclass(frozen=True)
class Inner:
    size: int = 3
    share: float = 0.5


@dataclass(frozen=True)
class Entry:
    data: str
    classes: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Outer:
    name: str = "none"
    kind: Literal["one", "two"] = "one"
    flag: bool = False
    maybe: int | None = 4
    word: str | None = None
    groups: tuple[tuple[int, ...], ...] = ((0, 1),)
    image: tuple[int, int] = (1, 2)
    inner: Inner = field(default_factory=lambda: Inner(size=7))
    entry: Entry | None = None
    entries: tuple[Entry, ...] = ()
    loose: tuple[dict[str, Any], ...] = ()


def read(values=None, words=()):
    values = values or {}
    typed.check_values(Outer, values)
    return typed.made(Outer, typed.merged(Outer, typed.nested(Outer, values), typed.overrides(Outer, words)))


def test_sections_keep_the_defaults_that_are_not_named():
    assert read().inner == Inner(7, 0.5)
    assert read({"inner": {"share": 1}}).inner == Inner(7, 1.0)
    assert read({"inner.share": 1, "inner": {"size": 2}}).inner == Inner(2, 1.0)
    assert read({"inner": {"size": 2}}, ["--inner.share", "0.25"]).inner == Inner(2, 0.25)
    assert read({"inner": {"size": 2}}, ["--inner", "{share: 0.25}"]).inner == Inner(2, 0.25)
    assert isinstance(read({"inner": {"share": 1}}).inner.share, float)


def test_a_section_may_be_null_and_be_filled_by_name():
    assert read({"entry": None}).entry is None
    assert read({"entry": {"data": "x", "classes": [1]}}, ["--entry", "null"]).entry is None
    assert read({"entry": {"data": "x", "classes": [1]}}, ["--entry.data=y"]).entry == Entry("y", (1,))
    assert read({}, ["--entry.data", "y", "--entry.classes", "[1, 2]"]).entry == Entry("y", (1, 2))


def test_values_of_a_command_line():
    def value(name, *words):
        return getattr(read(words=words), name)

    assert value("groups", "--groups", "[[0,1],[2,3]]") == ((0, 1), (2, 3))
    assert value("groups", "--groups=[]") == ()
    assert value("image", "--image", "[010, 0x10]") == (10, 16)
    assert value("maybe", "--maybe", "null") is None
    assert value("maybe", "--maybe", "-3") == -3
    assert value("maybe", "--maybe=010") == 10
    assert value("flag", "--flag", "true") is True
    assert value("entries", "--entries", "[{data: no, classes: [1]}, {data: b}]") == (Entry("no", (1,)), Entry("b"))
    assert value("loose", "--loose", "[{a.b: 1e-3, c: [no]}]") == ({"a.b": 0.001, "c": ["no"]},)


@pytest.mark.parametrize("text", ["no", "010", "1e3", "größe", "null", "", "a: b", "[x", "-3", "it's", "'quoted'"])
def test_a_text_is_taken_as_it_is(text):
    assert read(words=[f"--name={text}"]).name == text
    assert read(words=["--name", text]).name == text
    assert read(words=[f"--word={text}"]).word == (None if text == "null" else text)


@pytest.mark.parametrize(
    ("values", "words", "sentence"),
    [
        ({"nme": 3}, [], "nme is not known, expected one of name, kind"),
        ({"inner.sze": 3}, [], "inner.sze is not known, expected one of size, share"),
        ({"name.x": 3}, [], "name.x is not known"),
        ({"name": 10}, [], "name is 10, expected a text; put it in quotes"),
        ({"name": True}, [], "name is true, expected a text; put it in quotes"),
        ({"kind": "three"}, [], "kind is 'three', expected one of one, two; choose one"),
        ({"flag": "no"}, [], "flag is 'no', expected true or false; correct it"),
        ({"flag": 1}, [], "flag is 1, expected true or false"),
        ({"maybe": True}, [], "maybe is true, expected a whole number, or null"),
        ({"maybe": 1.5}, [], "maybe is 1.5, expected a whole number, or null"),
        ({"maybe": "1_000"}, [], "maybe is '1_000', expected a whole number"),
        ({"maybe": "12:30"}, [], "maybe is '12:30', expected a whole number"),
        ({"groups": 5}, [], "groups is 5, expected a list of lists of whole numbers; write it as [...]"),
        ({"groups": [[0], 1]}, [], "groups[1] is 1, expected a list of whole numbers"),
        ({"groups": [[0, "x"]]}, [], "groups[0][1] is 'x', expected a whole number"),
        ({"groups": None}, [], "groups is null, expected a list of lists of whole numbers; give one or leave"),
        ({"image": [1]}, [], "image is [1], expected a list of 2 whole numbers"),
        ({"inner": 3}, [], "inner is 3, expected names with values (of size, share); name what differs"),
        ({"inner": {"size": 1}, "inner.size": 2}, [], "inner.size is given twice; join them"),
        ({"entries": [{"dat": "x"}]}, [], "entries[0].dat is not known, expected one of data, classes"),
        ({"entries": [{"classes": None}]}, [], "data is missing, expected a text; add it"),
        ({"entries": ["x"]}, [], "entries[0] is 'x', expected names with values"),
        ({}, ["--maybe", "1", "--maybe", "2"], "--maybe is given twice; give it once"),
        ({}, ["--inner", "{size: 1}", "--inner.size", "2"], "--inner.size is given twice"),
        ({}, ["--inner", "{size: 1, size: 2}"], "size is given twice"),
        ({}, ["--maybe"], "--maybe has no value, expected a whole number, or null; write --maybe VALUE"),
        ({}, ["--maybe", "--flag", "true"], "--maybe has no value"),
        ({}, ["--groups", "[[0,1]"], "--groups '[[0,1]' is not valid YAML: the [ in line 1 is not closed"),
        ({}, ["--groups", "[0]", "[1]"], "'[1]' stands where a name was expected"),
        ({}, ["--maybe", "1e3"], "--maybe is 1000.0, expected a whole number"),
        ({}, ["--inner.sze=2"], "--inner.sze is not known, expected one of size, share"),
        ({}, ["--name=\udcff"], "which is not UTF-8 text"),
    ],
)
def test_what_is_refused(values, words, sentence):
    with pytest.raises(InputError) as raised:
        read(values, words)
    assert sentence in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_number_in_quotes_is_one():
    assert read({"maybe": "50", "inner": {"share": "1e-3"}}) == Outer(maybe=50, inner=Inner(7, 0.001))


def test_types_in_words():
    hints = typed.hints_of(Outer)
    told = {name: typed.told(hint) for name, hint in hints.items()}
    assert told["groups"] == "a list of lists of whole numbers"
    assert told["image"] == "a list of 2 whole numbers"
    assert told["kind"] == "one of one, two"
    assert told["entry"] == "names with values, or null"
    assert told["entries"] == "a list of names with values"
