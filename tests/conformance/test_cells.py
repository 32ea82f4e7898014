"""Every network with every method: what each cell must do, and a sentence for each that has no meaning."""

import re
from functools import cache

import numba
import numpy as np
import pytest
from conformance_parts import CELLS, METHODS, NETWORKS, small_stream, stream_of

import spikelore as sl
from spikelore.continual.method import NEEDED
from spikelore.data.examples import concatenated

FORGETFUL = ("surrogate", "recurrent", "wrapped")
"""Networks that gradients teach: a new task wipes out the old one unless something of it is stored."""

STORING = (
    "joint",
    "experience replay",
    "gdumb",
    "der++",
    "latent replay",
    "decay, replay",
    "fusion, then replay",
    "nearest prototype",
    "slda",
    "nearest subspace",
)
"""Methods that store something of it, or see all at once."""

RUNNING = 123
"""Cells that run; with a network or method more, this number is another."""

OTHERS = {
    ("surrogate", "published replay"): "published replay has the readout 'spikes' alone, and the network 'drive'",
    ("recurrent", "published replay"): "published replay has the readout 'spikes' alone, and the network 'mean'",
    ("recurrent", "pseudo-rehearsal"): "pseudo-rehearsal draws images, and the network's inputs are of shape (24,)",
    ("recurrent", "sleep"): (
        "sleep needs fully connected layers of spiking neurons that noise can drive, which RecurrentNetwork does not "
        "have"
    ),
    ("wrapped", "sleep"): (
        "sleep needs fully connected layers of spiking neurons that noise can drive, which Rates does not have"
    ),
    **{
        ("wrapped", name): f"{name} needs a network with features and head, which Rates does not have"
        for name in ("latent replay", "nearest prototype", "slda", "nearest subspace")
    },
}
"""Sentences of holes that are no missing capability."""


@cache
def made(network: str):
    return NETWORKS[network](stream_of(network))


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
    lacks = "|".join(re.escape(words) for words, _ in NEEDED.values())
    expected = rf"{re.escape(METHODS[method].name)} needs ({lacks}), which a {network} network does not have"
    if (network, method) in OTHERS:
        expected = re.escape(OTHERS[network, method])
    assert re.fullmatch(expected, reason), reason
    with pytest.raises(sl.InputError, match=r"choose another method or network"):
        sl.run(stream_of(network), NETWORKS[network](stream_of(network)), METHODS[method])


class _Stop(sl.Callback):
    def on_task(self, run, task):
        if task == 0:
            raise KeyboardInterrupt


def kept(learner) -> tuple[int, int]:
    """Count examples and bytes of earlier tasks in a learner's state: the arrays themselves, and a byte a label."""
    images = size = 0
    for name, array in learner.state_dict()[0].items():
        folder, _, what = name.partition("/")
        if folder in ("memory", "store", "batches", "sample") and what in ("rows", "extras", "labels"):
            size += array.size if what == "labels" else array.nbytes
            images += array.size if what == "labels" and folder != "sample" else 0
        elif name in ("way/images", "way/labels"):
            size += array.size if what == "labels" else array.nbytes
        elif (
            folder in ("fisher", "importance", "anchor", "path", "old", "statistics", "subspace", "seen")
            or name in ("way/lower", "way/upper", "way/frozen")
            or name == "units/weights"
        ):
            size += array.nbytes
    return images, size


class _Saves(sl.Callback):
    """A state may be saved after any batch, and numbers in it that are not finite would be taken for a failure."""

    def __init__(self) -> None:
        self.tasks: set[int] = set()

    def on_batch(self, run, inputs, loss):
        if run.position.task in self.tasks:
            return
        self.tasks.add(run.position.task)
        for name, array in run.state_dict()[0].items():
            if not name.startswith("run/") and name != "memory/extras" and array.dtype.kind == "f":
                assert (np.isfinite(array) | (array == -np.inf)).all(), name


@pytest.mark.parametrize(("network", "method"), CELLS)
def test_cell(network: str, method: str, tmp_path) -> None:
    if hole(network, method):
        pytest.skip("a hole")
    stream, told = stream_of(network), METHODS[method]
    whole = sl.ContinualRun(stream, NETWORKS[network](stream), told, seed=0, callbacks=[_Saves()])
    result = whole.finish()

    matrix = result.accuracy_matrix
    if network not in FORGETFUL or method in STORING:
        assert result.average_accuracy > 0.35, matrix  # chance is .25 of four classes
    assert matrix[0, 0] > 0.75, matrix
    assert np.isfinite(matrix[np.tril_indices_from(matrix)] if matrix.shape[0] > 1 else matrix).all()
    assert (result.memory_images, result.memory_bytes) == kept(whole.learner)
    if result.cost is not None:
        assert result.cost.synaptic_operations > 0
    else:
        assert network == "wrapped"

    # Decisions do not depend on how a batch is cut.
    images = concatenated([task.test for task in stream.tasks]).inputs[::3]
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


@pytest.mark.parametrize("network", ["first-spike", "rate-lif"])
def test_other_numbers_of_threads_give_the_same_bytes(network: str) -> None:
    """Not where torch multiplies, whose sums depend on the number of threads."""
    most, stream = numba.get_num_threads(), small_stream()
    found = []
    for threads in (1, most):
        numba.set_num_threads(threads)
        try:
            run = sl.ContinualRun(stream, NETWORKS[network](stream), METHODS["experience replay"], seed=0)
            run.finish()
        finally:
            numba.set_num_threads(most)
        found.append(run.learner.state_dict())
    (one, told), (more, also_told) = found
    assert told == also_told
    assert one.keys() == more.keys()
    for name, array in one.items():
        assert array.tobytes() == more[name].tobytes(), name
