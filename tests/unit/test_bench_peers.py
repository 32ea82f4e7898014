"""Libraries beside ours: results first, then times in turns, and a sentence where there is no time."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from spikelore.bench.peers import cases, environments, measure, process
from spikelore.bench.peers.cases import Case
from spikelore.bench.peers.libraries import LIBRARIES, Library
from spikelore.bench.peers.page import page
from spikelore.bench.peers.programs import ours
from spikelore.errors import InputError, SpikeloreError

DOCS = Path(__file__).parents[2] / "docs"

DOUBLES = """
import numpy as np
PACKAGES = ("numpy",)
def prepare(case, arrays, settings):
    return {"doubling": lambda: {"sums": settings["factor"] * arrays["inputs"]}}
"""
PROGRAMS = {
    "ours": DOUBLES,
    "same": DOUBLES + "print('a library that talks')",
    "other": DOUBLES.replace('settings["factor"]', "3"),
    "broken": "import nothing_of_this_name",
    "falls": DOUBLES.replace('arrays["inputs"]', "[][0]"),
    "dies": DOUBLES + "import os\nos._exit(3)",
    "limits": """
import numpy as np
PACKAGES = ("numpy",)
def prepare(case, arrays, settings):
    return {name: lambda: {} for name in ("matrix product", "copy")}
""",
}


@pytest.fixture
def programs(monkeypatch, tmp_path):
    """Put the programs above in the place of all others, quick to time."""
    worker = process._WORKER.read_text().replace("_LEAST_SECONDS = 0.2", "_LEAST_SECONDS = 1e-9")
    (tmp_path / "programs").mkdir()
    (tmp_path / "worker.py").write_text(worker)
    for name, text in PROGRAMS.items():
        (tmp_path / "programs" / f"{name}.py").write_text(text)
    monkeypatch.setattr(process, "_WORKER", tmp_path / "worker.py")
    monkeypatch.setattr(measure, "_PAUSE_SECONDS", 0)
    toy = Case("toy", 4, "image", {"inputs": np.arange(4)}, {"factor": 2}, {"doubling": 10.0})
    monkeypatch.setattr(measure, "CASES", {"toy": lambda: toy})
    return tmp_path


def measured(names, folder):
    kept = []
    measure.measure(names, rounds=5, threads=1, folder=folder, keep=lambda report: kept.append(json.dumps(report)))
    return json.loads(kept[-1])


def library(name):
    return Library(name.title(), name, {"toy": name})


def test_libraries_are_compared_before_they_are_timed(monkeypatch, programs):
    names = ("same", "other", "broken", "falls", "dies")
    monkeypatch.setattr(measure, "LIBRARIES", {name: library(name) for name in names})
    monkeypatch.setattr(measure, "python_of", lambda name, folder: sys.executable)
    report = measured(names, programs / "build")
    rows = {row["library"]: row for row in report["rows"]}
    same = rows["Same"]
    assert (same["network"], same["work"], same["results"], same["unit"]) == ("toy", "doubling", "sums equal", "image")
    for middle, least, most in (same["ours_ms"], same["library_ms"], same["ratio"]):
        assert 0 < least <= middle <= most
    assert same["limits"]["multiply_adds_a_second"] > 0
    assert same["our_share_of_limit"] > 0
    assert set(rows["Other"]) == {"network", "work", "library", "missing"}
    assert rows["Other"]["missing"] == "its results are not ours: sums 25.0% equal"
    assert rows["Broken"]["missing"] == "ModuleNotFoundError: No module named 'nothing_of_this_name'"
    assert rows["Falls"]["missing"].startswith("IndexError: ")
    assert rows["Dies"]["missing"] == "dies ended with code 3 and gave no answer"
    assert set(report["versions"]) == {"Spikelore", "Same", "Other", "Falls"}
    told = page(report)
    assert "| toy | doubling | Same | sums equal | " in told
    assert "| Other | toy doubling | its results are not ours: sums 25.0% equal |" in told


def test_what_cannot_be_had_is_a_row_with_a_sentence(monkeypatch, programs):
    known = {
        "absent": library("absent"),
        "named": Library("Named", "named", {"toy": "same"}, checkout="NAMED_CHECKOUT"),
        "unlike": Library("Unlike", why_not="it is something else"),
    }
    monkeypatch.setattr(measure, "LIBRARIES", known)
    monkeypatch.setattr(environments, "REQUIREMENTS", {"absent": ("absent==1",)})
    monkeypatch.delenv("NAMED_CHECKOUT", raising=False)

    def install(command, **_):
        failed = "pip" in command
        return subprocess.CompletedProcess(command, failed, "", "WARNING: slow\nERROR: no absent==1\n" * failed)

    monkeypatch.setattr(environments.subprocess, "run", install)
    assert measured(list(known), programs / "build")["rows"] == [
        {"library": "Absent", "missing": "its environment cannot be made: ERROR: no absent==1"},
        {"library": "Named", "missing": "no index carries it; name a checkout of it by NAMED_CHECKOUT=FOLDER"},
        {"library": "Unlike", "missing": "it is something else"},
    ]


def test_an_environment_is_made_once(monkeypatch, tmp_path):
    commands = []
    monkeypatch.setattr(environments, "REQUIREMENTS", {"one": ("one==1",)})

    def install(command, **_):
        commands.append(command)
        (tmp_path / "one").mkdir(exist_ok=True)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(environments.subprocess, "run", install)
    for _ in range(2):
        assert environments.python_of("one", tmp_path) == tmp_path / "one" / "bin" / "python"
    assert len(commands) == 2
    monkeypatch.setattr(environments, "REQUIREMENTS", {"one": ("one==2",)})
    environments.python_of("one", tmp_path)
    assert commands[-1][-1] == "one==2"


@pytest.mark.parametrize(
    ("own", "other", "close", "told"),
    [
        (np.arange(40), np.arange(40), True, "x equal"),
        (np.arange(40), np.r_[np.arange(39), 0], True, "x 97.5% equal"),
        (np.arange(40), np.arange(40)[::-1], False, "x 0.0% equal"),
        (np.array([1.0, 2.0]), np.array([1.0, 2.0001]), True, "x within 5e-05"),
        (np.array([1.0, 2.0]), np.array([1.0, 2.1]), False, "x within 5e-02"),
        (np.array([1.0, np.nan]), np.array([1.0, np.nan]), False, "x within nan"),
        (np.zeros(2), np.zeros(2), True, "x equal"),
        (np.zeros(2), np.zeros(3), False, "x have the shape (3,), ours (2,)"),
    ],
)
def test_what_counts_as_equal(own, other, close, told):
    assert measure.difference({"x": own}, {"x": other}) == (close, told)


def test_gradients_are_told_together():
    own = {"outputs": np.ones(2), "a.weight": np.ones(2), "b.weight": np.ones(2)}
    other = own | {"b.weight": np.array([1.0, 1 + 1e-5])}
    assert measure.difference(own, other) == (True, "outputs equal, 2 gradients within 1e-05")


def test_wrong_questions_are_refused(tmp_path):
    with pytest.raises(InputError, match="nosuch is no library, expected some of spyketorch, spyker,"):
        measured(["nosuch"], tmp_path)
    with pytest.raises(InputError, match="4 rounds on 1 threads, expected at least 5"):
        measure.measure(["norse"], rounds=4, threads=1, folder=tmp_path, keep=print)


def test_an_answer_that_does_not_come_is_not_waited_for(monkeypatch, programs):
    (programs / "programs" / "sleeps.py").write_text("import time\ntime.sleep(60)")
    monkeypatch.setattr(process, "_SECONDS", 0.5)
    for name in ("arrays.npz", "case.json"):
        (programs / name).touch()
    with pytest.raises(SpikeloreError, match="sleeps ended with code -9 and gave no answer"):
        process.Process(sys.executable, "sleeps", programs, 1)


@pytest.mark.parametrize("twins", ["snntorch", "spikingjelly", "norse"])
def test_the_recurrent_twins_give_our_results(twins):
    pytest.importorskip(twins, reason=f"{twins} is not installed; install the test and examples extras")
    program = pytest.importorskip(f"spikelore.bench.peers.programs.{twins}_twins")
    case = cases.recurrent(2)
    mine, theirs = (each.prepare(case.name, case.arrays, case.settings) for each in (ours, program))
    for work in case.works:
        results = mine[work]()
        assert results["outputs"].std() > 0
        close, told = measure.difference(results, theirs[work]())
        assert close, told


def test_every_library_has_an_environment_and_programs():
    folder = Path(measure.__file__).parent / "programs"
    for each in LIBRARIES.values():
        assert bool(each.programs) != bool(each.why_not)
        assert set(each.programs) <= set(cases.CASES)
        assert all((folder / f"{name}.py").exists() for name in each.programs.values())
        assert not each.programs or each.environment in environments.REQUIREMENTS


def test_the_page_is_made_of_what_was_kept():
    kept = json.loads((DOCS / "speed.json").read_text())
    assert (DOCS / "speed.md").read_text() == page(kept)
