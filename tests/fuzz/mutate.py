"""Changes of bytes, texts, plain values and arrays, all drawn from one seeded generator."""

import json
import random
import struct
from typing import Any

import numpy as np

ODD_NUMBERS = (
    0, -1, 1, -0.0, 2, 3.5, 10**9, -(10**9), 2**31, 2**53, 2**63, -(2**63), 10**18, 10**19, 1e300, -1e300, 1e-300,
    5e-324, 9000, 65536,
)  # fmt: skip
ODD_TEXTS = (
    "", " ", "\x1b[31mred\x1b[0m", "a\nb", "\r", "\0", "../../x", "/etc/passwd", "<script>alert(1)</script>",
    "$\\frac{$", "nan", "null", "true", "1e999", "0x" + "f" * 5000, "9" * 4301, "{}", "[]", "%s", "{0}", "é\u202e",
    "\ud800", "x" * 5000,
)  # fmt: skip
ODD_YAML = (
    "!!int x", "2001-99-99", "9" * 4301, "!!timestamp x", "*a", "&a [*a, *a]", "<<: {a: 1}", "? [1]", "[" * 1500,
    "{a: " * 300,
    "!!python/object/apply:os.system ['true']", "- " * 300, "---", "...", "%YAML 9.9", "\t", "| ", "> ", "'", '"\\x1b"',
    "1e999",    ".nan", ".inf", "0o9", "&a a: &b {<<: *a}", "#", "\x07", "\ufeff", "~", "!<x> y", "0x" + "f" * 4500,
)  # fmt: skip
ODD_BYTES = (
    b"\0",
    b"\xff",
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    b"\x80\0\0\0",
    b"\n",
    b"{",
    b"[",
    b'"',
    b"\x1f\x8b",
)


def of_bytes(content: bytes, draw: random.Random) -> bytes:
    """Return bytes changed in one to four places: flipped, cut, doubled, moved, or odd ones put in."""
    changed = bytearray(content)
    for _ in range(draw.randint(1, 4)):
        at = draw.randrange(len(changed) + 1)
        # headers are where it hurts
        at = draw.randrange(min(len(changed), 400) + 1) if draw.random() < 0.6 else at
        kind = draw.randrange(7)
        if kind == 0 and changed:
            changed[min(at, len(changed) - 1)] ^= 1 << draw.randrange(8)
        elif kind == 1 and changed:
            changed[min(at, len(changed) - 1)] = draw.randrange(256)
        elif kind == 2:
            del changed[at : at + draw.choice((1, 2, 4, 50, len(changed)))]
        elif kind == 3:
            changed[at:at] = changed[at : at + draw.choice((1, 4, 64))] * draw.choice((1, 2, 50))
        elif kind == 4:
            changed[at:at] = draw.choice(ODD_BYTES)
        elif kind == 5 and len(changed) >= at + 8:
            struct.pack_into(draw.choice((">I", "<Q")), changed, at, draw.choice((0, 1, 2**31, 2**32 - 1)))
        else:
            changed += bytes(draw.randrange(256) for _ in range(draw.choice((1, 16, 300))))
    return bytes(changed)


def of_text(text: str, draw: random.Random, odd: tuple[str, ...] = ODD_YAML) -> str:
    """Return a text whose lines and words are changed in one to four places."""
    lines = text.split("\n")
    for _ in range(draw.randint(1, 4)):
        at = draw.randrange(len(lines))
        kind = draw.randrange(6)
        if kind == 0:
            lines[at] = draw.choice(odd)
        elif kind == 1:
            name, _, _ = lines[at].partition(":")
            lines[at] = f"{name}: {draw.choice(odd)}"
        elif kind == 2:
            lines.insert(at, lines[draw.randrange(len(lines))])
        elif kind == 3:
            place = draw.randrange(len(lines[at]) + 1)
            lines[at] = lines[at][:place] + draw.choice(odd) + lines[at][place:]
        elif kind == 4:
            lines[at] = " " * draw.randrange(9) + lines[at].strip()
        elif len(lines) > 1:
            del lines[at]
    return "\n".join(lines)


def odd_value(draw: random.Random) -> Any:
    """Return a plain value of any type."""
    kind = draw.randrange(9)
    if kind < 3:
        return draw.choice(ODD_NUMBERS)
    if kind == 3:
        return draw.choice(ODD_TEXTS)
    return draw.choice((None, True, False, [], {}, [1, 2], {"a": 1}, [[]], [None], [{}], "word", [0] * 300))


def of_value(value: Any, draw: random.Random) -> Any:
    """Return plain values of which one, anywhere within, is another, gone, doubled or renamed."""
    if isinstance(value, dict) and value and draw.random() < 0.93:
        name = draw.choice([*value])
        found = dict(value)
        kind = draw.randrange(12)
        if kind == 0:
            del found[name]
        elif kind == 1:
            found[draw.choice(ODD_TEXTS)] = found.pop(name)
        else:
            found[name] = of_value(value[name], draw)
        return found
    if isinstance(value, list) and value and draw.random() < 0.85:
        at = draw.randrange(len(value))
        kind = draw.randrange(10)
        if kind == 0:
            return value[:at] + value[at + 1 :]
        if kind == 1:
            return value + value[at : at + 1] * draw.choice((1, 2, 40))
        return [*value[:at], of_value(value[at], draw), *value[at + 1 :]]
    if isinstance(value, str) and value.startswith('{"') and draw.random() < 0.9:  # JSON within
        return json.dumps(of_value(json.loads(value), draw))
    return odd_value(draw)


def of_array(array: np.ndarray, draw: random.Random) -> np.ndarray:
    """Return an array of another shape, type or content."""
    kind = draw.randrange(7)
    if kind == 0:
        return array.astype(draw.choice(("f4", "f8", "i8", "i4", "u1", "?", "f2")))
    if kind == 1:
        return np.resize(
            array, draw.choice(((), (0,), (1,), (3, 3), (*array.shape, 1), (len(array) + 1,) if array.ndim else (2,)))
        )
    if kind == 2:
        return array[..., :-1] if array.ndim else array
    if kind == 3 and array.size:
        return np.full_like(array, draw.choice((0, 1, 7)))
    found = array.copy()
    if found.size and found.dtype.kind in "fiu":
        number = draw.choice(
            (np.nan, np.inf, -np.inf, 1e30, -1e30) if found.dtype.kind == "f" else (-1, 10**12, 2**62, -(2**62), 255)
        )
        found.reshape(-1)[draw.randrange(found.size)] = np.array(number).astype(found.dtype)
    return found


def as_json(value: Any, draw: random.Random) -> bytes:
    """Return values as JSON, now and then with what is none: NaN, deep nesting, bytes that are no text."""
    text = json.dumps(value)
    kind = draw.randrange(30)
    if kind == 0:
        text = text.replace("1", draw.choice(("NaN", "Infinity", "1e999", "1" * 400, "1" * 5000)), 1)
    elif kind == 1:
        text = "[" * 100_000 + text
    elif kind == 2:
        text = text[: draw.randrange(len(text) + 1)]
    return text.encode(errors="surrogatepass")
