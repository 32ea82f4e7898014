"""What does not fit is refused in one sentence, and what was measured before is kept, on every network."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
from conformance_parts import NAIVE, NETWORKS, STEPS, small_stream

import spikelore as sl
from spikelore.data import Examples

OURS = ["surrogate", "first-spike", "rate-lif"]


def one_sentence(error: pytest.ExceptionInfo[BaseException]) -> str:
    text = str(error.value)
    assert text
    assert "\n" not in text
    assert not text.endswith(".")
    return text


@pytest.fixture(params=NETWORKS)
def network(request):
    return NETWORKS[request.param](small_stream())


@pytest.fixture
def learner(network):
    return NAIVE.start(network, seed=0, tasks=2)


def batch() -> tuple[Any, Any]:
    train = small_stream().tasks[0].train
    return train.inputs[:8], train.labels[:8]


@pytest.mark.parametrize(
    "wrong",
    [
        lambda images, labels: (images[:, :20], labels),
        lambda images, labels: (images / 255.0, labels),
        lambda images, labels: (images, labels[:-1]),
        lambda images, labels: (images, labels + 0.5),
        lambda images, labels: (images, labels + 7),
    ],
    ids=["shape of images", "kind of images", "number of labels", "kind of labels", "unknown class"],
)
def test_a_batch_that_does_not_fit(wrong: Callable[..., Any], learner, network):
    before = {name: np.asarray(value).copy() for name, value in network.state_dict().items()}
    with pytest.raises(sl.InputError) as error:
        learner.learn(*wrong(*batch()), 0)
    one_sentence(error)
    for name, value in network.state_dict().items():
        np.testing.assert_array_equal(np.asarray(value), before[name])
    learner.learn(*batch(), 0)  # goes on


@pytest.mark.parametrize("name", NETWORKS)
def test_a_stream_with_a_class_that_the_network_does_not_have(name):
    other = sl.split_stream("digits-sample", [(0, 1), (5, 6)])
    with pytest.raises(sl.InputError, match=r"^the stream has class 5, expected some of .*\[0, 1, 2, 3\]") as error:
        sl.run(other, NETWORKS[name](small_stream()), NAIVE)
    one_sentence(error)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_stream_of_another_shape(name):
    def cut(images):
        return Examples(images.inputs[:, :20], images.labels)

    tasks = [
        sl.Task(task.name, task.classes, cut(task.train), cut(task.validation), cut(task.test))
        for task in small_stream().tasks
    ]
    with pytest.raises(sl.InputError, match=r"^the stream's inputs are of shape \(20, 28\), expected \(28, 28\)"):
        sl.run(sl.Stream("class-incremental", tuple(tasks)), NETWORKS[name](small_stream()), NAIVE)


@pytest.mark.parametrize("mine", OURS)
@pytest.mark.parametrize("other", OURS)
def test_a_checkpoint_of_another_network(mine, other, tmp_path):
    stream = small_stream()
    path = tmp_path / "network.safetensors"
    network = NETWORKS[mine](stream)
    network.save(str(path))
    kind = type(NETWORKS[other](stream))
    if mine == other:
        assert kind.load(str(path)).classes == sl.load(path).classes == network.classes
        return
    with pytest.raises(sl.InputError) as error:
        kind.load(path)
    assert str(path) in one_sentence(error)


def test_a_file_that_is_no_checkpoint(tmp_path):
    path = tmp_path / "network.safetensors"
    path.write_bytes(b"no")
    with pytest.raises(sl.InputError) as error:
        sl.load(path)
    assert str(path) in one_sentence(error)


@dataclass(frozen=True, kw_only=True)
class Fails(sl.Method):
    """A method of somebody else's that fails in its second task."""

    name: ClassVar[str] = "fails"
    how: Callable[[], float]

    def start(self, network, *, seed=0, tasks=1):
        learner = NAIVE.start(network, seed=seed, tasks=tasks)
        learn = learner.learn
        learner.learn = lambda images, labels, task: self.how() if task == 1 else learn(images, labels, task)
        return learner


def _raises() -> float:
    raise ZeroDivisionError("by nothing")


@pytest.mark.parametrize(
    ("how", "says"),
    [
        (_raises, "fails stopped at task 2 of 2, epoch 1, batch 1: ZeroDivisionError: by nothing; the results of 1 "),
        (lambda: float("nan"), "fails stopped at task 2 of 2, epoch 1, batch 1: the loss is nan, expected a number"),
    ],
    ids=["raises", "nan"],
)
@pytest.mark.parametrize("name", NETWORKS)
def test_a_method_that_fails_in_mid_stream(name, how, says):
    stream = small_stream()
    with pytest.raises(sl.StoppedError, match=f"^{re.escape(says)}") as error:
        sl.run(stream, NETWORKS[name](stream), Fails(how=how, **STEPS))
    one_sentence(error)
    kept = error.value.result
    assert kept is not None
    assert kept.accuracy_matrix.shape == (1, 1)
    assert kept.accuracy_matrix[0, 0] > 0.75


@pytest.mark.parametrize("name", OURS[1:])
def test_decisions_that_are_no_labels(name, monkeypatch):
    stream = small_stream()
    network = NETWORKS[name](stream)
    monkeypatch.setattr(type(network), "predict", lambda self, inputs, among=(): np.full(len(inputs), np.nan))
    with pytest.raises(sl.StoppedError, match=r"gave float64 of shape \(40,\), expected 40 labels") as error:
        sl.run(stream, network, NAIVE)
    one_sentence(error)
