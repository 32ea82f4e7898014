import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from spikelore import folders, report
from spikelore.errors import InputError
from spikelore.experiments import config_file, sweep
from spikelore.folders import Writer


def write(folder, seed, rows):
    folder.mkdir()
    results = {
        "experiment": "decay",
        "data": ["x"],
        "seed": seed,
        "seconds": 1.0,
        "versions": {},
        "rows": rows,
        "list": [1],
    }
    (folder / "results.json").write_text(json.dumps(results))
    return folder


def test_rows_of_seeds_are_matched_by_their_texts_and_equal_texts_by_order(tmp_path):
    first = [
        {"set": "white", "left": 0.1, "spikes": {"known": 10}, "none": None},
        {"set": "known", "left": 0.8},
        {"set": "known", "left": 0.4},
    ]
    second = [
        {"set": "known", "left": 0.6},
        {"set": "known", "left": 0.2},
        {"set": "white", "left": 0.3, "spikes": {"known": 30}, "none": 5},
    ]
    folders = [write(tmp_path / "a", 0, first), write(tmp_path / "b", 1, second)]
    found = sweep._over_seeds(folders)
    assert found["seeds"] == [0, 1]
    assert [row["set"] for row in found["rows"]] == ["white", "known", "known"]
    white, large, small = found["rows"]
    assert white["left"]["mean"] == pytest.approx(0.2)
    assert white["left"]["deviation"] == pytest.approx(np.sqrt(0.02), abs=1e-6)
    assert white["spikes.known"]["values"] == [10, 30]
    assert white["none"] == {"mean": 5.0, "deviation": None, "values": [5]}
    assert large["left"]["values"] == [0.8, 0.6]
    assert small["left"]["values"] == [0.4, 0.2]
    assert "list" not in found


@pytest.fixture
def told(monkeypatch, tmp_path):
    """A configuration whose runs only note themselves; return the notes."""
    runs = []

    def execute(config, out, data_dir, *, resume):
        runs.append((config.label, config.seed, out.as_posix()))
        (out / "results.json").parent.mkdir(parents=True)
        (out / "results.json").write_text("{}")

    monkeypatch.setattr(config_file, "execute", execute)
    monkeypatch.setattr(report, "write", lambda out: (out / "report.html").write_text("page"))
    monkeypatch.setattr(folders, "_WAIT_SECONDS", 0.1)
    monkeypatch.chdir(tmp_path)
    Path("replay.yaml").write_text("experiment: replay\nmemory: {images: 8}\n")
    return runs


def start(grid=(), *, resume=False):
    return sweep.sweep(Path("replay.yaml"), grid, 1, Path("swept"), None, resume=resume, ray=None)


def test_a_sweep_goes_into_an_empty_folder_of_ones_own_and_into_no_other(told):
    Path("swept").mkdir()
    assert start() == [Path("swept/all/seed0/report.html")]
    assert told == [("", 0, "swept/all/seed0")]
    with pytest.raises(InputError, match="swept already exists; pass --resume"):
        start()
    assert sorted(os.listdir("swept")) == ["all"]


def test_a_sweep_that_was_stopped_between_a_run_and_its_page_writes_the_page(told):
    start()
    Path("swept/all/seed0/report.html").unlink()
    start(resume=True)
    assert len(told) == 1
    assert Path("swept/all/seed0/report.html").exists()


def test_a_folder_has_one_sweep_at_a_time(told):
    with Writer(Path("swept")), ThreadPoolExecutor(1) as pool:
        sweeping = pool.submit(start, resume=True)
        with pytest.raises(InputError, match="swept is being written to by another process"):
            sweeping.result()
    assert told == []
    assert not Path("swept").exists()


def test_runs_stay_in_the_folder_whatever_the_values_are(told):
    start(["label=/../../x,a%2Fb,a/b"])
    assert told == [
        ("/../../x", 0, "swept/label=%2F..%2F..%2Fx/seed0"),
        ("a%2Fb", 0, "swept/label=a%252Fb/seed0"),
        ("a/b", 0, "swept/label=a%2Fb/seed0"),
    ]
