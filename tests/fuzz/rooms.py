"""What is read of others, each with files to begin from, a change of one of them, and questions about the outcome.

A room has `begin(folder)`, which writes sound files, `change(folder, draw)`, which returns the name of one of them and
its new content, and `ask(folder, name)`, which reads them and may raise a `SpikeloreError`, nothing else.
"""

import gzip
import io
import json
import random
import shutil
import struct
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import mutate
import numpy as np
import torch
import yaml
from PIL import Image

from spikelore import data, report
from spikelore.data import pictures
from spikelore.data.idx import content_sha256, read_idx, read_idx_header, write_idx
from spikelore.data.images import import_images
from spikelore.data.streams import split_stream
from spikelore.errors import SpikeloreError
from spikelore.experiments import config_file, explained, shipped
from spikelore.experiments.evaluation import evaluate
from spikelore.files import load_tensors, save_tensors
from spikelore.networks import checkpoint
from spikelore.networks.first_spike import FirstSpikeNetwork
from spikelore.networks.first_spike_config import DecisionLayerConfig, FeatureLayerConfig
from spikelore.networks.rate_lif import RateLIFNetwork
from spikelore.networks.surrogate import SurrogateNetwork
from spikelore.report import style

SHAPE = (14, 14)


class Room:
    """What all rooms share."""

    def first(self, folder: Path) -> list[str]:
        """Return the files that are asked about before any is changed: all, if they are few."""
        return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


class Idx(Room):
    """A dataset of four IDX files."""

    stems = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")

    def begin(self, folder: Path) -> None:
        """Write it, one half plain, one half gzip."""
        (folder / "mine").mkdir()
        for n, stem in enumerate(self.stems):
            labels = np.arange(6 if n < 2 else 4, dtype=np.uint8) % 2
            values = labels if n % 2 else np.arange(len(labels) * 20, dtype=np.uint8).reshape(-1, 4, 5)
            write_idx(folder / "mine" / (stem if n < 2 else f"{stem}.gz"), values)
        (folder / "mine" / "classes.json").write_text('{"0": "cat", "1": "dog"}')

    def change(self, folder: Path, draw: random.Random) -> tuple[str, bytes]:
        """Change one, packed or not, its header above all; or the names of its classes."""
        path = draw.choice(sorted((folder / "mine").iterdir()))
        content = path.read_bytes()
        if path.suffix == ".json":
            return f"mine/{path.name}", mutate.as_json(mutate.of_value(json.loads(content), draw), draw)
        if path.suffix == ".gz" and draw.random() < 0.7:
            inner = mutate.of_bytes(gzip.decompress(content), draw)
            if draw.random() < 0.02:
                inner += bytes(draw.choice((10**6, 10**8)))
            return f"mine/{path.name}", gzip.compress(inner, 1, mtime=0)
        return f"mine/{path.name}", mutate.of_bytes(content, draw)

    def ask(self, folder: Path, name: str) -> None:
        """Load it, and read the one file alone."""
        path = folder / name
        data.available(folder)
        data.check(folder)
        if path.suffix != ".json":
            _try(read_idx_header, path)
            _try(content_sha256, path)
            _try(read_idx, path)
        data.load("mine", folder)


class Images(Room):
    """Picture files."""

    def begin(self, folder: Path) -> None:
        """Write two classes of pictures in every format that is read."""
        rng = np.random.default_rng(0)
        for n, kind in enumerate(("png", "jpeg", "gif", "bmp", "tiff", "webp", "ppm", "ico", "pcx", "sgi")):
            for name in ("cat", "dog"):
                (folder / "source" / name).mkdir(parents=True, exist_ok=True)
                mode = ("L", "RGB", "RGBA")[n % 3] if kind in ("png", "tiff", "webp") else "RGB"
                shape = (9, 11) if mode == "L" else (9, 11, len(mode))
                picture = Image.fromarray(rng.integers(0, 256, shape, np.uint8), mode=mode)
                picture.save(folder / "source" / name / f"{n}.{kind}")

    def change(self, folder: Path, draw: random.Random) -> tuple[str, bytes]:
        """Change one."""
        path = draw.choice(sorted((folder / "source").glob("*/*")))
        if draw.random() < 0.01:  # many pixels in few bytes
            side = draw.choice((3000, 6000, 9000))
            buffer = io.BytesIO()
            Image.new(draw.choice(("1", "L", "RGBA", "I;16")), (side, side)).save(buffer, "png")
            return path.relative_to(folder).as_posix(), buffer.getvalue()
        return path.relative_to(folder).as_posix(), mutate.of_bytes(path.read_bytes(), draw)

    def ask(self, folder: Path, name: str) -> None:
        """Read it, and now and then import all."""
        found = pictures.read(folder / name, (28, 28))
        assert isinstance(found, str) or found.on_white.dtype == np.uint8
        if sum((folder / name).read_bytes()[-2:]) % 16 == 0:
            shutil.rmtree(folder / "made", ignore_errors=True)
            import_images(folder / "source", "mine", data_dir=folder / "made")


class Recordings(Room):
    """A dataset of recordings in one of the formats, which `begin` of each writes as ``mine``."""

    def change(self, folder: Path, draw: random.Random) -> tuple[str, bytes]:
        """Change one file."""
        path = draw.choice(sorted(one for one in (folder / "mine").rglob("*") if one.is_file()))
        content = path.read_bytes()
        if path.suffix == ".json":
            return path.relative_to(folder).as_posix(), mutate.as_json(mutate.of_value(json.loads(content), draw), draw)
        return path.relative_to(folder).as_posix(), self.of_file(content, draw)

    def of_file(self, content: bytes, draw: random.Random) -> bytes:
        """Return other bytes, of the headers above all."""
        return mutate.of_bytes(content, draw)

    def ask(self, folder: Path, name: str) -> None:
        """Look at the folder, check it, and load it."""
        data.available(folder)
        data.check(folder, data.findings)
        data.load("mine", folder)


class Heidelberg(Recordings):
    """HDF5 files."""

    def begin(self, folder: Path) -> None:
        """Write two, one of them in chunks that are compressed."""
        (folder / "mine").mkdir()
        (folder / "mine" / "sensor.json").write_text('{"shape": [9]}')
        rng = np.random.default_rng(0)
        for part, count, options in (("train", 6, {}), ("test", 4, {"chunks": (2,), "compression": "gzip"})):
            with h5py.File(folder / "mine" / f"my_{part}.h5", "w") as file:
                times = file.create_dataset("spikes/times", (count,), h5py.vlen_dtype(np.float16), **options)
                units = file.create_dataset("spikes/units", (count,), h5py.vlen_dtype(np.uint16), **options)
                for n in range(count):
                    times[n], units[n] = np.sort(rng.random(5 + n)), rng.integers(0, 9, 5 + n)
                file["labels"] = np.arange(count, dtype=np.uint16) % 2
                file["extra/speaker"] = np.arange(count, dtype=np.uint16) % 3
                file["extra/keys"] = np.array(["no", "yes"], "S3")

    def of_file(self, content: bytes, draw: random.Random) -> bytes:
        """Return bytes of which some anywhere are changed: structures lie in all of the file."""
        if draw.random() < 0.4:
            return mutate.of_bytes(content, draw)
        changed = bytearray(content)
        used = [n for n, byte in enumerate(content) if byte]
        for _ in range(draw.randint(1, 6)):
            at = max(0, draw.choice(used) + draw.randint(-4, 4)) % len(changed)
            changed[at] = draw.choice((0, 1, 2, 16, 127, 128, 254, 255, changed[at] ^ (1 << draw.randrange(8))))
        return bytes(changed)


class BinRecordings(Recordings):
    """Files of five bytes an event, one part in folders, one in an archive."""

    def begin(self, folder: Path) -> None:
        """Write them."""
        rng = np.random.default_rng(0)
        with zipfile.ZipFile(_parent(folder / "mine" / "Test.zip"), "w", zipfile.ZIP_DEFLATED) as archive:
            for label in (0, 1):
                for n in range(2):
                    rows = rng.integers(0, 34, (20, 5)).astype(np.uint8)
                    rows[:, 2], rows[:, 3], rows[:, 4] = 128 * (rows[:, 2] % 2), np.arange(20), 0
                    _parent(folder / "mine" / "Train" / str(label) / f"{n}.bin").write_bytes(rows.tobytes())
                    archive.writestr(f"Test/{label}/{n}.bin", rows.tobytes())


class Gestures(Recordings):
    """AEDAT files with tables and lists."""

    def begin(self, folder: Path) -> None:
        """Write them."""
        rng, place = np.random.default_rng(0), folder / "mine"
        for n, part in enumerate(("train", "test")):
            content = b"#!AER-DAT3.1\r\n#Format: RAW\r\n#!END-HEADER\r\n"
            for packet in range(3):
                events = np.zeros((8, 2), "<u4")
                events[:, 0] = (
                    1 | rng.integers(0, 2, 8) << 1 | rng.integers(0, 128, 8) << 2 | rng.integers(0, 128, 8) << 17
                )
                events[:, 1] = 100 * packet + np.arange(8)
                content += struct.pack("<hhiiiiii", packet == 1 or 1, 0, 8, 4, 0, 8, 8, 8) + events.tobytes()
            name = f"user0{n + 1}_led"
            _parent(place / f"{name}.aedat").write_bytes(content)
            (place / f"{name}_labels.csv").write_text("class,startTime_usec,endTime_usec\n1,0,150\n2,150,400\n")
            (place / f"trials_to_{part}.txt").write_text(f"{name}.aedat\n")
        (place / "gesture_mapping.csv").write_text("action,label\nclap,1\nwave,2\n")


def _parent(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


class Checkpoints(Room):
    """Checkpoints of each network: raw bytes, or other values and arrays under a right digest."""

    def begin(self, folder: Path) -> None:
        """Write one of each, which has learned a step."""
        stream = split_stream("digits-sample", [(0, 1)])
        images = stream.tasks[0].train.inputs[:8, ::2, ::2]
        labels = stream.tasks[0].train.labels[:8]
        small = replace(stream.tasks[0], train=data.Examples(images, labels))
        stream = replace(stream, tasks=(small,))
        rate = RateLIFNetwork.for_stream(stream, neurons_per_class=2, active_ms=20.0)
        first = FirstSpikeNetwork.for_stream(
            stream,
            layer_1=FeatureLayerConfig(3, 3, 1, 4.0, 2, 2, 1),
            layer_2=FeatureLayerConfig(4, 3, 1, 2.0, 2, 2, 1),
            decision=DecisionLayerConfig(4, 3, 1),
        )
        surrogate = SurrogateNetwork.for_stream(stream, channels=(2,), hidden=(3,), kernel=3, pool=4)
        plain = RateLIFNetwork.for_stream(stream, neurons_per_class=2, active_ms=20.0, teacher="none")
        plain.learn_(images, labels)  # other kernels, which are compiled once
        for network in (rate, first, surrogate):
            network.learn_(images, labels)
            network.use_(images)
            network.save(folder / f"{network.name}.safetensors")

    def change(self, folder: Path, draw: random.Random) -> tuple[str, bytes]:
        """Change the bytes of one, or its structure."""
        path = draw.choice([folder / f"{name}.safetensors" for name in ("first-spike", "rate-lif", "surrogate")])
        if self.raw(draw):
            return path.name, mutate.of_bytes(path.read_bytes(), draw)
        tensors, metadata = load_tensors(path)
        for _ in range(draw.randint(1, 3)):
            change_checkpoint(tensors, metadata, draw)
        save_tensors(folder / "scratch", tensors, metadata)
        return path.name, (folder / "scratch").read_bytes()

    def raw(self, draw: random.Random) -> bool:
        """Whether bytes are changed rather than values."""
        return False

    def ask(self, folder: Path, name: str) -> None:
        """Load it; what loads answers two questions, learns a batch and is saved."""
        network = checkpoint.load(folder / name)
        shape = network.input_shape or SHAPE
        if max(shape) > 64:
            return
        images = np.zeros((2, *shape), np.uint8)
        images[1, ::2] = 200
        network.predict(images)
        network.class_scores(images)
        network.cost(images)
        network.learn_(images, np.array(network.classes[:1] * 2))
        network.copy().save(folder / "again")


class RawCheckpoints(Checkpoints):
    """The bytes of checkpoints."""

    def raw(self, draw: random.Random) -> bool:
        """Whether bytes are changed rather than values."""
        return True


def change_checkpoint(tensors: dict[str, Any], metadata: dict[str, str], draw: random.Random) -> None:
    """Change one array or one text."""
    kind = draw.randrange(10)
    name = draw.choice([*tensors])
    if kind == 0:
        del tensors[name]
    elif kind == 1:
        tensors[draw.choice(("going", "config", "extra", "weights", *tensors))] = tensors[name]
    elif kind < 4 or not metadata:
        tensors[name] = mutate.of_array(tensors[name], draw)
    else:
        text = draw.choice([*metadata])
        try:
            told = json.loads(metadata[text])
        except (ValueError, RecursionError):
            metadata[text] = (
                draw.choice(("", "spikelore", *mutate.ODD_TEXTS[:5])) if draw.random() < 0.2 else metadata[text]
            )
            return
        metadata[text] = mutate.as_json(mutate.of_value(told, draw), draw).decode(errors="replace")


class Configurations(Room):
    """Configurations as YAML: their text, or other values in it."""

    def begin(self, folder: Path) -> None:
        """Write those that are shipped."""
        for path in sorted(shipped.FOLDER.glob("*.yaml")):
            if ".expected" not in path.name:
                shutil.copy(path, folder / path.name)

    def change(self, folder: Path, draw: random.Random) -> tuple[str, bytes]:
        """Change one, those of many learners rarely."""
        files = sorted(folder.glob("*.yaml"))
        path = draw.choice([one for one in files if one.stat().st_size < 2000 or draw.random() < 0.05])
        text = path.read_text(encoding="utf-8")
        if draw.random() < 0.5:
            return path.name, mutate.of_text(text, draw).encode(errors="surrogatepass")
        value = mutate.of_value(yaml.safe_load(text), draw)
        return path.name, yaml.dump(value, allow_unicode=True).encode(errors="surrogatepass")

    def ask(self, folder: Path, name: str) -> None:
        """Read it, and explain what could be read."""
        explained.explained(config_file.read(folder / name))


_RUNS: dict[str, dict[str, Any]] = {
    "decay": {
        "data": "digits-sample", "unknown": [9], "train_per_class": 6, "validation_per_class": 2, "test_images": 20,
        "presets": ["best"], "l2_tau_ms": [], "best": {"network": {
            "classes": [0, 1], "neurons_per_class": 2, "active_ms": 20.0}, "decay": {"period_images": 4}},
    },
    "fusion": {
        "sources": [{"data": "digits-sample", "classes": [0, 1]}, {"data": "digits-sample", "classes": [2, 3]}],
        "train_per_class": 6, "validation_per_class": 3, "test_per_class": 3, "presets": ["published"],
        "epochs_layer_1": 1, "epochs_layer_2": 1, "epochs_decision": 1, "curve": [1.0],
        "network": {"layer_1": {"features": 3}, "layer_2": {"features": 4}, "decision": {"features": 4}},
    },
    "replay": {
        "data": "digits-sample", "stream": {"groups": [[0, 1], [2, 3]]},
        "network": {"channels": [2], "pool": 4, "steps": 2},
        "learner": {"batch": 400}, "memory": {"images": 8},
    },
}  # fmt: skip


class Runs(Room):
    """Folders of finished runs: reported, evaluated, and gone on with after their last step."""

    def begin(self, folder: Path) -> None:
        """Run a small one of each kind."""
        for kind, values in _RUNS.items():
            config_file.execute(config_file.build(kind, values), folder / kind, None)
            report.write(folder / kind)

    def change(self, folder: Path, draw: random.Random) -> tuple[str, bytes]:
        """Change one file of one."""
        kind = draw.choice([*_RUNS])
        files = [one for one in (folder / kind).rglob("*") if one.suffix in _CHANGES]
        path = draw.choice(sorted(files))
        content = _CHANGES[path.suffix](path, draw) if draw.random() < 0.9 else mutate.of_bytes(path.read_bytes(), draw)
        return path.relative_to(folder).as_posix(), content

    def first(self, folder: Path) -> list[str]:
        """Return the files that are asked about before any is changed."""
        return [f"{kind}/results.json" for kind in _RUNS]

    def ask(self, folder: Path, name: str) -> None:
        """Ask for what the file is read for; what was written is written again by the next one."""
        kind = name.partition("/")[0]
        run, own = folder / kind, name.partition("/")[2]
        numbers = sum((folder / name).read_bytes()[-9:])
        if own in _REPORTED and numbers % 4:
            with _drawn(really=numbers % 50 == 0):
                report.write(run)
        elif own.startswith("checkpoints/network") or own == "config.yaml" or numbers % 4 == 1:
            evaluate(run, "digits-sample", None, (0,))
        else:
            if own == "config.yaml" or "parts" not in own:
                (run / "results.json").unlink()
            config_file.execute(config_file.build(kind, _RUNS[kind]), run, None, resume=True)


_REPORTED = ("results.json", "environment.json", "metrics.jsonl", "arrays.safetensors", "config.yaml")


@contextmanager
def _drawn(*, really: bool) -> Iterator[None]:
    """Lay figures out, but save them only if asked to: that takes seconds."""
    saved = style.files
    if not really:
        style.files = lambda figure: {"png": b"", "svg": b""}
    try:
        yield
    finally:
        style.files = saved


def _arrays(path: Path, draw: random.Random) -> bytes:
    tensors, metadata = load_tensors(path)
    if tensors:
        change_checkpoint(tensors, metadata, draw)
    scratch = path.parent / "scratch"
    save_tensors(scratch, tensors, metadata)
    content = scratch.read_bytes()
    scratch.unlink()
    return content


def _lines(path: Path, draw: random.Random) -> bytes:
    lines = path.read_bytes().splitlines()
    if lines:
        at = draw.randrange(len(lines))
        lines[at] = mutate.as_json(mutate.of_value(json.loads(lines[at]), draw), draw)
    return b"\n".join(lines) + b"\n"


_CHANGES: Mapping[str, Callable[[Path, random.Random], bytes]] = {
    ".json": lambda path, draw: mutate.as_json(mutate.of_value(json.loads(path.read_text()), draw), draw),
    ".jsonl": _lines,
    ".yaml": lambda path, draw: mutate.of_text(path.read_text(), draw).encode(errors="surrogatepass"),
    ".safetensors": _arrays,
}


def _try(function: Callable[..., Any], *values: Any) -> None:
    """Call a function that may refuse its input: the next question is asked all the same."""
    try:
        function(*values)
    except SpikeloreError as error:
        check_sentence(error)


def check_sentence(error: SpikeloreError) -> None:
    """See that a refusal is one line that a terminal can show, and not endless."""
    sentence = str(error)
    assert sentence
    assert sentence.isprintable(), repr(sentence)
    assert len(sentence) < 3000, sentence[:300]


ROOMS: dict[str, Any] = {
    "idx": Idx, "images": Images, "hdf5": Heidelberg, "bin": BinRecordings, "aedat": Gestures,
    "checkpoints": Checkpoints, "raw-checkpoints": RawCheckpoints,
    "configurations": Configurations, "runs": Runs,
}  # fmt: skip
torch.set_num_threads(1)
