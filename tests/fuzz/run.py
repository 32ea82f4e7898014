"""Ask a reader about so many changed files, and tell what it did with them.

    python tests/fuzz/run.py checkpoints 10000 --seed 1

Readers: idx, images, hdf5, bin and aedat (recordings), checkpoints (right digests over other values),
raw-checkpoints, configurations, runs. An input fails if anything but a `SpikeloreError` with one printable line comes,
or if it takes more than 5 seconds of the processor or more memory than twice its size and 100 MB. With ``--keep``
failing inputs go to ``tests/fuzz/corpus/READER``, one of each kind; the tests ask about them ever after.
"""

import argparse
import faulthandler
import hashlib
import os
import random
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path

if __name__ == "__main__":
    os.environ["SPIKELORE_QUIET"] = "1"
    os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parent))

from rooms import ROOMS, check_sentence

from spikelore.errors import SpikeloreError

CORPUS = Path(__file__).parent / "corpus"
MOST_SECONDS, MOST_BYTES = 5.0, 100_000_000
_LONGEST = 600
"""Seconds of the clock after which an input hangs; a busy machine may give this process little of its time."""


class Memory:
    """The peak of this process's memory since `begin`, where the system tells it."""

    def begin(self) -> None:
        """Forget earlier peaks."""
        try:
            Path("/proc/self/clear_refs").write_text("5")
            self.before: int | None = self._of("VmRSS")
        except OSError:
            self.before = None

    def peak(self) -> int:
        """Return the bytes since then; 0 where they are not known."""
        return 0 if self.before is None else self._of("VmHWM") - self.before

    def _of(self, name: str) -> int:
        line = next(one for one in Path("/proc/self/status").read_text().splitlines() if one.startswith(name))
        return 1024 * int(line.split()[1])


class Fuzz:
    """One reader, its sound files in a folder of their own, and what it did with changed ones."""

    def __init__(self, name: str, folder: Path, *, by_time: bool = True) -> None:
        self.room, self.folder, self.by_time = ROOMS[name](), folder, by_time
        self.room.begin(folder)
        self.sound = self._content()
        self.memory = Memory()
        for name in self.room.first(folder):  # kernels are compiled before time counts
            outcome, details = self.ask(name, (folder / name).read_bytes())
            assert not outcome.startswith("FAILED") or outcome in ("FAILED: slow", "FAILED: large"), (name, details)

    def _content(self) -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in self.folder.rglob("*") if path.is_file()}

    def restore(self) -> None:
        """Bring back the sound files."""
        for path in self.folder.rglob("*"):
            if path.is_file() and path not in self.sound:
                path.unlink()
        for path, content in self.sound.items():
            if not path.is_file() or path.stat().st_size != len(content) or path.read_bytes() != content:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)

    def drawn(self, draw: random.Random) -> tuple[str, bytes]:
        """Return another file and its content."""
        return self.room.change(self.folder, draw)

    def ask(self, name: str, content: bytes) -> tuple[str, str]:
        """Return what came of a file's content: ``taken``, ``refused`` or what failed, and the details of a failure."""
        self.restore()
        (self.folder / name).write_bytes(content)
        self.memory.begin()
        began = time.process_time()
        outcome, details = "taken", ""
        try:
            self.room.ask(self.folder, name)
        except SpikeloreError as error:
            outcome = "refused"
            try:
                check_sentence(error)
            except AssertionError as fault:
                outcome, details = "FAILED: a sentence of another form", str(fault)
        except Exception as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            own = [one for one in traceback.extract_tb(error.__traceback__) if "spikelore" in one.filename][-1:]
            place = f"{Path(own[0].filename).name}:{own[0].name}" if own else last.name
            outcome, details = f"FAILED: {type(error).__name__} in {place}", traceback.format_exc()
        seconds, peak = time.process_time() - began, self.memory.peak()
        if outcome in ("taken", "refused") and self.by_time and seconds > MOST_SECONDS:
            outcome, details = "FAILED: slow", f"{seconds:.1f} s"
        if outcome in ("taken", "refused") and peak > 2 * len(content) + MOST_BYTES:
            outcome, details = "FAILED: large", f"{peak:,} bytes of memory for {len(content):,}"
        return outcome, details


def keep(reader: str, name: str, content: bytes) -> None:
    """Put an input into the corpus."""
    folder = CORPUS / reader
    folder.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256(content).hexdigest()[:12]
    (folder / f"{digest}.{name.replace('/', '+')}").write_bytes(content)


def kept(reader: str) -> list[tuple[str, bytes]]:
    """Return the inputs of the corpus: file name and content."""
    files = sorted((CORPUS / reader).glob("*")) if (CORPUS / reader).is_dir() else []
    return [(path.name.partition(".")[2].replace("+", "/"), path.read_bytes()) for path in files]


def main() -> int:
    """Run it; 1 if anything failed."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("reader", choices=[*ROOMS])
    options.add_argument("count", type=int)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--keep", action="store_true", help="put one of each kind of failure into the corpus")
    options.add_argument("--debug", action="store_true", help="print tracebacks")
    given = options.parse_args()
    warnings.simplefilter("ignore")
    counts: Counter[str] = Counter()
    draw = random.Random(f"{given.reader} {given.seed}")
    with tempfile.TemporaryDirectory() as folder:
        fuzz = Fuzz(given.reader, Path(folder))
        for number in range(given.count):
            faulthandler.dump_traceback_later(_LONGEST, exit=True)
            name, content = fuzz.drawn(draw)
            (Path(tempfile.gettempdir()) / f"fuzz-{given.reader}-{given.seed}").write_bytes(content)
            outcome, details = fuzz.ask(name, content)
            if outcome.startswith("FAILED") and outcome not in counts:
                print(f"{number}: {name}: {outcome}: {details if given.debug else details[-300:]}", flush=True)
                if given.keep:
                    keep(given.reader, name, content)
            counts[outcome] += 1
            if number % 1000 == 999:
                print(f"{number + 1}: {dict(counts.most_common())}", flush=True)
            fuzz.restore()
    faulthandler.cancel_dump_traceback_later()
    print(f"{given.reader}, seed {given.seed}: {dict(counts.most_common())}")
    return int(any(outcome.startswith("FAILED") for outcome in counts))


if __name__ == "__main__":
    sys.exit(main())
