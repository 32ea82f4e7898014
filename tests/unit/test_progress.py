"""What is told of a long piece of work: lines where there is no terminal, a bar on one, nothing when asked for that."""

import io
import re
import sys
import time
from contextlib import contextmanager

import pytest

from spikelore import progress
from spikelore.experiments import parallel
from spikelore.experiments.config_file import build, execute
from spikelore.progress import Meter, shown


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def quick(monkeypatch):
    """Let lines come within a moment."""
    monkeypatch.delenv("SPIKELORE_QUIET", raising=False)
    for name, seconds in (("LOOK", 0.01), ("FIRST", 0.02), ("FIRST_WITHOUT_WORK", 0.3), ("LEAST", 0.2)):
        monkeypatch.setattr(progress, f"_{name}_SECONDS", seconds)


def until_told(capsys) -> str:
    for _ in range(500):
        if text := capsys.readouterr().err:
            return text
        time.sleep(0.02)
    return ""


def test_off_a_terminal_a_line_comes_now_and_then(quick, capsys):
    begun = time.monotonic()
    with shown(200) as meter:
        assert re.fullmatch(r"\d\d:\d\d:\d\d  starting: 0% done, 0:00:0\d so far\n", until_told(capsys))
        assert time.monotonic() - begun >= 0.3
        for _ in range(50):
            meter.advance("task 1", 1)
        line = until_told(capsys)
        assert re.fullmatch(r"\d\d:\d\d:\d\d  task 1: 25% done, 0:00:\d\d so far, about 0:00:\d\d left\n", line)
        assert time.monotonic() - begun >= 0.5
    assert capsys.readouterr().err == ""


def test_work_that_ends_at_once_says_nothing(capsys, monkeypatch):
    monkeypatch.delenv("SPIKELORE_QUIET", raising=False)
    with shown(2) as meter:
        meter.advance("one", 2)
    assert capsys.readouterr().err == ""


def test_it_is_quiet_when_asked(quick, capsys, monkeypatch):
    monkeypatch.setenv("SPIKELORE_QUIET", "1")
    with shown(2) as meter:
        meter.advance("one", 1)
        time.sleep(0.5)
    monkeypatch.setattr(sys, "stderr", Terminal())
    with shown(2) as meter:
        meter.advance("one", 1)
        assert isinstance(sys.stderr, Terminal)
        assert sys.stderr.getvalue() == ""
    assert capsys.readouterr().err == ""


def test_a_terminal_shows_a_bar(monkeypatch):
    monkeypatch.delenv("SPIKELORE_QUIET", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with shown(4, done=1) as meter:
        meter.advance("half of it", 1)
    assert "half of it" in terminal.getvalue()
    assert "50%" in terminal.getvalue()


def test_a_reader_that_is_gone_ends_nothing(quick, monkeypatch):
    closed = io.StringIO()
    closed.close()
    with shown(2) as meter:
        monkeypatch.setattr(sys, "stderr", closed)
        time.sleep(0.5)
        meter.advance("one", 2)
    assert meter.done == 2


def test_the_time_left_is_by_the_pace_since_the_last_line(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    meter = Meter("first", 100, done=40)
    now[0] += 10
    meter.advance("second", 10)
    assert meter.line().endswith("second: 50% done, 0:00:10 so far, about 0:00:50 left")
    now[0] += 10
    meter.advance("third", 40)
    assert meter.line().endswith("third: 90% done, 0:00:20 so far, about 0:00:02 left")
    now[0] += 3600
    assert meter.line().endswith("third: 90% done, 1:00:20 so far")
    meter.total = None
    assert meter.line().endswith("third: 1:00:20 so far")


STAGES = {"train_per_class": 20, "validation_per_class": 5}
EXPERIMENTS = {
    "fusion": {
        **STAGES,
        "sources": [{"data": "digits-sample", "classes": [n, n + 1]} for n in (0, 2)],
        "test_per_class": 5,
        **dict.fromkeys(("epochs_layer_1", "epochs_layer_2", "epochs_decision"), 1),
        "network": {"layer_2": {"features": 20}, "decision": {"features": 20}},
        "consolidation": {"epochs": 3},
        "curve": [1.0],
    },
    "decay": {**STAGES, "data": "digits-sample", "test_images": 6, "presets": ["best"], "l2_tau_ms": []},
    "replay": {
        "data": "digits-sample",
        "stream": {"groups": [[0, 1], [2, 3]]},
        "network": {"channels": [2], "pool": 4, "steps": 2},
        "learner": {"batch": 50, "epochs": 2},
        "variants": [{"memory.images": 8}, {"memory.images": 16}],
    },
    "local": {
        **STAGES,
        "tasks": [{"data": "digits-sample", "classes": [n, n + 1]} for n in (0, 2)],
        "test_per_class": 5,
        **dict.fromkeys(("epochs_layer_1", "epochs_layer_2", "epochs_decision", "epochs_second"), 1),
        "network": {"layer_2": {"features": 20}, "decision": {"features": 20}},
        "consolidation": {"epochs": 3},
        "ways": ["joint", "templates"],
    },
}


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_tells_of_all_its_work(name, monkeypatch, tmp_path):
    meters: list[Meter] = []

    @contextmanager
    def noted(total, done=0):
        meters.append(Meter("starting", total, done))
        yield meters[-1]

    monkeypatch.setattr(parallel, "shown", noted)
    monkeypatch.setattr(parallel, "cores", lambda: 1)
    execute(build(name, EXPERIMENTS[name]), tmp_path / "run", None)
    (meter,) = meters
    assert meter.total
    assert meter.done == pytest.approx(meter.total)
    assert meter.description != "starting"


def test_work_within_other_work_tells_its_share_and_shows_nothing(capsys, monkeypatch):
    monkeypatch.setattr(progress, "_FIRST_WITHOUT_WORK_SECONDS", 0.0)
    shares = []
    with progress.told_to(shares.append), shown(4, 1) as meter:
        meter.advance("one", 1)
        meter.advance("two", 3)
    with progress.told_to(shares.append), shown(None) as meter:
        meter.advance("of an unknown whole", 1)
    assert shares == [0.5, 1.0]
    assert capsys.readouterr().err == ""
