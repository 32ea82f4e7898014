"""Fetching the known datasets: whole or not at all, with the checksums of their publishers."""

import hashlib
import os
import re
import tempfile
import time
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import platformdirs
from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn

from spikelore.data.event_sources import BY_HAND, EVENT_SOURCES, EventSource
from spikelore.data.idx import content_sha256
from spikelore.errors import InputError, SpikeloreError
from spikelore.files import open_regular, refuse_link, user_path
from spikelore.progress import shown

STEMS = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
"""The four files of a dataset, without ``.gz``: images and labels of the train set, then of the test set."""

DERIVED_FROM = {"emnist-capitals": "emnist-balanced"}
"""Datasets that are a part of another one, which is the one on disk."""

_RECORD = "content.sha256"
_CONNECT_SECONDS, _READ_SECONDS = 5, 15
_CHUNK_BYTES = 1 << 16
_LONGEST_SECONDS = 2 * 3600
_COLUMNS = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())


@dataclass(frozen=True)
class Source:
    """Where a dataset is published and what must arrive.

    Args:
        base_url: the folder of the remote files, with a slash at its end.
        md5: remote file to its MD5, as its publisher or torchvision's ``datasets/mnist.py`` gives it.
        images: how many train and test images there are.
        classes: how many classes; their labels are 0 to ``classes - 1``.
        largest: more bytes than any of the remote files has.
        members: stem to member for a source that is one ZIP archive; empty where the remote files are the
            four gzip files themselves.
        sha256: stem to the SHA-256 of the decompressed file; empty where none is published, and then the
            ones seen at the fetch are recorded beside the files.
    """

    base_url: str
    md5: Mapping[str, str]
    images: tuple[int, int]
    classes: int
    largest: int = 1 << 26
    members: Mapping[str, str] = field(default_factory=dict)
    sha256: Mapping[str, str] = field(default_factory=dict)

    @property
    def remote(self) -> dict[str, tuple[str, str]]:
        """Remote file to its address and its MD5."""
        return {file: (self.base_url + file, md5) for file, md5 in self.md5.items()}


SOURCES = {
    "mnist": Source(
        base_url="https://ossci-datasets.s3.amazonaws.com/mnist/",
        md5={
            "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
            "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
            "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
        },
        images=(60000, 10000),
        classes=10,
        sha256={
            "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        },
    ),
    "fashion-mnist": Source(
        base_url="http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        md5={
            "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
            "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
            "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
        },
        images=(60000, 10000),
        classes=10,
    ),
    "emnist-balanced": Source(
        base_url="https://biometrics.nist.gov/cs_links/EMNIST/",
        md5={"gzip.zip": "58c8d27c78d21e728a6bc7b3cc06412e"},
        images=(112800, 18800),
        classes=47,
        largest=1 << 30,
        members={
            "train-images-idx3-ubyte": "gzip/emnist-balanced-train-images-idx3-ubyte.gz",
            "train-labels-idx1-ubyte": "gzip/emnist-balanced-train-labels-idx1-ubyte.gz",
            "t10k-images-idx3-ubyte": "gzip/emnist-balanced-test-images-idx3-ubyte.gz",
            "t10k-labels-idx1-ubyte": "gzip/emnist-balanced-test-labels-idx1-ubyte.gz",
        },
    ),
}
"""The datasets of images that can be fetched; those of recordings are `EVENT_SOURCES`."""


def cache_folder() -> Path:
    """Return the user's cache folder for datasets, which may not exist yet."""
    return Path(platformdirs.user_cache_dir("spikelore")).expanduser()


def data_folder(data_dir: Path | str | None) -> Path:
    """Return ``data_dir``, else the folder in ``SPIKELORE_DATA``, else the user's cache folder."""
    if data_dir is not None:
        return user_path(data_dir)
    named = os.environ.get("SPIKELORE_DATA")
    return user_path(named) if named else cache_folder()


def find_file(folder: Path, stem: str) -> Path | None:
    """Return the file ``stem.gz`` in ``folder``, else ``stem``, else None."""
    candidates = (folder / f"{stem}.gz", folder / stem)
    return next((path for path in candidates if os.path.isfile(path)), None)


_USUAL_NAME = re.compile(
    r"(?P<of>.*[-_.])?(?P<part>train|t10k|test|valid|validation|val)[-_.](?P<kind>images|labels)"
    r"([-_.]?idx[13]?)?([-_.]?ubyte)?(\.idx)?(\.gz)?",
    re.IGNORECASE,
)
_PARTS = {"train": ("train",), "t10k": ("t10k", "test", "val", "valid", "validation")}
"""Part of a stem to what files of that part are called, the first first."""


def find_files(folder: Path) -> dict[str, Path | None]:
    """Return each of `STEMS` to its file in ``folder``, None where there is none.

    Besides the stems, plain or ``.gz``, names that other tools leave are known, in upper or lower case:
    ``train-images.idx3-ubyte``, ``emnist-letters-train-images-idx3-ubyte.gz``, ``test`` or ``val`` for ``t10k``.

    Raises:
        InputError: the folder holds such files of several datasets.
    """
    exact = {stem: find_file(folder, stem) for stem in STEMS}
    if all(exact.values()):
        return exact
    try:
        matches = [(match, one) for one in sorted(folder.iterdir()) if (match := _USUAL_NAME.fullmatch(one.name))]
    except OSError:
        return exact
    usual = [(match, one) for match, one in matches if one.is_file()]
    owners = sorted({(match["of"] or "").lower().strip("-_.") for match, _ in usual})
    if len(owners) > 1 and not any(exact.values()):
        raise InputError(
            f"{folder} holds IDX files of several datasets ({', '.join(one or 'unnamed' for one in owners)}), expected "
            "those of one; put the four of one dataset into a folder of its own"
        )
    for stem in STEMS:
        part, kind, *_ = stem.split("-")
        named = {match["part"].lower(): one for match, one in usual if match["kind"].lower() == kind}
        exact[stem] = exact[stem] or next((named[each] for each in _PARTS[part] if each in named), None)
    return exact


def expected_sha256(name: str, folder: Path) -> Mapping[str, str]:
    """Return stem to SHA-256 of the decompressed files: the published ones, else those seen at the fetch.

    The latter lie beside the files: who can change these can change them, too. Empty where neither is known: nothing
    to compare the files in ``folder`` with.
    """
    if name not in SOURCES or SOURCES[name].sha256:
        return SOURCES[name].sha256 if name in SOURCES else {}
    return _recorded(folder)


def _recorded(folder: Path) -> dict[str, str]:
    """Return file to SHA-256 as they were seen at the fetch; empty where that is not known."""
    try:
        with open_regular(folder / _RECORD, "a record of checksums") as file:
            lines = file.read(_CHUNK_BYTES).decode(errors="replace").splitlines()
    except (OSError, InputError):
        return {}
    return {stem: digest for digest, _, stem in (line.partition("  ") for line in lines)}


def is_published(name: str, paths: Sequence[Path]) -> bool:
    """Return whether the four files of a source have content that a checksum in this program tells."""
    source = SOURCES[name]
    return all(
        content_sha256(path) == source.sha256.get(stem) or _md5(path) == source.md5.get(f"{stem}.gz", "unknown")
        for stem, path in zip(STEMS, paths, strict=True)
    )


def fetch(
    name: str,
    data_dir: Path | str | None = None,
    base_url: str | None = None,
    *,
    tries: int = 3,
    backoff_s: float = 1.0,
) -> Path:
    """Download the dataset ``name`` and return its folder, ``data_dir/name``.

    Nothing is downloaded when the files are there with the right content, under whatever compression.
    Otherwise all remote files are downloaded beside the target and checked; only then are they moved there,
    in place of what was there. A cut connection and a wrong checksum are tried again.

    Args:
        name: a name in `SOURCES`, `EVENT_SOURCES` or `DERIVED_FROM`; the latter fetches the dataset it is a part of.
        data_dir: where datasets lie; see `data_folder`.
        base_url: another place with the same files.
        tries: how often a file is asked for before giving up.
        backoff_s: seconds to wait before the second try, doubled for each one after it.

    Raises:
        InputError: no dataset of this name can be downloaded.
        SpikeloreError: no network, the wrong content in every try, a folder that cannot be written, a full
            disk; the dataset's folder is as it was.
    """
    stored, root = DERIVED_FROM.get(name, name), data_folder(data_dir)
    folder = root / stored
    if stored in BY_HAND:
        raise InputError(f"dataset {name!r} cannot be fetched: {BY_HAND[stored]} and put its files into {folder}")
    if stored not in SOURCES and stored not in EVENT_SOURCES:
        raise InputError(
            f"dataset {name!r} cannot be fetched, expected one of "
            f"{', '.join([*SOURCES, *DERIVED_FROM, *EVENT_SOURCES])}; "
            "a dataset of one's own needs no fetch, put its folder into the data folder"
        )
    if stored in EVENT_SOURCES:
        if as_recorded(folder, EVENT_SOURCES[stored].kept):
            return folder
        source = EVENT_SOURCES[stored]
        remote, install = source.files, partial(_install_recordings, source)
    else:
        if all(_is_right(stored, folder, stem) for stem in STEMS):
            return folder
        source = SOURCES[stored]
        remote, install = source.remote, partial(_install_images, source)
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root, prefix=".fetch-") as temporary:
            fresh = Path(temporary)
            for file, (address, md5) in remote.items():
                url = f"{base_url.rstrip('/')}/{file}" if base_url else address
                _download(url, md5, fresh / file, source.largest, tries, backoff_s)
            install(fresh, folder)
    except OSError as error:
        raise SpikeloreError(
            f"could not write dataset {stored!r} to {root}: {error.strerror}; free some space, or choose a "
            "folder that you may write to with --data-dir or SPIKELORE_DATA"
        ) from error
    return folder


def _is_right(name: str, folder: Path, stem: str) -> bool:
    path = find_file(folder, stem)
    if path is None:
        return False
    try:
        if content_sha256(path) == expected_sha256(name, folder).get(stem):
            return True
    except InputError:
        return False
    md5 = SOURCES[name].md5.get(f"{stem}.gz")
    return md5 is not None and _md5(path) == md5


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


class _TooMuchError(Exception):
    """A download goes on and on."""


def _download(url: str, md5: str, target: Path, largest: int, tries: int, backoff_s: float) -> None:
    """Download ``url`` to ``target`` and check its MD5, ``tries`` times at most."""
    from requests import RequestException  # slow to load, and most runs fetch nothing
    from urllib3.exceptions import HTTPError

    problem, tried = "", 0
    while tried < tries:
        if tried:
            time.sleep(backoff_s * 2 ** (tried - 1))
        tried += 1
        try:
            _receive(url, target, largest)
        except _TooMuchError as error:
            problem = f"{error}; name another place, or put the files there by hand"
            break
        except (RequestException, HTTPError) as error:
            # Beneath requests' error lies urllib3's, and its reason is the plain one.
            cause = getattr(next(iter(error.args), None), "reason", error)
            problem = f"the download failed ({cause}), expected a file; check the network and try again"
            continue
        found = _md5(target)
        if found == md5:
            return
        problem = f"found MD5 {found}, expected {md5}; try again later or put the files there by hand"
    raise SpikeloreError(f"could not fetch {url} in {tried} tries: {problem}")


def _receive(url: str, target: Path, largest: int) -> None:
    """Write what ``url`` sends to ``target``, up to ``largest`` bytes and for a limited time."""
    import requests

    began, received = time.monotonic(), 0
    # Accept-Encoding: no server may unpack the gzip files on the way.
    with (
        requests.get(
            url, stream=True, timeout=(_CONNECT_SECONDS, _READ_SECONDS), headers={"Accept-Encoding": "identity"}
        ) as response,
        shown(None, description=target.name, columns=_COLUMNS) as meter,
        target.open("wb") as file,
    ):
        response.raise_for_status()
        told = response.headers.get("content-length", "")
        meter.total = int(told) if told.isdecimal() and len(told) < 19 else None
        while chunk := response.raw.read1(_CHUNK_BYTES):  # what has come, so that a trickle is noticed in time
            received += len(chunk)
            if received > largest:
                raise _TooMuchError(f"more than {largest:,} bytes came, expected fewer")
            if time.monotonic() - began > _LONGEST_SECONDS:
                raise _TooMuchError(f"it took more than {_LONGEST_SECONDS / 3600:g} hours, expected less")
            file.write(chunk)
            meter.advance(target.name, len(chunk))


def _extract(archive: Path, members: Mapping[str, str], folder: Path) -> None:
    with zipfile.ZipFile(archive) as file:
        for stem, member in members.items():
            (folder / f"{stem}.gz").write_bytes(file.read(member))


def as_recorded(folder: Path, names: Sequence[str]) -> bool:
    """Whether files of recordings are those that were seen at the fetch."""
    recorded = _recorded(folder)
    try:
        return all(name in recorded and _sha256(folder / name) == recorded[name] for name in names)
    except OSError:
        return False


def _sha256(path: Path) -> str:
    with open_regular(path, "a file of recordings") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _install_recordings(source: EventSource, fresh: Path, folder: Path) -> None:
    """Unpack what is to be unpacked, and move the files to ``folder``, in place of those there; the record first."""
    for archive, member in source.unpacked.items():
        try:
            with zipfile.ZipFile(fresh / archive) as file:
                file.extract(member, fresh)
        except (zipfile.BadZipFile, KeyError) as error:
            raise SpikeloreError(f"{archive} has no {member} ({error}); put the files there by hand") from error
        (fresh / archive).unlink()
    refuse_link(folder)
    folder.mkdir(exist_ok=True)
    digests = {name: _sha256(fresh / name) for name in source.kept}
    _write_record(fresh, folder, digests)
    for name in source.kept:
        os.replace(fresh / name, folder / name)


def _write_record(fresh: Path, folder: Path, digests: Mapping[str, str]) -> None:
    (fresh / _RECORD).write_text("".join(f"{digest}  {name}\n" for name, digest in digests.items()), encoding="utf-8")
    os.replace(fresh / _RECORD, folder / _RECORD)


def _install_images(source: Source, fresh: Path, folder: Path) -> None:
    """Move the four checked files to ``folder``, in place of those there, and record their content.

    The record goes first: a crash in between leaves files that do not match it, and the next fetch sees it.
    """
    if source.members:
        _extract(fresh / next(iter(source.md5)), source.members, fresh)
    refuse_link(folder)
    folder.mkdir(exist_ok=True)
    _write_record(fresh, folder, {stem: content_sha256(fresh / f"{stem}.gz") for stem in STEMS})
    for stem in STEMS:
        os.replace(fresh / f"{stem}.gz", folder / f"{stem}.gz")
        (folder / stem).unlink(missing_ok=True)
