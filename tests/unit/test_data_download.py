import errno
import hashlib
import io
import os
import socket
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from test_data_registry import write_folder

from spikelore.data import check, fetch, load, read_idx, write_idx
from spikelore.data.download import SOURCES, STEMS, Source
from spikelore.errors import InputError, SpikeloreError

FIRST = f"{STEMS[0]}.gz"


class Server:
    """A web server on this machine that serves ``files`` and can misbehave for the first answers."""

    def __init__(self):
        self.files: dict[str, bytes] = {}
        self.misbehave: list[str] = []
        self.asked: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                name = self.path.removeprefix("/data/")
                outer.asked.append(name)
                behaviour = outer.misbehave.pop(0) if outer.misbehave else "well"
                if behaviour == "refuse" or name not in outer.files:
                    self.send_error(503 if behaviour == "refuse" else 404)
                    return
                content = outer.files[name]
                if behaviour == "wrong":
                    content = content[::-1]
                self.send_response(200)
                if behaviour != "cut without length":
                    self.send_header("Content-Length", str(len(content)))
                if "gzip" in self.headers.get("Accept-Encoding", ""):
                    self.send_header("Content-Encoding", "gzip")
                self.end_headers()
                self.wfile.write(content[: len(content) // 2] if behaviour.startswith("cut") else content)

            def log_message(self, format, *args):
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}/data/"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,))
        self._thread.start()

    def stop(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Serve a small dataset in the place of Fashion-MNIST, and keep the user's own folders out."""
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda project: tmp_path / "cache")
    monkeypatch.delenv("SPIKELORE_DATA", raising=False)
    served = Server()
    folder = write_folder(tmp_path / "published")
    served.files = {path.name: path.read_bytes() for path in folder.iterdir()}
    monkeypatch.setitem(SOURCES, "fashion-mnist", source_of(served.files))
    yield served
    served.stop()


def source_of(files: dict[str, bytes], **more) -> Source:
    md5 = {name: hashlib.md5(content).hexdigest() for name, content in sorted(files.items())}
    return Source(**{"base_url": "http://nowhere.invalid/", "images": (12, 6), "classes": 3, **more}, md5=md5)


def get(server: Server, data: Path, name: str = "fashion-mnist") -> Path:
    return fetch(name, data, server.url, backoff_s=0)


def fails(server: Server, data: Path, match: str) -> str:
    """Fetch, see that it fails with one sentence, and return the sentence."""
    with pytest.raises(SpikeloreError, match=match) as caught:
        get(server, data)
    assert "\n" not in str(caught.value)
    assert not isinstance(caught.value, InputError)
    return str(caught.value)


def test_a_fetched_dataset_is_what_was_published(server: Server, tmp_path: Path):
    folder = get(server, tmp_path / "data")
    assert folder == tmp_path / "data" / "fashion-mnist"
    assert sorted(server.asked) == sorted(server.files)
    assert {stem: (folder / f"{stem}.gz").read_bytes() for stem in STEMS} == {
        stem: server.files[f"{stem}.gz"] for stem in STEMS
    }
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["fashion-mnist"]
    assert len(load("fashion-mnist", tmp_path / "data").train) == 12
    (result,) = check(tmp_path / "data")
    assert result.ok
    assert result.message.endswith("the content is the published one")


def test_the_data_folder_is_the_environment_then_the_cache(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    assert fetch("fashion-mnist", base_url=server.url) == tmp_path / "cache" / "fashion-mnist"
    monkeypatch.setenv("SPIKELORE_DATA", str(tmp_path / "named"))
    assert fetch("fashion-mnist", base_url=server.url.rstrip("/")) == tmp_path / "named" / "fashion-mnist"


def test_load_downloads_only_when_told(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(SOURCES, "fashion-mnist", source_of(server.files, base_url=server.url))
    with pytest.raises(InputError, match="spikelore data fetch fashion-mnist"):
        load("fashion-mnist", tmp_path / "data")
    assert server.asked == []
    assert len(load("fashion-mnist", tmp_path / "data", download=True).test) == 6
    assert len(server.asked) == 4


@pytest.mark.parametrize("compressed", [True, False])
def test_what_is_there_is_not_downloaded_again(server: Server, tmp_path: Path, compressed: bool):
    folder = get(server, tmp_path / "data")
    if not compressed:
        for stem in STEMS:
            write_idx(folder / stem, read_idx(folder / f"{stem}.gz"))
            (folder / f"{stem}.gz").unlink()
    server.asked.clear()
    assert get(server, tmp_path / "data") == folder
    assert server.asked == []


def test_the_published_files_put_there_by_hand_are_not_downloaded(server: Server, tmp_path: Path):
    folder = tmp_path / "data" / "fashion-mnist"
    folder.mkdir(parents=True)
    for name, content in server.files.items():
        (folder / name).write_bytes(content)
    get(server, tmp_path / "data")
    assert server.asked == []


@pytest.mark.parametrize("damage", ["other content", "broken gzip", "missing", "plain"])
def test_a_wrong_file_is_replaced(server: Server, tmp_path: Path, damage: str):
    folder = get(server, tmp_path / "data")
    path = folder / FIRST
    if damage == "other content":
        write_idx(path, np.zeros((12, 5, 7), np.uint8))
    elif damage == "broken gzip":
        path.write_bytes(path.read_bytes()[:-5])
    else:
        path.unlink()
    if damage == "plain":
        write_idx(folder / STEMS[0], np.zeros((12, 5, 7), np.uint8))
    server.asked.clear()
    get(server, tmp_path / "data")
    assert FIRST in server.asked
    assert path.read_bytes() == server.files[FIRST]
    assert not (folder / STEMS[0]).exists()


@pytest.mark.parametrize("behaviour", ["cut", "cut without length", "wrong", "refuse"])
def test_a_failed_try_is_followed_by_one_that_succeeds(server: Server, tmp_path: Path, behaviour: str):
    server.misbehave = [behaviour, behaviour]
    folder = get(server, tmp_path / "data")
    assert len(server.asked) == 6
    assert server.asked[0] == server.asked[1] == server.asked[2]
    assert (folder / FIRST).read_bytes() == server.files[FIRST]


@pytest.mark.parametrize(
    ("behaviour", "found"),
    [
        ("cut", "IncompleteRead"),
        ("cut without length", "found MD5 [0-9a-f]{32}, expected [0-9a-f]{32}"),
        ("wrong", "found MD5 [0-9a-f]{32}, expected [0-9a-f]{32}"),
        ("refuse", "503"),
    ],
)
@pytest.mark.parametrize("last", [False, True])
def test_a_download_that_keeps_failing_leaves_nothing(
    server: Server, tmp_path: Path, behaviour: str, found: str, last: bool
):
    server.misbehave = ["well"] * 3 * last + [behaviour] * 3
    sentence = fails(server, tmp_path / "data", found)
    assert f"could not fetch {server.url}{server.asked[-1]} in 3 tries" in sentence
    assert len(server.asked) == 3 + 3 * last
    assert list((tmp_path / "data").iterdir()) == []


def test_a_download_that_fails_leaves_what_was_there(server: Server, tmp_path: Path):
    folder = write_folder(tmp_path / "data" / "fashion-mnist", value=5)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    server.misbehave = ["wrong"] * 3
    fails(server, tmp_path / "data", "MD5")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_the_tries_wait_longer_each_time(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)
    server.misbehave = ["wrong"] * 4
    with pytest.raises(SpikeloreError, match="in 4 tries"):
        fetch("fashion-mnist", tmp_path / "data", server.url, tries=4, backoff_s=0.5)
    assert waited == [0.5, 1.0, 2.0]


def test_no_network_gets_its_sentence_soon(server: Server, tmp_path: Path):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/"
    start = time.monotonic()
    with pytest.raises(SpikeloreError, match=r"refused.*check the network") as caught:
        fetch("fashion-mnist", tmp_path / "data", url, backoff_s=0)
    assert time.monotonic() - start < 5
    assert url in str(caught.value)


def test_a_place_where_no_folder_can_be_made_gets_its_sentence(server: Server, tmp_path: Path):
    (tmp_path / "file").write_text("not a folder")
    fails(server, tmp_path / "file" / "data", "could not write .* Not a directory; .*--data-dir")
    assert server.asked == []


@pytest.mark.parametrize("code", [errno.EROFS, errno.ENOSPC])
def test_a_read_only_or_full_disk_gets_its_sentence(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
):
    def refuse(source, target):
        raise OSError(code, os.strerror(code), str(target))

    monkeypatch.setattr(os, "replace", refuse)
    fails(server, tmp_path / "data", f"could not write .*{os.strerror(code)}")
    assert list((tmp_path / "data").glob("*/*")) == []


@pytest.mark.parametrize("name", ["digits-sample", "mine"])
def test_what_cannot_be_fetched_says_what_can(server: Server, tmp_path: Path, name: str):
    with pytest.raises(InputError, match=f"{name!r} cannot be fetched, expected one of mnist, .*emnist-capitals"):
        get(server, tmp_path, name)


@pytest.mark.parametrize("name", ["emnist-balanced", "emnist-capitals"])
def test_emnist_comes_out_of_its_archive(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str):
    members = SOURCES["emnist-balanced"].members
    folder = write_folder(tmp_path / "nist", classes=tuple(range(47)), each=(1, 1), value=9)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("gzip/emnist-letters-mapping.txt", "not wanted")
        for stem, member in members.items():
            archive.write(folder / f"{stem}.gz", member)
    server.files = {"gzip.zip": packed.getvalue()}
    small = source_of(server.files, images=(47, 47), classes=47, members=members)
    monkeypatch.setitem(SOURCES, "emnist-balanced", small)
    fetched = get(server, tmp_path / "data", name)
    assert fetched == tmp_path / "data" / "emnist-balanced"
    assert sorted(path.name for path in fetched.iterdir()) == sorted(
        ["content.sha256", *(f"{stem}.gz" for stem in STEMS)]
    )
    assert (load("emnist-balanced", tmp_path / "data").train.inputs[:, -1, 0] == 9).all()
    assert len(load("emnist-capitals", tmp_path / "data").train) == 10
    (result,) = check(tmp_path / "data")
    assert result.ok, result.message
    assert result.message.endswith("the content is as recorded at the fetch")
    get(server, tmp_path / "data", name)
    assert server.asked == ["gzip.zip"]


@pytest.mark.parametrize("terminal", [True, False])
def test_a_bar_is_shown_on_a_terminal_only(
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
    terminal: bool,
):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    get(server, tmp_path / "data")
    out, err = capsys.readouterr()
    assert out == ""
    assert (FIRST in err) == terminal
