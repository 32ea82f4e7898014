"""The decay experiment's page: numbers in its tables, and one figure for each thing it promises."""

import numpy as np
import pytest

from run_folders import DECAY_NETWORK as NETWORK
from run_folders import decay_arrays as arrays
from run_folders import decay_metrics as metrics
from run_folders import decay_results as results
from spikelore.report import decay, style
from spikelore.report.runs import Run


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
