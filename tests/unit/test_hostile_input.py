"""What is made to harm gets a sentence: bombs, pipes, links, escapes, sizes that no memory holds."""

import gzip
import json
import os
import shutil
import tracemalloc
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from spikelore import plain_yaml, report
from spikelore.cli import main
from spikelore.continual.memory import POLICIES, Memory
from spikelore.continual.methods import Naive
from spikelore.data import check, load
from spikelore.data.download import SOURCES, fetch
from spikelore.data.idx import content_sha256, read_idx, write_idx
from spikelore.data.pictures import read as read_picture
from spikelore.errors import InputError, SpikeloreError, check_fields
from spikelore.experiments import config_file
from spikelore.experiments.run_folder import RunFolder
from spikelore.experiments.sweep import sweep
from spikelore.files import load_tensors, parse_json, save_tensors
from spikelore.folders import Writer
from spikelore.networks import checkpoint
from spikelore.networks.first_spike import FirstSpikeConfig, FirstSpikeNetwork
from spikelore.networks.rate_lif import RateLIFConfig, RateLIFNetwork
from spikelore.networks.surrogate import SurrogateNetwork
from spikelore.networks.surrogate_config import SurrogateConfig
from spikelore.randomness import torch_generator
from spikelore.report.runs import read_results

STEMS = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def peak(function, *values, error=InputError, match="") -> int:
    """Return the largest memory that Python took while a call was refused."""
    tracemalloc.start()
    with pytest.raises(error, match=match):
        function(*values)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most


def dataset(folder: Path, images: int = 4) -> Path:
    folder.mkdir(parents=True)
    for n, stem in enumerate(STEMS):
        labels = np.arange(images, dtype=np.uint8) % 2
        write_idx(folder / f"{stem}.gz", labels if n % 2 else np.zeros((images, 3, 3), np.uint8))
    return folder


def test_a_gzip_bomb_is_refused_by_its_size_though_its_header_fits(tmp_path):
    bomb = tmp_path / "images.gz"
    bomb.write_bytes(gzip.compress(bytes([0, 0, 8, 1]) + (10**8).to_bytes(4, "big") + bytes(10**8), 9, mtime=0))
    assert peak(read_idx, bomb, match=r"images\.gz unpacks to 33,554,432 bytes or more, expected at most 50") < 10**8
    assert peak(content_sha256, bomb, match="unpacks to") < 10**8


def test_four_headers_are_compared_before_a_file_is_read(tmp_path, monkeypatch):
    folder = dataset(tmp_path / "mine")
    write_idx(folder / f"{STEMS[3]}.gz", np.zeros(5, np.uint8))
    monkeypatch.setattr("spikelore.data.registry.read_idx", lambda path: pytest.fail(f"{path} was read"))
    with pytest.raises(InputError, match=rf"{STEMS[3]}\.gz holds 5 labels, expected 4, one for each image"):
        load("mine", tmp_path)


def test_a_pipe_is_read_by_nothing(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for read in (read_idx, content_sha256, load_tensors, plain_yaml.read, checkpoint.load, config_file.read):
        with pytest.raises(InputError, match="is no regular file"):
            read(pipe)
    assert read_picture(pipe, (28, 28)) == "no regular file"
    for name in ("results.json", "config.yaml", "environment.json", "metrics.jsonl"):
        run = tmp_path / name.replace(".", "")
        run.mkdir()
        for other in ("results.json", "environment.json"):
            (run / other).write_text('{"experiment": "fusion"}')
        (run / "config.yaml").write_text("experiment: fusion")
        (run / name).unlink(missing_ok=True)
        os.mkfifo(run / name)
        with pytest.raises(InputError, match=rf"{name}.* is no regular file"):
            report.write(run)
    with pytest.raises(InputError, match="is no regular file"):
        read_results(tmp_path / "resultsjson")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[" * 100_000, "nested too deeply"),
        ("[" + "1," * 2_000_000 + "1]", "holds more than 1,000,000 values"),
        ('{"a": NaN}', "NaN, which is not finite"),
        ('{"a": 1e999}', "1e999, which is not finite"),
        ("9" * 5000, "a number of 5000 digits"),
        ("{", "Expecting"),
    ],
)
def test_json_that_costs_too_much_or_is_none_is_a_value_error(text, says):
    with pytest.raises(ValueError, match=says):
        parse_json(text)


def test_a_checkpoint_of_sizes_that_its_arrays_do_not_have_makes_nothing(tmp_path):
    rate = RateLIFNetwork(RateLIFConfig(classes=(0, 1), height=3, width=3, neurons_per_class=1), seed=0)
    rate.save(tmp_path / "rate")
    tensors, metadata = load_tensors(tmp_path / "rate")
    told = json.loads(metadata["config"])
    for change, says in [
        ({"neurons_per_class": 30_000}, "but its configuration says"),
        ({"neurons_per_class": 10**18}, "but its configuration says"),
        ({"height": 10**9}, "but its configuration says"),
        ({"trace_tau_ms": 1e18}, "trace_tau_ms is 1e.18, expected at most"),
        ({"active_ms": 1e300}, "active_ms is 1e.300, expected at most"),
        ({"height": 3.0}, "height is 3.0, expected a whole number"),
        ({"exc_tau_ms": "long"}, "exc_tau_ms is 'long', expected a finite number"),
        ({"exc_tau_ms": 10**400}, "a number of 401 digits"),
        ({"classes": 5}, "does not describe"),
        ({"going": 1}, "does not describe"),
    ]:
        text = json.dumps({**told, **change})
        save_tensors(tmp_path / "other", tensors, {**metadata, "config": text})
        assert peak(checkpoint.load, tmp_path / "other", match=says) < 10**7
    for name, value in {"exc_to_inh_delay": 10**12, "step": -1, "last_input_spike": 2**62}.items():
        save_tensors(tmp_path / "other", {**tensors, name: np.full(tensors[name].shape, value, np.int64)}, metadata)
        assert peak(checkpoint.load, tmp_path / "other", match=f"{name} of the checkpoint holds") < 10**7


def test_the_same_of_a_network_of_surrogate_gradients(tmp_path):
    config = SurrogateConfig(image=(1, 6, 6), channels=(), hidden=(2,), classes=2, steps=2)
    SurrogateNetwork(config, torch_generator(0, "test")).save(tmp_path / "one")
    tensors, metadata = load_tensors(tmp_path / "one")
    told = json.loads(metadata["network"])
    for change, says in [
        ({"config": {**told["config"], "hidden": [10**6]}}, "but its configuration says"),
        ({"config": {**told["config"], "steps": 10**9}}, "network.steps is 1000000000; it must be at most"),
        ({"heads": [10**9]}, "head 0|has shape|has units"),
        ({"heads": [[1] * 3]}, "but its configuration says"),
        ({"seed": "one"}, "does not describe a surrogate network"),
        ({"classes": [0, 1, 2]}, "does not describe a surrogate network"),
        ({"learning": {"learning_rate": True}}, "learning_rate is True, expected a finite number"),
    ]:
        save_tensors(tmp_path / "other", tensors, {**metadata, "network": json.dumps({**told, **change})})
        assert peak(SurrogateNetwork.load, tmp_path / "other", match=says) < 10**7


@dataclass
class Settings:
    whole: int = 1
    real: float = 1.0
    maybe: float | None = None


def test_numbers_of_another_kind_become_python_s_own_and_others_are_refused():
    settings = Settings(np.int8(3), 2, np.float32(0.5))  # type: ignore[arg-type]
    check_fields(settings)
    assert [type(value) for value in vars(settings).values()] == [int, float, float]
    for name, value in {"whole": True, "real": float("nan"), "maybe": "1"}.items():
        with pytest.raises(InputError, match=f"a.{name} is .*, expected"):
            check_fields(Settings(**{name: value}), "a.")
    with pytest.raises(InputError, match="whole is 9223372036854775808, expected a whole number"):
        check_fields(Settings(2**63))


def test_a_sentence_is_one_line_that_any_terminal_shows():
    error = InputError("a \x1b[31mname\x1b[0m\nof two lines\r" + "x" * 10_000)
    assert str(error).isprintable()
    assert len(str(error)) < 2100
    assert str(error).startswith("a \N{REPLACEMENT CHARACTER}[31mname")


def test_names_of_folders_bring_no_escape_onto_the_terminal(tmp_path, capsys, monkeypatch):
    dataset(tmp_path / "data" / "evil\x1b]0;title\x07\nok")
    for words in (["list"], ["check"]):
        monkeypatch.setattr("sys.argv", ["spikelore", "data", *words, "--data-dir", str(tmp_path / "data")])
        with pytest.raises(SystemExit):
            main()
        printed = "".join(capsys.readouterr())
        assert "evil" in printed
        assert all(line.isprintable() for line in printed.split("\n"))
        assert "\nok" not in printed


@pytest.mark.parametrize("policy", POLICIES)
def test_a_memory_reserves_no_more_than_the_stream_holds(policy):
    tracemalloc.start()
    memory = Memory(policy, 10**18, 784, np.random.default_rng(0), tasks=5)
    for task in range(5):
        memory.offer(np.full((20, 784), task, np.uint8), np.full(20, task), task=task)
    assert tracemalloc.get_traced_memory()[1] < 10**7
    tracemalloc.stop()
    assert memory.places >= 10**18 - 5
    assert memory.labels.tolist() == np.repeat(np.arange(5), 20).tolist()
    rows, labels, _ = memory.get(memory.taken())
    assert (rows[:, 0] == labels).all()
    other = Memory(policy, 10**18, 784, np.random.default_rng(0), tasks=5)
    other.load_state_dict(memory.state_dict())
    memory.resize(50, extras=2, tasks=5)
    other.resize(50, extras=2, tasks=5)
    assert len(memory) == len(memory.labels) == 50
    assert memory.taken().tolist() == other.taken().tolist()


def test_a_batch_that_no_step_holds_is_refused():
    with pytest.raises(
        InputError, match="batch is 1000000000, expected at most 100,000, which a step holds all at once"
    ):
        Naive(batch=10**9)


def test_a_label_leads_no_run_out_of_its_folder(tmp_path):
    (tmp_path / "in").mkdir()
    values = {"experiment": "replay", "data": "digits-sample", "stream": {"groups": [[0, 1]]}}
    values |= {"network": {"channels": [2], "pool": 4, "steps": 1}, "learner": {"batch": 800}, "memory": {"images": 8}}
    (tmp_path / "in" / "one.yaml").write_text(json.dumps(values))
    grid = ["label=/../../../../x,../../y"]
    sweep(tmp_path / "in" / "one.yaml", grid, 1, tmp_path / "in" / "out", None, resume=False, jobs=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]
    assert sorted(path.name for path in (tmp_path / "in").iterdir()) == ["one.yaml", "out"]
    assert len([*(tmp_path / "in" / "out").glob("*/seed0/results.json")]) == 2


def test_links_lead_no_writer_out_of_its_folder(tmp_path, monkeypatch):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "mine").write_text("keep")
    for name in ("checkpoints", "parts", "parts/one"):
        run = tmp_path / name.replace("/", " ")
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).symlink_to(elsewhere)
        with pytest.raises(InputError, match=r"is a link to .*elsewhere, expected a folder of its own"):
            RunFolder(run, {}, resume=True)
    (tmp_path / "locked").mkdir()
    (tmp_path / "locked" / ".lock").symlink_to(elsewhere / "mine")
    with pytest.raises(InputError, match="is a link to"):
        Writer(tmp_path / "locked")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "fashion-mnist").symlink_to(elsewhere)
    monkeypatch.setattr("spikelore.data.download._download", lambda url, md5, target, *rest: target.write_bytes(b""))
    with pytest.raises(SpikeloreError, match="is a link to"):
        fetch("fashion-mnist", tmp_path / "data")
    assert [path.name for path in elsewhere.iterdir()] == ["mine"]
    assert (elsewhere / "mine").read_text() == "keep"


def test_what_lies_beside_the_files_is_not_called_published(tmp_path, monkeypatch):
    folder = dataset(tmp_path / "fashion-mnist")
    source = SOURCES["fashion-mnist"].__class__(base_url="", md5={}, images=(4, 4), classes=2)
    monkeypatch.setitem(SOURCES, "fashion-mnist", source)
    lines = [f"{content_sha256(folder / f'{stem}.gz')}  {stem}\n" for stem in STEMS]
    (folder / "content.sha256").write_text("".join(lines))
    (result,) = check(tmp_path)
    assert result.ok
    assert result.message.endswith("the content is as recorded at the fetch")


def test_what_a_killed_process_left_half_written_goes_when_the_run_goes_on(tmp_path):
    with RunFolder(tmp_path, {}, resume=True) as folder:
        folder.save_state({}, {})
    for name in (".results.json.0a1b2c3d", "checkpoints/.state.safetensors.deadbeef"):
        (tmp_path / name).write_text("half")
    (tmp_path / ".mine.txt").write_text("keep")
    RunFolder(tmp_path, {}, resume=True).close()
    names = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert names == {".mine.txt", "checkpoints/state.safetensors", "config.yaml", "environment.json"}


def test_a_finished_run_whose_files_are_other_gets_a_sentence(tmp_path):
    values = {
        "data": "digits-sample",
        "stream": {"groups": [[0, 1]]},
        "network": {"channels": [2], "pool": 4, "steps": 1},
    }
    config = config_file.build("replay", {**values, "learner": {"batch": 800}, "memory": {"images": 8}})
    config_file.execute(config, tmp_path / "run", None)
    shutil.copytree(tmp_path / "run", tmp_path / "copy")
    (part,) = (tmp_path / "run" / "parts").iterdir()
    (part / "results.json").write_text('{"accuracy_matrix": [[1]], "seconds": "many"}')
    with pytest.raises(InputError, match="expected files as a run leaves them; restore them"):
        config_file.execute(config, tmp_path / "run", None, resume=True)
    (tmp_path / "copy" / "results.json").write_text('{"experiment": "replay", "rows": ["a", "b"], "data": 3}')
    with pytest.raises(
        InputError, match=r"cannot be drawn .* expected files as a run of experiment 'replay' leaves them"
    ):
        report.write(tmp_path / "copy")


def test_minus_zero_is_no_deviation_and_no_delay():
    zero, minus = (
        FirstSpikeNetwork.create(replace(FirstSpikeConfig(), weight_deviation=each), (0,), 0) for each in (0.0, -0.0)
    )
    assert np.array_equal(zero.weights_1, minus.weights_1)
    at_once = replace(
        RateLIFConfig(), classes=(0, 1), neurons_per_class=2, exc_to_inh_delay_ms=-0.0, inh_to_exc_delay_ms=-0.0
    )
    RateLIFNetwork(at_once, seed=0)
