"""The replay report's tables."""

from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from spikelore.report.replay import _confusion, _gathered, _label
from spikelore.report.runs import Run


def gathered_of(*rows):
    return _gathered([cast(Run, SimpleNamespace(results={"rows": list(rows)}))])


def test_published_averages_become_numbers_beside_ours():
    row = {
        "scenario": "class-incremental", "method": "naive", "preset": "published", "memory_images": 0,
        "memory_bytes": 0,
        "average_accuracies": [0.99, 0.7], "published_averages": [0.998, 0.708], "average_accuracy": 0.7,
        "forgetting": 0.5, "backward_transfer": -0.5, "spikes_per_image": 10.0, "synops_per_image": 100.0,
        "seconds": 1.0, "faults": ["heads not replayed"],
    }  # fmt: skip
    (gathered,) = gathered_of(row)
    assert gathered["after 2"].mean == 0.7
    assert gathered["published 2"].mean == 0.708


def test_learners_on_other_networks_have_rows_of_their_own_that_say_so():
    row = {
        "scenario": "class-incremental", "method": "gdumb", "preset": "own", "memory_images": 0, "memory_bytes": 0,
        "average_accuracies": [0.9], "average_accuracy": 0.9,
    }  # fmt: skip
    networks = (None, "surrogate", "rate-lif", "first-spike", "rate-lif")
    rows = [{**row, "network": name} if name else row for name in networks]
    assert [_label(each) for each in gathered_of(*rows)] == ["GDumb", "GDumb, rate-lif", "GDumb, first-spike"]


def test_learners_of_one_budget_of_bytes_are_averaged_however_many_examples_it_held():
    row = {
        "scenario": "class-incremental", "method": "gdumb", "preset": "own", "storage": "spikes", "label": "coded",
        "average_accuracies": [0.9],
    }  # fmt: skip
    rows = [
        {**row, "budget": budget, "memory_images": held, "memory_bytes": budget - held, "average_accuracy": accuracy}
        for budget, held, accuracy in ((1000, 10, 0.8), (1000, 13, 0.9), (2000, 20, 0.95))
    ]
    first, second = gathered_of(*rows)
    assert [first["memory_bytes"], first["memory_images"], first["average_accuracy"].values] == [1000, 12, (0.8, 0.9)]
    assert [second["memory_bytes"], second["memory_images"]] == [2000, 20]


@pytest.mark.parametrize(("classes", "names"), [({"classes": [7, 3]}, ["3", "7"]), ({}, ["0", "1"])])
def test_the_confusion_figure_names_the_streams_classes(classes, names):
    row = {
        "scenario": "class-incremental", "method": "naive", "preset": "best", "memory_images": 0, "seed": 0, **classes,
    }  # fmt: skip
    run = SimpleNamespace(results={"rows": [row]}, arrays={"confusion/0/0": np.eye(2, 3, dtype=np.int64)})
    drawing = _confusion(run)  # type: ignore[arg-type]
    assert drawing is not None
    assert [text.get_text() for text in drawing.figure.axes[0].get_xticklabels()] == names
