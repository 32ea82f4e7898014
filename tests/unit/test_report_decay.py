"""The decay experiment's page: numbers in its tables, and one figure for each thing it promises."""

import numpy as np
import pytest

from spikelore.report import decay, style
from spikelore.report.runs import Run

SETS = ("white", "blurred", "known", "unknown")
NETWORK = {
    "weight_max": 0.05, "dt_ms": 0.5, "active_ms": 20.0, "threshold_mode": "hold", "threshold_rest_mv": -52.0,
}  # fmt: skip


def results(scale=1.0):
    spikes = {"white": 1000, "blurred": 2000, "known": 400, "unknown": 300}
    left = {"white": 0.0, "blurred": 0.002, "known": 0.9, "unknown": 0.5}
    after = {name: round(scale * spikes[name] * left[name]) for name in SETS}
    shares = {"accuracy": 0.9, "validation": 0.9, "unrecognised": 0.01, "faded": 0.1}
    return {
        "experiment": "decay",
        "data": ["mnist 7,4", "unknown 9"],
        "seed": 0,
        "rows": [
            {
                "preset": "best", "method": "unused decay, online", "set": name, "spikes_without": spikes[name],
                "spikes_with": after[name], "left": after[name] / spikes[name],
            }
            for name in SETS
        ],
        "accuracy": [
            {"preset": "best", "decay": "without", "accuracy": 0.9, "unrecognised": 0.01},
            {"preset": "best", "decay": "with", "accuracy": 0.95, "unrecognised": 0.02},
        ],
        "methods": [
            {"preset": "best", "method": "none", "spikes": spikes, **shares},
            {"preset": "best", "method": "unused decay, online", "spikes": after, **shares, "accuracy": 0.95},
        ],
    }  # fmt: skip


def arrays():
    rng = np.random.default_rng(0)
    kept = {"best/classes": np.array([7, 7, 4, 4]), "best/shape": np.array([3, 3]), "best/label": np.array([4])}
    kept["best/fired"] = np.array([1, 5, 9, 2])
    for when in ("without", "with"):
        kept[f"best/weights/{when}"] = rng.uniform(0, 0.05, (9, 4))
        for image in ("known", "white"):
            stem = f"best/{image}/{when}"
            silent = image == "white" and when == "with"
            kept[f"{stem}/input_spikes"] = np.array([[1, 0], [7, 8]])
            kept[f"{stem}/exc_spikes"] = np.empty((0, 2), np.int64) if silent else np.array([[5, 2], [20, 2], [9, 0]])
            kept[f"{stem}/inh_spikes"] = kept[f"{stem}/exc_spikes"]
            kept[f"{stem}/time_ms"] = np.arange(20.0)
            kept[f"{stem}/exc_potential_mv"] = rng.uniform(-65, -52, (20, 4))
            kept[f"{stem}/adaptive_threshold_mv"] = rng.uniform(-52, -45, (20, 4))
    return kept


def metrics():
    shares = {"train": 0.5, "silent": 0.0, "mean_weight": 0.02, "faded": 0.1, "histogram": [3, 2, 1, 0]}
    return [
        {"training": name, "images": images, **shares}
        for name in ("best_without", "best_with", "best_l2_6e+06")
        for images in (500, 1000)
    ]


def run(scale=1.0, **changes):
    kept = {
        "path": None, "results": results(scale), "config_text": "", "config": {"best": {"network": NETWORK}},
        "environment": {}, "metrics": metrics(), "arrays": arrays(),
    }  # fmt: skip
    return Run(**{**kept, **changes})


@pytest.fixture(autouse=True)
def _style():
    with style.applied():
        yield


def texts(table):
    return [[cell.text for cell in line] for _, lines in table.groups for line in lines]


def test_the_tables_of_a_run():
    spikes, methods = decay.content([run()]).tables
    assert texts(spikes) == [
        ["white noise", "1,000", "0", "0.0"],
        ["blurred noise", "2,000", "4", "0.200"],
        ["known classes", "400", "360", "90.0"],
        ["unknown classes", "300", "150", "50.0"],
    ]
    assert texts(methods) == [
        ["none", "90.0", "1.0", "10.0", "100.0", "100.0", "100.0", "100.0"],
        ["unused decay, online", "95.0", "1.0", "10.0", "0.0", "0.200", "90.0", "50.0"],
    ]


def test_several_runs_give_mean_and_deviation():
    content = decay.content([run(1.0), run(0.5)])
    spikes, _ = content.tables
    assert texts(spikes)[2] == ["known classes", "400 ± 0", "270 ± 127", "67.5 ± 31.8"]
    assert [drawing.name for drawing in content.drawings] == ["runs", "spikes"]
    assert content.highlights[0] == ("95.0 ± 0.0 %", "accuracy with decay, best preset (90.0 ± 0.0 % without)")


def test_every_promised_figure_is_drawn():
    content = decay.content([run()])
    assert [drawing.name for drawing in content.drawings] == [
        "spikes", "weights", "weights_training", "training", "raster", "threshold",
    ]  # fmt: skip
    for drawing in content.drawings:
        assert len(style.files(drawing.figure)["pdf"]) > 5000
    weights = next(drawing for drawing in content.drawings if drawing.name == "weights").figure
    assert [axes.get_title() for axes in weights.axes if axes.get_title()] == [
        "class 7, neuron 1", "class 4, neuron 2",
    ] * 2  # fmt: skip
    shown = weights.axes[0].get_images()[0].get_array()
    np.testing.assert_array_equal(shown, arrays()["best/weights/without"][:, 1].reshape(3, 3))


def test_a_run_without_arrays_or_metrics_still_has_its_tables():
    content = decay.content([run(arrays={}, metrics=[])])
    assert [drawing.name for drawing in content.drawings] == ["spikes"]
    assert len(content.tables) == 2
