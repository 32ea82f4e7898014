import json

import numpy as np
import pytest

from spikelore.experiments import sweep


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
