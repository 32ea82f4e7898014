"""The page of a sweep, and what several reports share."""

import json
import re
from pathlib import Path

import numpy as np
import pandas
import pytest

from run_folders import fusion_run, replay_run
from spikelore.errors import InputError
from spikelore.report import compare, style, write
from spikelore.report.over_runs import Spread
from spikelore.report.page import trade_offs
from spikelore.report.runs import of_sweep
from spikelore.report.svg import marks


def swept(home: Path) -> Path:
    for images in (100, 20):
        for seed in (10, 2):
            folder = home / f"memory.images={images}" / f"seed{seed}"
            replay_run(folder, seed=seed, images=images, shift=images / 1000 + seed / 100)
    return home


def test_a_sweeps_runs_are_found_in_the_order_of_their_numbers(tmp_path: Path):
    home = swept(tmp_path)
    replay_run(home / "memory.images=20/seed2/parts/one")  # of a run, no run
    (home / "memory.images=20/seed11").mkdir()
    (home / "memory.images=20/seed11/config.yaml").write_text("experiment: replay\n")
    found, unfinished = of_sweep(home)
    assert [path.relative_to(home).as_posix() for path in found] == [
        f"memory.images={images}/seed{seed}" for images in (20, 100) for seed in (2, 10)
    ]
    assert unfinished == 1
    assert of_sweep(home / "memory.images=20/seed2") == ([], 0)
    replay_run(tmp_path / "others" / "one")
    assert of_sweep(tmp_path / "others") == ([], 0)
    text = write(home).read_text()
    assert "4 runs at 2 points of a grid; 1 more have not finished and are left out." in text


def test_a_sweeps_page_has_a_row_for_each_point_and_learner(tmp_path: Path):
    page = write(swept(tmp_path))
    assert page == tmp_path / "report.html"
    rows = pandas.read_csv(tmp_path / "tables/every-point.csv", keep_default_na=False)
    assert len(rows) == 2 * 4
    (one,) = rows[
        (rows["point"] == "memory.images=100") & (rows["scenario"] == "task-free") & (rows["preset"] == "best")
    ].to_dict("records")
    reached = [(0.75 + 0.1 + seed / 100 + 0.97) / 2 for seed in (2, 10)]
    assert one["average accuracy, %"] == round(100 * np.mean(reached), 1) == 94.0
    assert one["average accuracy, %, deviation"] == round(100 * np.std(reached, ddof=1), 1) == 2.8
    assert one["memory bytes"] == 5000
    assert "average accuracy, %, deviation" not in page.read_text()
    assert "94.0 ± 2.8" in page.read_text()
    assert {path.stem for path in (tmp_path / "figures").glob("*.svg")} == {"tasks", "bytes", "energy", "runs"}
    assert "<dt>Seeds</dt><dd>2, 10</dd>" in page.read_text()
    assert (
        len(re.findall("<summary>memory.images=(?:20|100)/seed(?:2|10)/config.yaml</summary>", page.read_text())) == 4
    )


def test_a_sweep_is_compared_with_another_run_as_one_more_point(tmp_path: Path):
    one = replay_run(tmp_path / "one", seed=7)
    compare([swept(tmp_path / "many"), one], tmp_path / "out")
    rows = pandas.read_csv(tmp_path / "out/tables/every-point.csv")
    assert list(dict.fromkeys(rows["point"])) == ["many/memory.images=20", "many/memory.images=100", "one"]


def test_a_sweep_of_other_data_is_refused(tmp_path: Path):
    home = swept(tmp_path)
    file = home / "memory.images=20/seed10/results.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"data": ["other"]}))
    with pytest.raises(InputError, match=r"seed2 and .*seed10 cannot be averaged: data is"):
        write(home)
    assert not (home / "report.html").exists()


def test_accuracy_is_set_against_what_rows_differ_in():
    rows = [
        {
            "name": f"r{n}", "mean": Spread((0.5 + 0.1 * n,)), "memory_bytes": 100 * (n + 1),
            "synops_per_image": Spread((7.0,)),
        }
        for n in range(3)
    ]  # fmt: skip
    with style.applied():
        (drawing,) = trade_offs({"": rows}, "mean", lambda row: row["name"])
        style.files(drawing.figure)
        told = [text for _, _, text in marks(drawing.figure)]
    assert drawing.name == "bytes"
    assert told == [
        "r0\naccuracy: 50.0 %\nbytes of memory, labels included: 100",
        "r1\naccuracy: 60.0 %\nbytes of memory, labels included: 200",
        "r2\naccuracy: 70.0 %\nbytes of memory, labels included: 300",
    ]


def test_places_of_values_are_those_of_the_drawing():
    with style.applied():
        figure, (axes,) = style.panels(1, 3.0)
        axes.plot([1, 2], [10, 20], color=style.BLUE, label="line")
        axes.plot(range(1000), range(1000), label="texture")
        axes.axhline(5, label="no point")
        axes.set(xlim=(0, 4), ylim=(0, 40))
        svg = style.files(figure)["svg"].decode()
        (one, two) = marks(figure)
    assert [text for _, _, text in (one, two)] == ["line\n10\n1", "line\n20\n2"]
    drawn = re.search(r'<path d="M ([\d.]+) ([\d.]+) \nL ([\d.]+) ([\d.]+) \n" clip-path[^>]*stroke: #0072b2', svg)
    assert drawn is not None
    assert [*one[:2], *two[:2]] == pytest.approx([float(each) for each in drawn.groups()], abs=0.06)


def test_bars_on_a_logarithmic_scale_tell_what_they_are_of():
    with style.applied():
        figure, (axes,) = style.panels(1, 3.0)
        style.bars(axes, np.arange(3), np.array([0, 40, 12]), 0.8, 0.5)
        style.files(figure)
    assert [text for _, _, text in marks(figure)] == ["40\n1", "12\n2"]


def test_fusion_is_set_against_energy_where_its_rows_have_it(tmp_path: Path):
    run = fusion_run(tmp_path / "run", extras=False)
    results = json.loads((run / "results.json").read_text())
    for n, row in enumerate(results["rows"]):
        row["synops_per_image"] = 1_000_000 * (n + 1)
    (run / "results.json").write_text(json.dumps(results))
    assert "Accuracy against energy" in write(run).read_text()
