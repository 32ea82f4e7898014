"""Every network with every method: what each cell must do, and a sentence for each that has no meaning."""

from functools import cache

import numpy as np
import pytest
from conformance_parts import CELLS, METHODS, NETWORKS, small_stream

import spikelore as sl

FORGETFUL = ("surrogate", "wrapped")
"""Networks that gradients teach: a new task wipes out the old one unless something of it is stored."""

STORING = ("joint", "experience replay", "gdumb", "der++", "latent replay", "decay, replay", "fusion, then replay")
"""Methods that store something of it, or see all at once."""

RUNNING = 68
"""Cells that run; with a network or method more, this number is another."""


@cache
def made(network: str):
    return NETWORKS[network](small_stream())


@cache
def hole(network: str, method: str) -> str | None:
    return sl.why_not(METHODS[method], made(network))


def test_number_of_cells_that_run() -> None:
    assert sum(hole(*cell) is None for cell in CELLS) == RUNNING


@pytest.mark.parametrize(("network", "method"), CELLS)
def test_a_hole_has_a_sentence_and_is_refused_with_it(network: str, method: str) -> None:
    reason = hole(network, method)
    if reason is None:
        return
    assert METHODS[method].name in reason
    with pytest.raises(sl.InputError, match=r"choose another method or network"):
        sl.run(small_stream(), NETWORKS[network](small_stream()), METHODS[method])


class _Stop(sl.Callback):
    def on_task(self, run, task):
        if task == 0:
            raise KeyboardInterrupt


def _running() -> list[tuple[str, str]]:
    return [cell for cell in CELLS if hole(*cell) is None]


@pytest.mark.parametrize(("network", "method"), CELLS)
def test_cell(network: str, method: str, tmp_path) -> None:
    if hole(network, method):
        pytest.skip("a hole")
    stream, told = small_stream(), METHODS[method]
    whole = sl.ContinualRun(stream, NETWORKS[network](stream), told, seed=0)
    result = whole.finish()

    matrix = result.accuracy_matrix
    if network not in FORGETFUL or method in STORING:
        assert result.average_accuracy > 0.35, matrix  # chance is .25 of four classes
    assert matrix[0, 0] > 0.75, matrix
    assert np.isfinite(matrix[np.tril_indices_from(matrix)] if matrix.shape[0] > 1 else matrix).all()
    assert result.memory_bytes >= result.memory_images >= 0
    if result.cost is not None:
        assert result.cost.synaptic_operations > 0
    else:
        assert network == "wrapped"

    # Decisions do not depend on how a batch is cut.
    images = np.concatenate([task.test.images for task in stream.tasks])[::3]
    with whole.learner.asked():
        together = whole.learner.decide(images, stream.classes)
        apart = [whole.learner.decide(images[part], stream.classes) for part in (slice(0, 7), slice(7, None))]
    np.testing.assert_array_equal(together, np.concatenate(apart))

    # Stopped after the first task and gone on in fresh objects: the same numbers, the same bytes.
    state = tmp_path / "state.safetensors"
    with pytest.raises(KeyboardInterrupt):
        sl.run(stream, NETWORKS[network](stream), told, seed=0, callbacks=[_Stop()], state=state)
    again = sl.run(stream, NETWORKS[network](stream), told, seed=0, state=state)
    np.testing.assert_array_equal(again.accuracy_matrix, matrix)
    assert again.row() | {"seconds": 0} == result.row() | {"seconds": 0}
