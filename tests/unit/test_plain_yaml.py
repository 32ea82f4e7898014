"""YAML by one rule: the core schema of 1.2, nothing dropped, every refusal in one sentence with its line."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikelore import plain_yaml
from spikelore.errors import InputError

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("off", "off"),
        ("y", "y"),
        ("true", True),
        ("False", False),
        ("010", 10),
        ("0o10", 8),
        ("0x1F", 31),
        ("+5", 5),
        ("1_000", "1_000"),
        ("12:30", "12:30"),
        ("1e-3", 0.001),
        ("1E5", 1e5),
        (".5", 0.5),
        ("5.", 5.0),
        ("2024-01-01", "2024-01-01"),
        ("~", None),
        ("Null", None),
        ("", None),
        ("'010'", "010"),
        ("!!str 010", "010"),
        ("=", "="),
        ("a: <<", {"a": "<<"}),
        ("\ufeffa: 1", {"a": 1}),
        ("a: 1\r\nb: größe\r\n", {"a": 1, "b": "größe"}),
        ("a: &x {p: 1, q: 2}\nb:\n  <<: *x\n  q: 3", {"a": {"p": 1, "q": 2}, "b": {"p": 1, "q": 3}}),
        (
            "a: &x {p: 1}\nb: &y {p: 2, q: 3}\nc: {<<: [*x, *y]}",
            {"a": {"p": 1}, "b": {"p": 2, "q": 3}, "c": {"p": 1, "q": 3}},
        ),
    ],
)
def test_what_a_text_means(text, value):
    found = plain_yaml.parse(text, "it")
    assert found == value
    assert type(found) is type(value)


MANY = "a0: &a0 [1]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a: 1\nb: 2\na: 3", "it: a is given twice, in lines 1 and 3; join them"),
        ("s:\n  learner: 1\n  'learner': 2", "it: learner is given twice, in lines 2 and 3; join them"),
        ("- {a: 1, a: 2}", "it: a is given twice, in line 1; join them"),
        ("1: a\n0x1: b", "it: 1 is given twice, in lines 1 and 2; join them"),
        ("a: &x {p: 1}\nb:\n  <<: *x\n  <<: *x", "it: << is given twice, in lines 3 and 4; join them"),
        ("a:\n\tb: 3", "it: line 2 has a tab, expected spaces; replace it"),
        ("a: 1\n---\nb: 2", "it: line 3 begins a second document, expected one; move it to a file of its own"),
        ("a: .nan", "it: line 1 has the number .nan, expected a finite one; quote it if it is a text"),
        ("a: 1e999", "it: line 1 has the number 1e999, expected a finite one; quote it if it is a text"),
        ("a: 3\nb: !foo 3", "it: line 2 has the tag !foo, expected a plain value; leave the tag out"),
        ("!!python/object:os.x {}", "it: line 1 has the tag !!python/object:os.x, expected a plain value"),
        ("a: !!int many", "it: line 1 tags 'many' as !!int, which it is not; leave the tag out"),
        ("a: &a [*a]", "it: line 1 holds itself by an alias, expected values that end"),
        (MANY, "repeats itself by aliases more than 100,000 times"),
        ("a: *x", "it is not valid YAML: line 1: found undefined alias 'x'; correct it"),
        ("a:\n  b: [1, 2\nc: 3", "it is not valid YAML: the [ in line 2 is not closed, or a comma is missing before"),
        ("a: [", "it is not valid YAML: it ends, in line 1, before all its brackets are closed; close them"),
        ("a: 1\nb: c: d", "it is not valid YAML: line 2: mapping values are not allowed here; correct it"),
        ("a: 1\nb: \x07", r"it: line 2 holds the control character U\+0007; remove it"),
        ("? [a]\n: 3", "it: line 1 has a list or names with values for a name, expected a text; quote it"),
        ("a: {<<: 3}", r"it: line 1 merges \(<<\) what is no names with values"),
        ("a: " + "9" * 5000, "it: line 1 has a number of 5000 digits, expected a shorter one"),
        ("[" * 5000, "it: line 1 is nested more than 50 levels deep, expected a few; flatten it"),
    ],
)  # fmt: skip
def test_what_is_refused_and_where(text, sentence):
    with pytest.raises(InputError, match=sentence.replace("[", r"\[")) as raised:
        plain_yaml.parse(text, "it")
    assert "\n" not in str(raised.value)


def test_a_file_is_utf8_whatever_the_locale(tmp_path):
    file = tmp_path / "it.yaml"
    file.write_bytes("\ufeffname: größe\n".encode())
    assert plain_yaml.read(file) == {"name": "größe"}
    file.write_bytes("a: 1\nname: größe\n".encode("latin-1"))
    with pytest.raises(InputError, match=r"it\.yaml is not UTF-8 text \(line 2\); save it again as UTF-8"):
        plain_yaml.read(file)
    file.write_bytes("a: 1\n".encode("utf-16"))
    with pytest.raises(InputError, match=r"is not UTF-8 text \(line 1\)"):
        plain_yaml.read(file)
    file.write_bytes(b"")
    assert plain_yaml.read(file) is None
    with pytest.raises(InputError, match=r"cannot read .* is no regular file, expected a file of YAML"):
        plain_yaml.read(tmp_path)


TEXTS = ["no", "010", "1e3", "größe", "null", "", "~", "1_000", "12:30", "<<", "=", ".inf", "a\nb\n", " x ", "- a",
         "#", "a: b", "\x85", "\u2028", "\r", "\ufeff", "\x07", "'", '"', "!x", "&a", "*a", "%", "@", "\t",
         "x " * 100]  # fmt: skip


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("short", [False, True])
def test_texts_are_written_so_that_they_read_back(text, short):
    for value in (text, {text: text}, [[text], text], {"a": {text: [text]}}):
        assert plain_yaml.parse(plain_yaml.dump(value, short=short), "it") == value


@settings(deadline=None, max_examples=200)
@given(PLAIN, st.booleans())
def test_what_is_written_reads_back(value, short):
    assert repr(plain_yaml.parse(plain_yaml.dump(value, short=short), "it")) == repr(value)


def test_a_list_is_cut_at_its_own_commas():
    def cut(text):
        return plain_yaml.split_list(text, "--grid")

    assert cut("tiny,other") == ["tiny", "other"]
    assert cut("[4,8],[8,16]") == ["[4,8]", "[8,16]"]
    assert cut("[],[[0, 1], [2]]") == ["[]", "[[0, 1], [2]]"]
    assert cut("{a: 1, b: 2},{a: 2}") == ["{a: 1, b: 2}", "{a: 2}"]
    assert cut("\"a,b\", 'c', it's") == ["a,b", "c", "it's"]
    assert cut("experience replay,der++,010,1e-3,~/x") == ["experience replay", "der++", "010", "1e-3", "~/x"]


@pytest.mark.parametrize("text", ["[4,8", "4,8]", "a,,b", "a,", "", "'a", "{a: 1}}", ",", "''"])
def test_a_list_that_does_not_close_or_has_holes_is_refused(text):
    with pytest.raises(InputError, match=r"--grid (is no list of values: brackets or quotes are not|has an empty)"):
        plain_yaml.split_list(text, "--grid")
