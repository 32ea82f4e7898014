"""The study: which cells there are, what has no meaning, what fails, what goes on, and its page."""

import json
import re

import numpy as np
import pandas
import pytest

from spikelore import report
from spikelore.errors import InputError, SpikeloreError
from spikelore.experiments import config_file, continual_run
from spikelore.experiments.execution import Execution
from spikelore.experiments.reproduce import study
from spikelore.experiments.reproduce.study import StudyExperiment, StudyStream
from spikelore.experiments.stream_settings import Datasets
from spikelore.metrics.learning_cost import Energies
from spikelore.report.tables import print_results

SMALL = {"train_per_class": 20, "test_per_class": 5, "points": 1, "groups": [[0, 1], [2, 3]]}


def small(**changes):
    values = {
        "seeds": 1,
        "budgets": (0, 40 * 785),
        "networks": (
            {"name": "surrogate", "network": {"steps": 2, "coding": "constant", "channels": [2, 2], "hidden": []}},
            {"name": "rates", "network": {"kind": "rate-lif", "neurons_per_class": 3}},
        ),
        "methods": (
            {"name": "naive", "learner.method": "naive"},
            {"name": "replay", "learner.method": "experience replay", "learner.replay_batch": 8},
            {"name": "der++", "learner.method": "der++", "learner.replay_batch": 8},
        ),
        "streams": ({"name": "pairs", "data": "digits-sample", "stream": SMALL},),
    }
    return StudyExperiment(**{**values, **changes})


def run(config, out, **how):
    return config_file.execute(config, out, None, jobs=1, **how)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("study") / "run"
    return out, run(small(), out)


def test_cells_are_the_product_and_a_method_without_examples_is_run_once():
    cells = small().cells()
    assert [cell.folder for cell in cells] == [
        "pairs-surrogate-naive-0b-seed0", "pairs-rates-naive-0b-seed0", "pairs-surrogate-replay-31400b-seed0",
        "pairs-rates-replay-31400b-seed0", "pairs-surrogate-der++-31400b-seed0", "pairs-rates-der++-0b-seed0",
    ]  # fmt: skip
    assert [cell.job is None for cell in cells] == [False] * 5 + [True]
    assert len(small(seeds=3).cells()) == 5 * 3 + 1, "a hole is told once"


def test_a_hole_is_a_sentence_among_the_rows(finished):
    _, results = finished
    hole = results["rows"][-1]
    assert hole["why_not"] == "der++ needs gradients of its output spikes, which a rate-lif network does not have"
    assert (hole["network"], hole["method"], hole["stream"]) == ("rates", "der++", "pairs")
    assert "average_accuracy" not in hole


def test_rows_tell_what_was_learned_kept_and_spent(finished):
    out, results = finished
    rows = {(row["network"], row["method"]): row for row in results["rows"]}
    assert all(0 <= row["average_accuracy"] <= 1 for row in results["rows"][:-1])
    replay, naive = rows["surrogate", "replay"], rows["surrogate", "naive"]
    assert replay["memory_images"] == 40
    assert replay["memory_bytes"] == 31400
    assert naive["memory_bytes"] == 0
    assert replay["joules_learning"] > naive["joules_learning"] > 0
    assert replay["example_bytes_learning"] > 0
    assert rows["rates", "naive"]["joules_learning"] > 0
    assert rows["rates", "naive"]["stability_gap"] is not None, "measured within tasks"
    table = pandas.read_parquet(out / "table.parquet")
    assert len(table) == 6
    assert set(table.columns) >= {"network", "method", "stream", "seed", "memory_bytes", "joules_learning", "why_not"}
    assert not list((out / "parts").rglob("*.safetensors")) or all(
        path.name == "arrays.safetensors" for path in (out / "parts").rglob("*.safetensors")
    ), "cells leave no networks"


def test_a_terminal_has_room_for_its_rows(finished, capsys):
    print_results(finished[1])
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    assert re.search(r"surrogate +replay +31,400 +\d+\.\d +", out)
    assert "why" not in out


def test_joules_are_by_the_tables_prices(finished):
    _, results = finished
    row = results["rows"][0]
    free = study._joules(row, Energies(0.0, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0))
    assert free["joules_learning"] == pytest.approx(2e-12 * row["multiply_accumulates_learning"], rel=1e-3)


def test_its_page_has_the_matrix_the_reasons_and_both_figures(finished):
    out, results = finished
    page = report.write(out).read_text(encoding="utf-8")
    best = max(row["average_accuracy"] for row in results["rows"][:-1])
    assert f"{100 * best:.1f}" in page
    assert results["rows"][-1]["why_not"] in page
    for name in ("bytes", "learning"):
        assert (out / "figures" / f"{name}.svg").exists()
    matrix = pandas.read_csv(out / "tables" / "average-accuracy-pairs.csv")
    assert list(matrix["method"]) == ["naive", "replay", "der++"]
    assert matrix["rates, detail"].tolist()[-1] == "(1)"


class Fails:
    """Lets the learner of one method fail, as long as told."""

    def __init__(self, monkeypatch, method):
        self.runs, self.fails = [], True
        kept = continual_run.run_job

        def run_job(job, datasets, loggers, path):
            self.runs.append(path.name)
            if self.fails and job.learner.method == method:
                raise SpikeloreError("the loss is nan; lower the learning rate")
            return kept(job, datasets, loggers, path)

        monkeypatch.setattr(study, "run_job", run_job)


def test_a_cell_that_fails_ends_no_other_and_is_tried_again(tmp_path, monkeypatch, finished):
    watched = Fails(monkeypatch, "experience replay")
    out = tmp_path / "run"
    with pytest.raises(SpikeloreError, match=r"^2 of 5 runs failed, the first one: .*replay.* the loss is nan; lower"):
        run(small(), out)
    rows = json.loads((out / "results.json").read_text())["rows"]
    assert [row.get("failed", "") for row in rows] == [
        "", "", "the loss is nan; lower the learning rate", "the loss is nan; lower the learning rate", "", "",
    ]  # fmt: skip
    assert [("average_accuracy" in row) for row in rows] == [True, True, False, False, True, False]
    assert "What failed" in report.write(out).read_text(encoding="utf-8")
    watched.fails, watched.runs[:] = False, []
    again = run(small(), out, resume=True)
    assert watched.runs == ["pairs-surrogate-replay-31400b-seed0", "pairs-rates-replay-31400b-seed0"]
    whole = finished[1]["rows"]
    assert [row.get("average_accuracy") for row in again["rows"]] == [row.get("average_accuracy") for row in whole]


def test_a_study_that_was_stopped_runs_what_is_left(tmp_path, monkeypatch, finished):
    watched = Fails(monkeypatch, "nothing")
    out = tmp_path / "run"
    kept = study.run_job

    def stops(job, datasets, loggers, path):
        if len(watched.runs) == 3:
            raise KeyboardInterrupt
        return kept(job, datasets, loggers, path)

    monkeypatch.setattr(study, "run_job", stops)
    with pytest.raises(KeyboardInterrupt):
        run(small(), out)
    assert len(watched.runs) == 3
    monkeypatch.setattr(study, "run_job", kept)
    watched.runs[:] = []
    rows = run(small(), out, resume=True)["rows"]
    assert len(watched.runs) == 2
    for row, other in zip(rows, finished[1]["rows"], strict=True):
        assert {**row, "seconds": 0} == {**other, "seconds": 0}


def test_what_cannot_begin_is_a_sentence_too(tmp_path):
    rows = run(small(budgets=(785,), networks=small().networks[1:]), tmp_path / "run")["rows"]
    assert re.match(r"a memory of 785 bytes .* holds 1 examples, fewer than the 4 classes", rows[0]["why_not"])


def test_a_folder_that_cannot_be_used_is_no_lack_of_meaning(tmp_path):
    (tmp_path / "config.yaml").write_text("data: mnist")
    job = small().cells()[1].job
    assert job is not None
    with pytest.raises(InputError, match="was run with another configuration"):
        study.learn(job, Datasets(None), Execution(), tmp_path)
    assert not (tmp_path / "results.json").exists()


def test_cells_of_their_own(tmp_path):
    own = {"stream": "pairs", "network": "rates", "method": "replay", "memory.images": 6, "learner.batch": 5}
    config = small(budgets=(), further=(own, {**own, "label": "replay, few", "memory.images": 4}))
    cells = config.cells()
    assert [cell.folder for cell in cells] == ["pairs-rates-replay-6i-seed0", "pairs-rates-replay_few-4i-seed0"]
    assert cells[0].job is not None
    assert cells[0].job.learner.batch == 5
    assert run(config, tmp_path / "run")["rows"][0]["memory_images"] == 6


# Streams --------------------------------------------------------------------------------------------------------------


def test_datasets_one_after_another():
    apart = StudyStream(further=("digits-sample",), train_per_class=7, test_per_class=3)
    datasets = Datasets(None)
    stream = apart.load("digits-sample", datasets, 0)
    assert len(apart) == len(stream.tasks) == 2
    assert stream.classes == tuple(range(20))
    assert [np.unique(task.train.labels).tolist() for task in stream.tasks] == [[*range(10)], [*range(10, 20)]]
    assert [(len(task.train), len(task.test)) for task in stream.tasks] == [(70, 30)] * 2
    same = StudyStream(further=("digits-sample",), scenario="domain-incremental").load("digits-sample", datasets, 0)
    assert [task.classes for task in same.tasks] == [tuple(range(10))] * 2


def test_images_are_cut_by_class_and_drawn_by_the_seed():
    datasets = Datasets(None)
    drawn = [StudyStream(train_per_class=5).load("digits-sample", datasets, seed) for seed in (0, 0, 1)]
    first, again, other = (stream.tasks[0].train for stream in drawn)
    assert np.bincount(first.labels).tolist() == [5, 5]
    assert np.array_equal(first.inputs, again.inputs)
    assert not np.array_equal(first.inputs, other.inputs)
    assert len(drawn[0].tasks[0].test) == len(StudyStream().load("digits-sample", datasets, 0).tasks[0].test)


# What is refused ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"seeds": 0}, "seeds is 0"),
        ({"budgets": (-1,)}, r"budgets are \[-1\]"),
        ({"networks": ({"network": {}},)}, r"the names of networks are \[None\]"),
        ({"methods": ({"name": "a", "learner.method": "nothing"},)}, "method is 'nothing'"),
        ({"methods": ({"name": "a", "learner.metod": "naive"},)}, "learner.metod is not known"),
        ({"further": ({"stream": "pairs", "network": "rates", "method": "x"},)}, r"further\[0\].method is 'x'"),
        ({"streams": ({"name": "a", "data": "digits-sample", "stream": {"train_per_class": -1}},)}, "is -1"),
    ],
)
def test_a_study_that_makes_no_sense_is_refused(changes, told):
    with pytest.raises(InputError, match=told):
        small(**changes)


def test_a_study_of_nothing_is_refused(tmp_path):
    with pytest.raises(InputError, match="the study has no cell"):
        run(StudyExperiment(), tmp_path / "run")


def test_a_stream_without_data_is_refused_before_anything_is_learned(tmp_path):
    with pytest.raises(InputError, match="nowhere"):
        run(small(streams=({"name": "a", "data": "nowhere", "stream": SMALL},)), tmp_path / "run")
    assert not (tmp_path / "run" / "results.json").exists()
