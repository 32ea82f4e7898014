"""What the documentation shows is so: docstrings' examples, Python on the pages, commands."""

import ast
import doctest
import importlib
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import spikelore as sl
from spikelore import cli
from spikelore.data import load
from spikelore.experiments import config_file

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src"
WITH_EXAMPLES = sorted(
    str(path.relative_to(SOURCE)) for path in SOURCE.rglob("*.py") if ">>>" in path.read_text("utf-8")
)
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "examples" / "README.md",
    *sorted(page for page in (ROOT / "docs").glob("*.md") if page.name != "tutorial.md"),
]
TUTORIAL = ROOT / "docs" / "tutorial.md"
OF_OTHER_LIBRARIES = ("snntorch", "spikingjelly", "norse", "nir")


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("file", WITH_EXAMPLES)
def test_examples_in_docstrings(file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(file.removesuffix(".py").removesuffix("/__init__").replace("/", "."))
    done = doctest.testmod(module)
    assert done.attempted > 0
    assert done.failed == 0


def _digits(count, classes=range(10)):
    digits = load("digits-sample").train
    chosen = np.flatnonzero(np.isin(digits.labels, list(classes)))[:count]
    return {"images": digits.inputs[chosen], "labels": digits.labels[chosen]}


def _of_decay():
    return _digits(40, (7, 4, 6))


def _of_replay():
    stream = sl.split_stream("digits-sample", [(0, 1)])
    sl.SurrogateNetwork.for_stream(stream, seed=0, hidden=(8,)).save(Path("network.safetensors"))
    return {"path": Path("network.safetensors"), **_digits(10)}


def _of_data():
    for name in ("cat", "dog"):
        Path("pets", name).mkdir(parents=True)
        for number in range(10):
            Image.fromarray(_digits(10)["images"][number]).save(Path("pets", name, f"{number}.png"))
    return {}


def _of_readme():
    """The demo's two networks, trained in a second on few images."""
    stream = sl.split_stream("digits-sample", [(0, 1, 2, 3, 4), (5, 6, 7, 8, 9)])
    first = sl.FirstSpikeNetwork.for_stream(stream, seed=0)
    folder = Path("runs/fusion-quick-seed0/checkpoints")
    folder.mkdir(parents=True)
    first.learn_(*_digits(100).values())
    first.freeze_features_()
    for name, task in zip("ab", stream.tasks, strict=True):
        network = first.with_fresh_units(task.classes, seed=1)
        network.learn_(task.train.inputs[:100], task.train.labels[:100])
        network.save(folder / f"templates_{name}.safetensors")
    return {}


GIVEN = {"README.md": _of_readme, "data.md": _of_data, "decay.md": _of_decay, "replay.md": _of_replay}
"""What the reader of a page has by then."""


def without_docstring(code: str) -> str:
    body = ast.parse(code).body
    return ast.dump(ast.Module(body[1:] if ast.get_docstring(ast.Module(body, [])) else body, []))


SCRIPTS = {without_docstring(path.read_text("utf-8")) for path in (ROOT / "examples").glob("*.py")}
"""What `test_examples.py` runs."""


def test_the_readme_shows_the_comparison_as_it_is():
    comparison = without_docstring((ROOT / "examples" / "compare_methods.py").read_text("utf-8"))
    assert comparison in map(without_docstring, blocks(ROOT / "README.md", "python"))


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=lambda page: page.name)
def test_python_on_a_page(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SPIKELORE_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(config_file, "execute", lambda config, out, data_dir: (config, out, data_dir))  # minutes
    known = GIVEN.get(page.name, dict)()
    for block in blocks(page, "python"):
        if without_docstring(block) in SCRIPTS:
            continue
        try:
            exec(compile(block, page.name, "exec"), known)
        except ModuleNotFoundError as error:
            if (error.name or "").split(".")[0] not in OF_OTHER_LIBRARIES:
                raise


def test_the_tutorial_word_by_word(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SPIKELORE_DATA", str(tmp_path / "data"))
    known, printed = {}, ""
    for language, block in re.findall(r"^```([a-z]*)\n(.*?)^```$", TUTORIAL.read_text("utf-8"), re.M | re.S):
        if language == "python":
            exec(compile(block, TUTORIAL.name, "exec"), known)
        elif language == "yaml":
            Path(block.split()[1]).write_text(block)
        elif language == "sh":
            assert cli._dispatch(shlex.split(block)[1:]) == 0
        else:
            told = [line for line in block.splitlines() if not re.search(r"\d\.\d|──|^\.\.\.$", line)]
            assert [
                line for line in told if line.rstrip() not in printed
            ] == []  # what was learned differs between processors
            continue
        printed = "".join(capsys.readouterr())
    table = sl.table(known["results"]).pivot_table("average_accuracy", "method", "network")
    assert table.loc["naive", "surrogate"] < 0.5 < 0.8 < table["rate-lif"].min()
    assert known["network"].classes == (0, 1, 2, 3, 4, 5)
    assert Path("runs/sweep/table.parquet").exists()


def commands(page: Path) -> list[str]:
    text = page.read_text("utf-8").replace("\\\n", " ")
    shown = re.findall(r"^(spikelore [^\n]*)$", text, re.MULTILINE) + re.findall(r"`(spikelore [^`\n]+)`", text)
    return sorted({re.sub(r"\s+(#|>).*", "", each).strip() for each in shown})


MEANT = {"CONFIG": "fusion_quick", "configs/NAME.yaml": "configs/fusion_quick.yaml", "COMMAND": "run"}
"""Placeholders whose value is looked at."""


class _UnderstoodError(Exception):
    """A command was understood, and would begin."""


def _begin(*_, **__):
    raise _UnderstoodError


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)], ids=lambda page: page.name)
def test_commands_on_a_page_are_understood(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("configs").symlink_to(ROOT / "configs")
    for name in ("mine.yaml", "my.yaml"):
        Path(name).write_bytes((ROOT / "configs" / "replay_quick.yaml").read_bytes())
    monkeypatch.setattr(config_file, "execute", _begin)
    for name, (parser, _, told) in list(cli._COMMANDS.items()):
        monkeypatch.setitem(cli._COMMANDS, name, (parser, _begin, told))
    for command in commands(page):
        words = [MEANT.get(word, word) for word in shlex.split(command)[1:] if word != "--resume"]
        if command.startswith("spikelore reproduce NAME"):
            words = ["reproduce", "fusion", "--scale", "quick"]
        if len(words) == 1:
            assert words[0] in cli._ALL, command  # spoken of
        elif words[0] in ("config", "help") or "--help" in words:
            _understood(words, ok=0)
        else:
            with pytest.raises(_UnderstoodError):
                cli._dispatch(words)
        for config in (word for word in words if word.startswith("configs/")):
            assert Path(config).is_file(), command


def _understood(words, ok):
    try:
        code = cli._dispatch(words)
    except SystemExit as stop:
        code = stop.code
    assert code == ok, words
