"""The page of the ways not to forget: labels of the map, published points, runs of before."""

import json
from pathlib import Path

import numpy as np
import pytest
from matplotlib.text import Text

from spikelore.files import save_tensors
from spikelore.report import compare, local, style, write
from spikelore.report.runs import read

WAYS = {
    "frozen": "frozen",
    "langevin": "langevin",
    "inhibition": "lateral inhibition",
    "templates": "protected templates",
}


@pytest.mark.parametrize("apart", [0.2, 0.02, 0.004])
def test_labels_do_not_cover_each_other_and_stay_inside(apart):
    points = apart * np.random.default_rng(0).random((10, 2)) + 0.7
    with style.applied():
        figure, (axes,) = style.panels(1, 5.0)
        axes.scatter(*points.T)
        axes.set(xlim=(0.6, 1), ylim=(0.6, 1))
        style.labels(axes, [(x, y, f"a way of name {n}") for n, (x, y) in enumerate(points)])
        figure.draw_without_rendering()
        renderer = figure._get_renderer()
        found = [Text.get_window_extent(each, renderer) for each in axes.texts]
    assert len(found) == 10
    for n, one in enumerate(found):
        assert one.count_overlaps(found[:n]) == 0
        assert axes.bbox.x0 <= one.x0
        assert one.x1 <= axes.bbox.x1
    near = [each.xyann for each in axes.texts]
    assert len({*near}) > 1


def make_run(path: Path, *, moves: bool = True, epochs: int = 100, seed: int = 0) -> Path:
    """Write the files of a finished run of some ways."""
    path.mkdir(parents=True)
    rows, choices, lines, arrays = [], [], [], {}
    for n, (part, name) in enumerate(WAYS.items()):
        digits, letters = 0.7 + 0.05 * n + seed / 100, 0.8 + 0.02 * n
        preset = "best" if part == "templates" else "published"
        row = {"name": name, "preset": preset, "digits": digits, "letters": letters, "mean": (digits + letters) / 2,
               "stored_images": 0, "epoch": 3}  # fmt: skip
        rows.append(row)
        choices += [{"choice": each, **row} for each in ("validation", "test", "last")]
        lines += [{"part": part, "stage": "decision", "epoch": e, "digits_test": digits, "letters_test": letters}
                  for e in (1, 2, 3)]  # fmt: skip
        arrays[f"{name}/moved"] = np.linspace(0, 0.1 * n, 10, dtype=np.float32)
    arrays["langevin/sampled/levels"] = np.linspace(0.2, 0.8, 61, dtype=np.float32)
    arrays["langevin/sampled/counts"] = np.eye(3, 61, 30, dtype=np.uint16) * 12
    arrays["langevin/sampled/deciles"] = np.tile(np.array([0.4, 0.5, 0.55], np.float32), (3, 1))
    arrays["langevin/sampled/widths"] = np.bincount([0, 1, 1, 15], minlength=61)
    numbers = {name: 0.9 for name in local._MOVES}
    results = {
        "experiment": "local", "seed": seed, "seconds": 10.0, "data": ["mnist", "letters"], "versions": {},
        "rows": rows, "choices": choices, "task_1": [],
        **({"moves": [{"name": row["name"], "preset": row["preset"], **numbers} for row in rows]} if moves else {}),
    }  # fmt: skip
    (path / "results.json").write_text(json.dumps(results))
    ways = "".join(f"- {part}\n" for part in WAYS)
    (path / "config.yaml").write_text(f"experiment: local\nepochs_second: {epochs}\nways:\n{ways}")
    (path / "environment.json").write_text(json.dumps({"platform": "test", "cores": 1}))
    (path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    if moves:
        save_tensors(path / "arrays.safetensors", arrays, {})
    return path


def test_published_points_stand_in_the_panels_of_runs_at_their_size(tmp_path):
    page = write(make_run(tmp_path / "run")).read_text()
    assert r"mnist, published\nright, test images: 80.6 %\n" in page
    other = make_run(tmp_path / "short", epochs=20)
    assert ", published" not in write(other).read_text()
    assert local._published(read(other), "frozen") == []


def test_what_was_kept_of_weights_is_drawn_and_told(tmp_path):
    run = make_run(tmp_path / "run")
    page = write(run).read_text()
    assert {file.stem for file in (run / "figures").glob("*.svg")} == {"map", "epochs", "moves", "sampled"}
    assert "A wide one: D90 - D10 = 0.15" in page
    table = (run / "tables/what-each-way-protects.csv").read_text()
    assert "frozen,90.0,90.0,90.0,90.0,0.900,0.900" in table


def test_runs_that_kept_nothing_of_weights_have_a_page_without_it(tmp_path):
    old, new = make_run(tmp_path / "old", moves=False), make_run(tmp_path / "new", seed=1)
    write(old)
    assert {file.stem for file in (old / "figures").glob("*.svg")} == {"map", "epochs"}
    compare([old, new], tmp_path / "both")
    assert not (tmp_path / "both/tables/what-each-way-protects.csv").exists()
    compare([new, make_run(tmp_path / "third", seed=2)], tmp_path / "two")
    assert (tmp_path / "two/tables/what-each-way-protects.csv").exists()
