"""The configurations that come with the package, ``configs/NAME.yaml``, and how a user names one."""

from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from pathlib import Path

from spikelore import plain_yaml
from spikelore.errors import InputError
from spikelore.files import user_path

FOLDER = Path(str(files("spikelore"))) / "configs"


@dataclass(frozen=True)
class Shipped:
    """One line of ``spikelore config list``.

    Attributes:
        name: what ``spikelore run`` knows it by.
        experiment: its kind.
        takes: about how long a run takes on two cores.
        what: what it does, in half a sentence.
    """

    name: str
    experiment: str
    takes: str
    what: str


@cache
def names() -> tuple[str, ...]:
    """Return the names of all shipped configurations."""
    return tuple(
        sorted(path.stem for path in FOLDER.glob("*.yaml") if not path.name.endswith(".expected.yaml")),
    )


def available() -> list[Shipped]:
    """Return all shipped configurations; the first line of each file tells what it does and how long it takes."""
    found = []
    for name in names():
        path = FOLDER / f"{name}.yaml"
        first = path.read_text(encoding="utf-8").partition("\n")[0]
        what, _, takes = first.removeprefix("# ").removesuffix(".").rpartition("; ")
        found.append(Shipped(name, plain_yaml.read(path)["experiment"], takes, what))
    return found


def find(word: str) -> Path:
    """Return the configuration file that a word names: a file, else a shipped configuration.

    Raises:
        InputError: there is neither; the message has the names that are alike.
    """
    path = user_path(word)
    if path.is_file():
        return path
    if path.is_dir():
        inner = path / "config.yaml"
        remedy = f"name {inner}" if inner.exists() else "name a file in it"
        raise InputError(f"{word} is a folder, expected a configuration file; {remedy}")
    if word.removesuffix(".yaml") in names():
        return FOLDER / f"{word.removesuffix('.yaml')}.yaml"
    alike = get_close_matches(path.stem, names(), n=3, cutoff=0.6)
    remedy = f"did you mean {', '.join(alike)}?" if alike else "correct the path, or see: spikelore config list"
    raise InputError(f"{word} is neither a file nor the name of a shipped configuration; {remedy}")
