"""`spikelore reproduce`: what is registered, and which options go where."""

import sys
from inspect import signature
from pathlib import Path

import pytest

from spikelore import cli, report
from spikelore.experiments import config_file
from spikelore.experiments.config_file import KINDS
from spikelore.experiments.reproduce import PRESETS, PUBLISHED
from spikelore.experiments.reproduce.decay import DecayExperiment
from spikelore.experiments.reproduce.decay import at_scale as decay
from spikelore.experiments.reproduce.fusion import at_scale as fusion
from spikelore.folders import new_folder


@pytest.fixture
def executed(monkeypatch, tmp_path):
    """Make `reproduce` note what it would run; return the notes and the folder it runs in."""
    found = []

    def execute(config, out, *, data_dir, resume, jobs, ray):
        found.append((config, out, resume))
        rows = [{"name": "one", "right": 0.5}]
        return {"experiment": "x", "seed": config.seed, "seconds": 1.0, "data": ["d"], "rows": rows}

    monkeypatch.setattr(config_file, "execute", execute)
    monkeypatch.setattr(report, "write", lambda out: out / "report.html")
    monkeypatch.chdir(tmp_path)
    return found


def reproduce(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["spikelore", "reproduce", *words])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    return stop.value.code


def test_all_runs_every_registered_experiment_in_a_folder_of_its_own(executed, monkeypatch, tmp_path):
    assert reproduce(monkeypatch, "all", "--seed", "3", "--out", str(tmp_path / "all")) == 0
    assert [type(config) for config, _, _ in executed] == [KINDS[name].config for name in PUBLISHED]
    assert [out for _, out, _ in executed] == [tmp_path / "all" / name for name in PUBLISHED]
    assert {config.seed for config, _, _ in executed} == {3}
    assert {"fusion", "decay"} <= set(PUBLISHED)


def test_every_experiment_has_its_command_with_its_options():
    assert [*PUBLISHED] == [*KINDS]
    for name, command in PUBLISHED.items():
        assert {"scale", "seed", *command.options} == {*signature(KINDS[name].at_scale).parameters}, name


def test_options_reach_the_experiment_and_name_its_folder(executed, monkeypatch, capsys):
    words = ["decay", "--scale", "paper", "--classes", "1", "0", "--unknown", "5", "--preset", "best"]
    assert reproduce(monkeypatch, *words) == 0
    [(config, out, _)] = executed
    assert config == decay("paper", classes=(1, 0), unknown=(5,), preset="best")
    assert str(out) == "runs/decay-paper-10-5-best-seed0"
    assert "50.0" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["decay", "--data-a", "mnist"], "data-a"),  # an option of fusion
        (["decay", "--preset", "better"], "better"),
        (["decay", "--classes", "7"], "expected at least two"),
        (["fusion", "--classes", "7"], "classes"),
        (["nothing"], "nothing"),
    ],
)
def test_what_an_experiment_does_not_know_is_refused(executed, monkeypatch, capsys, words, says):
    assert reproduce(monkeypatch, *words) == 2
    assert says in capsys.readouterr().err
    assert not executed


def test_presets_of_fusion():
    assert fusion("quick").presets == PRESETS
    assert fusion("paper", preset="best").presets == ("best",)


def test_decay_at_scale():
    paper = decay("paper")
    assert paper == DecayExperiment()
    assert (paper.train_per_class, paper.test_images, paper.classes, paper.unknown) == (
        5000,
        1500,
        (7, 4, 6),
        (9, 2, 1),
    )
    ten = decay("paper", classes=range(10), preset="best")
    assert ten.unknown == ()
    assert ten.test_images == 5000
    assert ten.best.decay.tau_prune_ms == 25_000
    assert ten.best.network.neurons == 10 * ten.best.network.neurons_per_class
    assert decay("quick", classes=(9, 3)).unknown == (2, 1)
    assert decay("quick", unknown=(5,)).test_images == 100


def test_a_new_folder_takes_the_next_number_and_resume_the_newest(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert new_folder("one", resume=True) == Path("runs/one")
    assert not Path("runs").exists()
    assert [new_folder("one", resume=False).name for _ in range(3)] == ["one", "one-2", "one-3"]
    assert Path("runs/one-3").is_dir()
    assert new_folder("one", resume=True) == Path("runs/one-3")
    Path("runs/one-2").rmdir()
    assert new_folder("one", resume=False) == Path("runs/one-2")


def test_an_error_of_the_system_is_one_line(monkeypatch, capsys):
    def refuse(words):
        raise PermissionError(13, "Permission denied", "secret")

    monkeypatch.setattr(cli, "_dispatch", refuse)
    assert reproduce(monkeypatch, "fusion") == 1
    says = "the system refused: Permission denied (secret); mend that and try again, or see more with --debug"
    assert capsys.readouterr().err == f"spikelore: {says}\n"
