"""The library's runner: streams that get longer, what callbacks hear, what is refused."""

import pickle
from dataclasses import replace

import numpy as np
import pytest

import spikelore as sl
from spikelore.continual.run import began_with
from spikelore.experiments import stream_settings
from spikelore.files import load_tensors

METHODS = {
    "naive": sl.Naive(batch=8),
    "experience replay": sl.Replay(memory=sl.Memory(images=30), batch=8, replay_batch=8),
    "online decay": sl.OnlineDecay(base=sl.Naive(batch=8), tau_prune_images=200.0, period_images=40),
}
NETWORKS = {
    "surrogate": lambda stream: sl.SurrogateNetwork.for_stream(stream, channels=(4,), hidden=(), pool=4),
    "rate-lif": lambda stream: sl.RateLIFNetwork.for_stream(stream, neurons_per_class=4),
    "first-spike": sl.FirstSpikeNetwork.for_stream,
}


def stream_of(*groups: tuple[int, ...], **changes) -> sl.Stream:
    """Return a stream of 40 training and 10 test images a class."""
    whole = sl.split_stream("digits-sample", groups, **changes)

    def some(images, count):
        keep = [np.flatnonzero(images.labels == label)[:count] for label in np.unique(images.labels)]
        return images.take(np.sort(np.concatenate(keep)))

    tasks = [replace(task, train=some(task.train, 40), test=some(task.test, 10)) for task in whole.tasks]
    return replace(whole, tasks=tuple(tasks))


SHORT, LONG = stream_of((0, 1), (2,)), stream_of((0, 1), (2,), (3, 4))


class _StopIn(sl.Callback):
    """Stops a run in its last task."""

    def on_batch(self, run, inputs, loss):
        if run.position.task == 2 and run.position.batch == 3:
            raise KeyboardInterrupt


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("network", NETWORKS)
def test_a_run_goes_on_where_its_stream_is_lengthened(network, method, tmp_path):
    told, state = METHODS[method], tmp_path / "state.safetensors"
    short = sl.run(SHORT, NETWORKS[network](SHORT), told, state=state)
    with pytest.raises(KeyboardInterrupt):
        sl.run(LONG, NETWORKS[network](SHORT), told, callbacks=[_StopIn()], state=state)
    result = sl.run(LONG, NETWORKS[network](SHORT), told, state=state)
    np.testing.assert_array_equal(result.accuracy_matrix[:2, :2], short.accuracy_matrix)
    assert np.isfinite(result.accuracy_matrix[2]).all()
    assert result.classes == (0, 1, 2, 3, 4)
    assert [confusion.sum() for confusion in result.confusions] == [20, 30, 50]
    assert result.inputs_learned == 40 * 5
    assert began_with(load_tensors(state)[1]["run"]) == 2
    again = sl.run(LONG, NETWORKS[network](SHORT), told, state=state)  # nothing is left to learn
    assert again.row() | {"seconds": 0} == result.row() | {"seconds": 0}


def test_what_a_saved_run_cannot_go_on_with_is_refused(tmp_path):
    network = NETWORKS["rate-lif"]
    for number, method in enumerate((sl.Joint(batch=8), METHODS["naive"])):
        sl.run(SHORT, network(SHORT), method, state=tmp_path / f"{number}.safetensors")
    with pytest.raises(
        sl.InputError, match="mixes the inputs of its 2 tasks, expected a stream of as many; begin anew"
    ):
        sl.run(LONG, network(LONG), sl.Joint(batch=8), state=tmp_path / "0.safetensors")
    other = stream_of((0, 2), (1,))
    with pytest.raises(sl.InputError, match=r"has the classes \[\[0, 1\], \[2\]\], expected \[\[0, 2\], \[1\]\]"):
        sl.run(other, network(SHORT), METHODS["naive"], state=tmp_path / "1.safetensors")
    with pytest.raises(sl.InputError, match="has the seed 0, expected 1"):
        sl.run(SHORT, network(SHORT), METHODS["naive"], seed=1, state=tmp_path / "1.safetensors")


def test_tasks_whose_inputs_are_gone_are_not_measured():
    none = LONG.tasks[0].test.take(np.zeros(0, np.int64))
    stream = replace(LONG, tasks=(replace(LONG.tasks[0], test=none), *LONG.tasks[1:]))
    result = sl.run(stream, NETWORKS["rate-lif"](stream), METHODS["naive"])
    assert np.isnan(result.accuracy_matrix[:, 0]).all()
    assert result.average_accuracy == pytest.approx(result.accuracy_matrix[2, 1:].mean())
    assert len(result.points) == 2  # after the first task there is nothing to ask
    assert all(value is None or np.isfinite(value) for value in result.row().values() if not isinstance(value, str))


def test_measures_within_tasks_tell_of_what_comes_back(tmp_path):
    """The same whether the run was stopped or not."""

    class Stops(sl.Callback):
        def on_task(self, run, task):
            if task == 1:
                raise KeyboardInterrupt

    network, told, state = NETWORKS["surrogate"], METHODS["naive"], tmp_path / "state.safetensors"
    result = sl.run(LONG, network(LONG), told, points=2)
    assert result.between[:, 0].tolist() == [0, 0, 1, 1, 2, 2]
    assert [int(np.isfinite(row[1:]).sum()) for row in result.between] == [1, 1, 2, 2, 3, 3]
    assert len(result.points) == 9
    matrix, between = result.accuracy_matrix, result.between
    lowest = [min(*matrix[j:, j], *between[between[:, 0] > j, 1 + j]) for j in (0, 1)]
    assert result.minimum_accuracy == pytest.approx(np.mean(lowest))
    assert result.stability_gap is not None
    assert 0 <= result.stability_gap <= 1
    confusion = result.confusions[-1]
    assert result.recency_bias == pytest.approx(confusion[:3, 3:5].sum() / confusion[:3].sum())
    with pytest.raises(KeyboardInterrupt):
        sl.run(LONG, network(LONG), told, points=2, callbacks=[Stops()], state=state)
    again = sl.run(LONG, network(LONG), told, points=2, state=state)
    assert again.row() | {"seconds": 0} == result.row() | {"seconds": 0}
    plain = sl.run(SHORT, network(SHORT), told)
    assert (plain.stability_gap, plain.between.shape) == (None, (0, 3))


def test_forward_transfer_compares_with_the_untrained_network():
    stream = stream_of((0, 1), (2, 3), scenario="domain-incremental")
    result = sl.run(stream, NETWORKS["surrogate"](stream), METHODS["naive"])
    assert result.forward_transfer == pytest.approx(result.accuracy_matrix[0, 1] - result.untrained[1])
    assert sl.run(SHORT, NETWORKS["rate-lif"](SHORT), METHODS["naive"]).forward_transfer is None


def test_callbacks_hear_passes_and_the_network_that_decides():
    heard = []

    class Hears(sl.Callback):
        def on_epoch(self, run, task, epoch):
            heard.append((task, epoch, run.position.batch, run.position.losses > 0))

        def on_test(self, run, task):
            heard.append(run.deciding.predict(SHORT.tasks[0].test.inputs).shape)

        def on_task(self, run, task):
            heard.append(run.position.task)

    method = replace(METHODS["naive"], epochs=2)
    sl.run(SHORT, NETWORKS["surrogate"](SHORT), method, callbacks=[Hears()])
    first = [(0, 0, 10, True), (0, 1, 10, True), (20,), 1]
    assert heard == [*first, (1, 0, 5, True), (1, 1, 5, True), (20,), 2]


def test_datasets_are_read_once(monkeypatch):
    read = []
    monkeypatch.setattr(stream_settings, "load", lambda name, data_dir: read.append(name) or sl.load_data(name))
    from spikelore.experiments.continual_run import Learning
    from spikelore.experiments.reproduce import replay

    datasets = stream_settings.Datasets(None)
    for part in replay.at_scale("quick").jobs():
        Learning(part.job, datasets, None)
    assert read == ["digits-sample"]
    sent = pickle.dumps(datasets)
    assert pickle.loads(sent) is pickle.loads(sent)  # a process of many cells reads each once, too


def test_a_method_around_one_that_needs_boundaries_needs_them():
    stream = sl.split_stream("digits-sample", [(0, 1), (2, 3)], scenario="task-free")
    network = sl.SurrogateNetwork.for_stream(stream, seed=0, hidden=(8,), channels=())
    with pytest.raises(sl.InputError, match="online decay must know where tasks begin, which a task-free stream"):
        sl.run(stream, network, sl.OnlineDecay(base=sl.ElasticWeightConsolidation()))
    assert not sl.OnlineDecay().boundaries
