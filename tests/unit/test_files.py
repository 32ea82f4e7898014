"""Whole files, the reasons why one cannot be written, and checkpoints of the same bytes."""

import ast
import errno
import json
import os
import stat
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

import spikelore
from spikelore import files
from spikelore.errors import InputError, SpikeloreError
from spikelore.files import append_text, load_tensors, save_tensors, write_bytes_atomic, write_text_atomic

ARRAYS = {"b": np.arange(3, dtype=np.float32), "a": np.ones((2, 2), np.int64), "none": np.zeros(0)}
TEXTS = {f"text {n}": "größe" * n for n in range(9)}


def parts(content: bytes) -> tuple[dict, bytes]:
    end = 8 + int.from_bytes(content[:8], "little")
    return json.loads(content[8:end]), content[end:]


def test_the_same_arrays_and_texts_are_the_same_bytes_in_any_order(tmp_path):
    save_tensors(tmp_path / "one", ARRAYS, TEXTS)
    save_tensors(tmp_path / "other", dict(reversed(ARRAYS.items())), dict(reversed(TEXTS.items())))
    content = (tmp_path / "one").read_bytes()
    assert content == (tmp_path / "other").read_bytes()
    header, data = parts(content)
    assert [*header["__metadata__"]] == ["sha256", *sorted(TEXTS)]
    assert (len(content) - len(data)) % 8 == 0  # readers map the arrays into memory
    arrays, texts = load_tensors(tmp_path / "one")
    assert texts == TEXTS
    assert {name: array.tolist() for name, array in arrays.items()} == {n: a.tolist() for n, a in ARRAYS.items()}


def test_a_checkpoint_with_its_header_in_another_order_still_loads(tmp_path):
    save_tensors(tmp_path / "new", ARRAYS, TEXTS)
    texts = parts((tmp_path / "new").read_bytes())[0]["__metadata__"]
    (tmp_path / "old").write_bytes(save(ARRAYS, dict(reversed(texts.items()))))
    assert load_tensors(tmp_path / "old")[1] == TEXTS


def with_header(header: object) -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + bytes(4)


ONE = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}


@pytest.mark.parametrize(
    "content",
    [
        save({"a": np.ones(3)}),
        save({"a": np.ones(3)}, {"format": "pt"}),
        with_header({"__metadata__": None, "a": ONE}),
        with_header({"a": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}),
    ],
)
def test_a_file_of_another_program_is_not_called_damaged(tmp_path, content):
    (tmp_path / "theirs").write_bytes(content)
    with pytest.raises(InputError, match=r"was not written by Spikelore .* expected a file such as RUN/checkpoints"):
        load_tensors(tmp_path / "theirs")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x80\x02}q",
        b"a text instead of a network",
        with_header([1]),
        with_header({"__metadata__": {"sha256": 3}, "a": ONE}),
        with_header({"__metadata__": {"sha256": "3"}, "a": {**ONE, "dtype": "BF16", "shape": [2]}}),
        with_header({"__metadata__": {"sha256": "3"}, "a": {**ONE, "data_offsets": [0, 4000]}}),
        (100_000).to_bytes(8, "little") + b"[" * 100_000,
        save({"a": np.ones(3)})[:-1],
    ],
)
def test_what_is_no_safetensors_file_is_broken(tmp_path, content):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(InputError, match="is broken"):
        load_tensors(tmp_path / "file")


def test_a_pipe_or_a_folder_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path):
        with pytest.raises(InputError, match="is no regular file"):
            load_tensors(path)


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.ENOSPC, "free some space, or choose another --out"),
        (errno.EDQUOT, "free some space, or choose another --out"),
        (errno.EROFS, "choose a folder that you may write to with --out"),
        (errno.EACCES, "choose a folder that you may write to with --out"),
        (errno.EIO, "choose another --out"),
    ],
)
def test_the_advice_fits_the_reason(tmp_path, monkeypatch, number, advice):
    write_bytes_atomic(tmp_path / "file", b"old")

    def refuse(file):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(SpikeloreError) as caught:
        write_bytes_atomic(tmp_path / "file", b"new")
    kept = "the file before it, if any, is untouched"
    assert str(caught.value) == f"could not write {tmp_path / 'file'}: {os.strerror(number)}; {kept}; {advice}"
    assert os.listdir(tmp_path) == ["file"]
    assert (tmp_path / "file").read_bytes() == b"old"


def test_what_stands_in_the_way_is_told(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "folder" / "full").mkdir(parents=True)
    for path, says in (
        (tmp_path / "file" / "x", "a file stands where a folder is needed"),
        (tmp_path / "folder", "a folder stands where the file goes"),
        (tmp_path / ("x" * 300), "choose a shorter --out"),
    ):
        with pytest.raises(SpikeloreError, match=says):
            write_bytes_atomic(path, b"")
    with pytest.raises(SpikeloreError, match=r"could not write .*gone/file: No such file or directory; the folder has"):
        append_text(tmp_path / "gone" / "file", "line\n")
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


def test_a_file_system_that_cannot_flush_a_file_is_written_to(tmp_path, monkeypatch):
    def refuse(file):
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "fsync", refuse)
    write_bytes_atomic(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"new"


@pytest.mark.parametrize(("mask", "mode"), [(0o077, 0o600), (0o002, 0o664), (0o022, 0o644)])
def test_files_get_the_mode_that_the_user_asks_for(tmp_path, mask, mode):
    before = os.umask(mask)
    try:
        write_bytes_atomic(tmp_path / "file", b"")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == mode


def test_text_is_utf_8_and_bytes_that_are_no_text_are_escaped(tmp_path):
    write_text_atomic(tmp_path / "file", "größe \udcff\n")
    append_text(tmp_path / "file", "é\n")
    assert (tmp_path / "file").read_bytes() == "größe \\udcff\né\n".encode()


def _names_no_encoding(call: ast.Call) -> bool:
    if isinstance(call.func, ast.Name):
        name, mode = call.func.id, call.args[1:2]
    elif isinstance(call.func, ast.Attribute) and ast.unparse(call.func) != "Image.open":  # of pixels
        name, mode = call.func.attr, call.args[:1]
    else:
        return False
    if name not in ("open", "read_text", "write_text", "fdopen", "NamedTemporaryFile"):
        return False
    told = [each.value for each in mode if isinstance(each, ast.Constant) and isinstance(each.value, str)]
    binary = name in ("open", "fdopen") and any("b" in each for each in told)
    return not binary and all(word.arg != "encoding" for word in call.keywords)


def test_text_is_read_and_written_in_no_encoding_of_the_machine():
    (package,) = spikelore.__path__
    found = [
        f"{file}:{node.lineno}"
        for file in sorted(Path(package).rglob("*.py"))
        for node in ast.walk(ast.parse(file.read_bytes()))
        if isinstance(node, ast.Call) and _names_no_encoding(node)
    ]
    assert found == []
    assert _names_no_encoding(ast.parse("path.open('a')", mode="eval").body)  # pyright: ignore[reportArgumentType]
    assert files.append_text.__module__ == "spikelore.files"
