"""What does not fit is refused in one sentence, and what was measured before is kept, on every network."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
from conformance_parts import NAIVE, NETWORKS, STEPS, small_stream, stream_of

import spikelore as sl
from spikelore.data import Events, Examples

OURS = ["surrogate", "first-spike", "rate-lif"]


def one_sentence(error: pytest.ExceptionInfo[BaseException]) -> str:
    text = str(error.value)
    assert text
    assert "\n" not in text
    assert not text.endswith(".")
    return text


@pytest.fixture(params=NETWORKS)
def name(request):
    return request.param


@pytest.fixture
def batch(name):
    train = stream_of(name).tasks[0].train
    return train.inputs[:8], train.labels[:8]


def of_another_shape(inputs: Any) -> Any:
    if isinstance(inputs, Events):
        return Events(inputs.times_us, inputs.units % 12, inputs.offsets, (12,))
    return inputs[:, :20]


def of_another_kind(inputs: Any) -> Any:
    return (inputs.bins(10, 10_000) if isinstance(inputs, Events) else inputs) / 255.0


def changed(stream: sl.Stream, change: Callable[[Examples], Examples], second: tuple[int, ...] = (2, 3)) -> sl.Stream:
    """Return the stream with its tasks' examples changed, and the second one of other classes."""
    tasks = [
        sl.Task(task.name, classes, change(task.train), change(task.validation), change(task.test))
        for task, classes in zip(stream.tasks, ((0, 1), second), strict=True)
    ]
    return sl.Stream("class-incremental", tuple(tasks))


@pytest.mark.parametrize(
    "wrong",
    [
        lambda inputs, labels: (of_another_shape(inputs), labels),
        lambda inputs, labels: (of_another_kind(inputs), labels),
        lambda inputs, labels: (inputs, labels[:-1]),
        lambda inputs, labels: (inputs, labels + 0.5),
        lambda inputs, labels: (inputs, labels + 7),
    ],
    ids=["shape of inputs", "kind of inputs", "number of labels", "kind of labels", "unknown class"],
)
def test_a_batch_that_does_not_fit(wrong: Callable[..., Any], name, batch):
    network = NETWORKS[name](stream_of(name))
    learner = NAIVE.start(network, seed=0, tasks=2)
    before = {part: np.asarray(value).copy() for part, value in network.state_dict().items()}
    with pytest.raises(sl.InputError) as error:
        learner.learn(*wrong(*batch), 0)
    one_sentence(error)
    for part, value in network.state_dict().items():
        np.testing.assert_array_equal(np.asarray(value), before[part])
    learner.learn(*batch, 0)  # goes on


def test_a_stream_with_a_class_that_the_network_does_not_have(name):
    def renamed(examples):
        return Examples(examples.inputs, np.where(examples.labels > 1, examples.labels + 3, examples.labels))

    other = changed(stream_of(name), renamed, (5, 6))
    with pytest.raises(sl.InputError, match=r"^the stream has class 5, expected some of .*\[0, 1, 2, 3\]") as error:
        sl.run(other, NETWORKS[name](stream_of(name)), NAIVE)
    one_sentence(error)


def test_a_stream_of_another_shape(name):
    stream = stream_of(name)
    other = changed(stream, lambda examples: Examples(of_another_shape(examples.inputs), examples.labels))
    shapes = "(12,), expected (24,)" if name == "recurrent" else "(20, 28), expected (28, 28)"
    with pytest.raises(sl.InputError, match=f"^the stream's inputs are of shape {re.escape(shapes)}"):
        sl.run(other, NETWORKS[name](stream), NAIVE)


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
        learner.learn = lambda inputs, labels, task: self.how() if task == 1 else learn(inputs, labels, task)
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
def test_a_method_that_fails_in_mid_stream(name, how, says):
    stream = stream_of(name)
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
