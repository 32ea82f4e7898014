import gzip
import re
import struct
from pathlib import Path

import numpy as np
import pytest

from spikelore.data.idx import content_sha256, read_idx, read_idx_header, write_idx
from spikelore.errors import InputError

DTYPES = ["uint8", "int8", "int16", "int32", "float32", "float64"]


def idx_bytes(code: int, shape: tuple[int, ...], data: bytes) -> bytes:
    return struct.pack(f">BBBB{len(shape)}I", 0, 0, code, len(shape), *shape) + data


@pytest.mark.parametrize("name", ["values-idx3", "values-idx3.gz"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_what_is_written_is_read_back(tmp_path: Path, dtype: str, name: str):
    array = np.arange(-5, 19).reshape(2, 3, 4).astype(dtype)
    write_idx(tmp_path / name, array)
    back = read_idx(tmp_path / name)
    assert back.dtype == array.dtype
    np.testing.assert_array_equal(back, array)
    back[0, 0, 0] = 1  # writable
    header = read_idx_header(tmp_path / name)
    assert (header.shape, header.dtype.itemsize) == ((2, 3, 4), array.dtype.itemsize)


def test_the_bytes_are_those_of_the_format(tmp_path: Path):
    write_idx(tmp_path / "a", np.array([[1, 258]], np.int16))
    assert (tmp_path / "a").read_bytes() == bytes.fromhex("00000b02 00000001 00000002 0001 0102")


def test_the_same_array_gives_the_same_gzip_bytes(tmp_path: Path):
    for name in ("a.gz", "b.gz"):
        write_idx(tmp_path / name, np.zeros((3, 2), np.uint8))
    assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()
    assert (tmp_path / "a.gz").read_bytes()[4:8] == bytes(4), "the gzip header has a time in it"


def test_what_follows_a_whole_number_of_chunks_is_seen(tmp_path: Path):
    path = tmp_path / "long-idx"
    content = idx_bytes(0x08, (1 << 20,), bytes(1 << 20))
    path.write_bytes(content)
    assert len(read_idx(path)) == 1 << 20
    path.write_bytes(content + b"a")
    with pytest.raises(InputError, match="too long"):
        read_idx(path)
    path.write_bytes(gzip.compress(content)[:-8] + bytes(8))
    with pytest.raises(InputError, match="broken gzip file"):
        read_idx(path)


def test_the_content_digest_does_not_depend_on_compression(tmp_path: Path):
    for name, value in (("plain", 0), ("packed.gz", 0), ("other.gz", 1)):
        write_idx(tmp_path / name, np.full(9, value, np.uint8))
    plain, packed, other = (content_sha256(tmp_path / name) for name in ("plain", "packed.gz", "other.gz"))
    assert plain == packed != other


def test_content_decides_whether_a_file_is_gzip(tmp_path: Path):
    write_idx(tmp_path / "a", np.array([7], np.uint8))
    (tmp_path / "a").rename(tmp_path / "plain.gz")
    assert read_idx(tmp_path / "plain.gz").tolist() == [7]


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "its header has 0 bytes, expected at least 4"),
        (b"\0\0\x08", "its header has 3 bytes, expected at least 4"),
        (b"\0\0\x08\x03\0\0\0\x02\0", "its header has 9 bytes, expected 16 for 3 axes"),
        (b"<!DOCTYPE html>", "it starts with the bytes 3c 21 44 4f, expected 00 00"),
        (idx_bytes(0x0A, (1,), b"a"), "unknown IDX type 0x0a, expected one of 0x08"),
        (idx_bytes(0x08, (), b""), "header of 0 axes, expected 1 to 64"),
        (idx_bytes(0x08, (1,) * 65, b"a"), "header of 65 axes, expected 1 to 64"),
        (idx_bytes(0x08, (0, 2**32 - 1, 2**32 - 1), b""), "expected one that fits a memory"),
        (idx_bytes(0x08, (2, 3), b"12345"), r"5 bytes follow its header, expected 6 for the shape \(2, 3\)"),
        (idx_bytes(0x08, (2**31, 900), b"12"), "2 bytes follow its header, expected 1932735283200"),
        (idx_bytes(0x0B, (2,), b"123"), "3 bytes follow its header, expected 4"),
        (idx_bytes(0x08, (2, 3), b"1234567"), "more than 6 bytes follow its header, expected 6"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_a_broken_file_gets_its_sentence(tmp_path: Path, content: bytes, found: str, packed: bool):
    path = tmp_path / "broken-idx"
    path.write_bytes(gzip.compress(content) if packed else content)
    with pytest.raises(InputError, match=found) as caught:
        read_idx(path)
    one_sentence(caught.value, path)


def damaged_gzip(kind: str) -> bytes:
    rng = np.random.default_rng(0)
    good = gzip.compress(idx_bytes(0x08, (5000,), rng.bytes(5000)))
    return {
        "cut": good[:2000],
        "cut in the checksum": good[:-3],
        "flipped bit": good[:2500] + bytes([good[2500] ^ 1]) + good[2501:],
        "header only": good[:2],
        "garbage after": good + b"garbage",
    }[kind]


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        ("cut", "gzip file cut short"),
        ("cut in the checksum", "gzip file cut short"),
        ("flipped bit", "broken gzip file"),
        ("header only", "gzip file cut short"),
        ("garbage after", "broken gzip file"),
    ],
)
def test_a_broken_gzip_file_gets_its_sentence(tmp_path: Path, kind: str, found: str):
    path = tmp_path / "broken-idx.gz"
    path.write_bytes(damaged_gzip(kind))
    with pytest.raises(InputError, match=found) as caught:
        read_idx(path)
    one_sentence(caught.value, path)
    with pytest.raises(InputError, match=found):
        content_sha256(path)


@pytest.mark.parametrize("kind", ["missing", "folder"])
def test_what_is_no_file_gets_its_sentence(tmp_path: Path, kind: str):
    path = tmp_path / kind
    if kind == "folder":
        path.mkdir()
    with pytest.raises(InputError, match="cannot read") as caught:
        read_idx(path)
    one_sentence(caught.value, path)


@pytest.mark.parametrize("array", [np.zeros(3, np.int64), np.zeros(3, bool), np.array(3, np.uint8)])
def test_what_idx_cannot_hold_is_not_written(tmp_path: Path, array: np.ndarray):
    with pytest.raises(InputError, match=str(array.dtype)):
        write_idx(tmp_path / "a", array)
    assert list(tmp_path.iterdir()) == []


def one_sentence(error: Exception, path: Path) -> None:
    text = str(error)
    assert str(path) in text
    assert "\n" not in text
    assert re.search(r"expected .*; ", text), "says neither what was expected nor what to do"
