"""How a run is run decides nothing of it: cores, and loggers that are told its metrics."""

import pytest

from spikelore.errors import InputError
from spikelore.experiments import execution, parallel
from spikelore.experiments.config_file import build, execute
from spikelore.experiments.execution import Execution, Loggers
from watching import left

VALUES = {
    "data": "digits-sample", "stream": {"groups": [[0, 1], [2, 3]]}, "memory": {"images": 8},
    "network": {"channels": [2], "pool": 4, "steps": 2}, "learner": {"batch": 50, "epochs": 2},
}  # fmt: skip


@pytest.fixture(autouse=True)
def one_core(monkeypatch):
    monkeypatch.setattr(parallel, "cores", lambda: 1)


def test_tensorboard_is_told_each_line(tmp_path):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator", reason="needs TensorBoard")
    loggers = Loggers(["tensorboard"], tmp_path, {"seed": 3})
    assert not (tmp_path / "tensorboard").exists()  # until there is something
    for train in (0.5, 0.75):
        loggers.write({"stage": "layer 1", "network": "a", "epoch": 7, "train": train, "list": [1]})
    loggers.write({"stage": "decision", "train": 0.25})
    loggers.close()
    found = events.EventAccumulator(str(tmp_path / "tensorboard"))
    found.Reload()
    assert sorted(found.Tags()["scalars"]) == ["decision/train", "layer_1/a/epoch", "layer_1/a/train"]
    assert [(each.step, each.value) for each in found.Scalars("layer_1/a/train")] == [(0, 0.5), (1, 0.75)]


def test_mlflow_is_told_each_line(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow", reason="needs MLflow")
    uri = (tmp_path / "mlruns").as_uri()
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    loggers = Loggers(["mlflow"], tmp_path, {"seed": 3, "network": {"steps": 4}})
    loggers.write({"stage": "test", "accuracy": 0.5})
    loggers.write({"stage": "test", "accuracy": 0.75})
    loggers.close()
    client = mlflow.MlflowClient(uri)
    (run,) = client.search_runs([client.get_experiment_by_name("spikelore").experiment_id])
    assert run.data.params == {"seed": "3", "network": '{"steps": 4}'}
    history = client.get_metric_history(run.info.run_id, "test/accuracy")
    assert [(each.step, each.value) for each in history] == [(0, 0.5), (1, 0.75)]
    assert run.info.status == "FINISHED"


def test_a_run_is_the_same_however_it_is_run_and_may_go_on_otherwise(tmp_path):
    pytest.importorskip("tensorboard", reason="needs TensorBoard")
    execute(build("replay", VALUES), tmp_path / "plain", None)
    logged = build("replay", {**VALUES, "execution": {"cores": 1, "loggers": ["tensorboard"]}})
    execute(logged, tmp_path / "logged", None)
    execute(build("replay", VALUES), tmp_path / "logged", None, resume=True)
    plain, other = left(tmp_path / "plain"), left(tmp_path / "logged")
    events = [name for name in other if "/tensorboard/" in name]
    assert [name.split("/")[0] for name in events] == ["parts"]
    assert {name for name in other if other[name] != plain.get(name)} == {"config.yaml", *events}


def test_what_is_refused(tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"^execution.cores is 0, expected at least 1; leave it out"):
        Execution(cores=0)
    with pytest.raises(InputError, match=r"execution.loggers\[0\] is 'wandb', expected one of tensorboard, mlflow"):
        build("replay", {**VALUES, "execution": {"loggers": ["wandb"]}})
    monkeypatch.setattr(execution.optional, "find", lambda name: "mlflow cannot be imported (why)")
    config = build("replay", {**VALUES, "execution": {"loggers": ["mlflow"]}})
    says = r"execution.loggers has mlflow, but mlflow cannot be imported \(why\); install it with: pip install 'spike"
    with pytest.raises(InputError, match=says):
        execute(config, tmp_path / "run", None)
    assert not (tmp_path / "run").exists()
