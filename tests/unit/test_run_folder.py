import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from spikelore import folders
from spikelore.errors import InputError, SpikeloreError
from spikelore.experiments.run_folder import RunFolder
from spikelore.files import save_tensors, write_bytes_atomic, write_json_atomic
from spikelore.report.runs import read_results

CONFIG = {"seed": 1, "network": {"units": 4, "rates": [0.1, 0.2]}}


def test_a_new_run_writes_its_configuration_and_environment(tmp_path):
    RunFolder(tmp_path / "run", CONFIG, resume=False)
    assert (tmp_path / "run" / "config.yaml").read_text().startswith("seed: 1\nnetwork:\n  units: 4\n")
    environment = json.loads((tmp_path / "run" / "environment.json").read_text())
    assert environment["versions"]["numpy"] == np.__version__


def test_metrics_are_appended_in_order(tmp_path):
    folder = RunFolder(tmp_path, CONFIG, resume=False)
    assert folder.metrics() == []
    folder.append_metrics(epoch=0, right=0.5)
    folder.append_metrics(epoch=1, right=0.75)
    assert folder.metrics() == [{"epoch": 0, "right": 0.5}, {"epoch": 1, "right": 0.75}]
    with pytest.raises(ValueError, match="JSON"):
        folder.append_metrics(epoch=2, right=float("nan"))
    assert len(folder.metrics()) == 2


def test_resuming_drops_the_metrics_written_after_the_saved_state(tmp_path):
    folder = RunFolder(tmp_path, CONFIG, resume=False)
    assert folder.load_state() is None
    folder.append_metrics(epoch=0)
    folder.append_metrics(epoch=1)
    folder.save_state({"weights": np.arange(3.0)}, {"epoch": 2})
    folder.append_metrics(epoch=2)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 3, "ri')  # a crash in the middle of a line

    again = RunFolder(tmp_path, CONFIG, resume=True)
    arrays, progress = again.load_state()
    assert progress == {"epoch": 2}
    assert arrays["weights"].tolist() == [0.0, 1.0, 2.0]
    assert again.metrics() == [{"epoch": 0}, {"epoch": 1}]
    again.append_metrics(epoch=2)
    assert again.metrics()[-1] == {"epoch": 2}


def test_resuming_without_a_saved_state_starts_the_metrics_again(tmp_path):
    RunFolder(tmp_path, CONFIG, resume=False).append_metrics(epoch=0)
    again = RunFolder(tmp_path, CONFIG, resume=True)
    assert again.load_state() is None
    assert again.metrics() == []


def test_a_damaged_state_is_refused(tmp_path):
    folder = RunFolder(tmp_path, CONFIG, resume=False)
    folder.save_state({"weights": np.arange(3.0)}, {"epoch": 2})
    content = bytearray(folder.checkpoint("state").read_bytes())
    content[-3] ^= 1
    folder.checkpoint("state").write_bytes(content)
    with pytest.raises(InputError, match="damaged"):
        folder.load_state()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({**CONFIG, "seed": 2}, "seed was 1, now 2"),
        ({"seed": 1, "network": {"units": 5, "rates": [0.1, 0.2]}}, "network.units was 4, now 5"),
        ({"seed": 1, "network": {"units": 4, "rates": [0.1, 0.3]}}, "network.rates[1] was 0.2, now 0.3"),
        ({"seed": 1, "network": {"units": 4, "rates": (0.1,)}}, "network.rates was [0.1, 0.2], now [0.1]"),
        ({"seed": 2, "network": {"units": 4, "rates": (0.1, 0.2)}}, "seed was 1, now 2"),
        ({"network": {"units": 4, "rates": (0.1, 0.3)}, "seed": 1}, "network.rates[1] was 0.2, now 0.3"),
        ({**CONFIG, "epochs": 3}, "epochs was not there, now 3"),
        ({**CONFIG, "epochs": None}, "epochs was not there, now None"),
        ({"seed": 1}, "network was {'units': 4, 'rates': [0.1, 0.2]}, now not there"),
    ],
)
def test_another_configuration_is_refused_by_the_changed_key(tmp_path, changed, message):
    RunFolder(tmp_path, CONFIG, resume=False)
    before = (tmp_path / "config.yaml").read_text()
    with pytest.raises(InputError, match="another configuration") as caught:
        RunFolder(tmp_path, changed, resume=True)
    assert message in str(caught.value)
    assert (tmp_path / "config.yaml").read_text() == before


def test_the_same_configuration_resumes_whatever_its_form(tmp_path):
    RunFolder(tmp_path, {"seed": 1, "network": {"units": 4, "rates": (0.1, 0.2)}}, resume=False)
    saved = tmp_path / "config.yaml"
    saved.write_text(f"# a note\n{saved.read_text()}")
    RunFolder(tmp_path, {"network": {"rates": [0.1, 0.2], "units": 4}, "seed": 1}, resume=True)
    saved.write_text("network: [")
    with pytest.raises(InputError, match=r"config\.yaml cannot be read"):
        RunFolder(tmp_path, CONFIG, resume=True)


def test_an_existing_run_is_refused_without_resume(tmp_path):
    RunFolder(tmp_path, CONFIG, resume=False).append_metrics(epoch=0)
    with pytest.raises(InputError, match="already holds a run; pass --resume"):
        RunFolder(tmp_path, CONFIG, resume=False)
    assert RunFolder(tmp_path, CONFIG, resume=True).metrics() == [{"epoch": 0}]


def test_a_failed_rename_leaves_the_old_file_and_nothing_beside_it(tmp_path, monkeypatch):
    target = tmp_path / "results.json"
    write_json_atomic(target, {"accuracy": 0.5})

    def fail(source, destination):
        assert os.path.dirname(source) == os.path.dirname(destination)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(SpikeloreError, match="No space left on device; the file before it"):
        write_json_atomic(target, {"accuracy": 0.75})
    assert json.loads(target.read_text()) == {"accuracy": 0.5}
    assert os.listdir(tmp_path) == ["results.json"]


def test_nan_results_are_refused_before_anything_is_written(tmp_path):
    folder = RunFolder(tmp_path, CONFIG, resume=False)
    folder.write_results({"accuracy": 0.5})
    with pytest.raises(ValueError, match="JSON"):
        folder.write_results({"accuracy": float("nan")})
    assert json.loads((tmp_path / "results.json").read_text()) == {"accuracy": 0.5}


def test_an_atomic_write_replaces_the_whole_file(tmp_path):
    target = tmp_path / "new folder" / "file"
    write_bytes_atomic(target, b"a long content")
    write_bytes_atomic(target, b"short")
    assert target.read_bytes() == b"short"


def test_a_folder_is_withdrawn_only_while_nothing_was_done_in_it(tmp_path):
    folder = RunFolder(tmp_path / "new", CONFIG, resume=False)
    folder.load_state()  # makes an empty metrics.jsonl
    folder.withdraw()
    assert not (tmp_path / "new").exists()
    folder = RunFolder(tmp_path / "in parts", CONFIG, resume=False)
    RunFolder(tmp_path / "in parts" / "parts" / "one", CONFIG, resume=False).load_state()
    (tmp_path / "in parts" / "parts" / "one" / ".config.yaml.x1").write_text("left by a stopped process")
    (tmp_path / "in parts" / "notes").mkdir()
    folder.withdraw()
    assert folder.path.exists()
    (tmp_path / "in parts" / "notes").rmdir()
    folder.withdraw()
    assert not folder.path.exists()
    RunFolder(tmp_path / "used" / "parts" / "one", CONFIG, resume=False).append_metrics(epoch=0)
    folder = RunFolder(tmp_path / "used", CONFIG, resume=False)
    folder.withdraw()
    assert folder.path.exists()
    folder.append_metrics(epoch=0)
    folder.withdraw()
    assert folder.metrics() == [{"epoch": 0}]
    folder = RunFolder(tmp_path / "saved", CONFIG, resume=False)
    folder.save_state({}, {})
    folder.withdraw()
    assert (tmp_path / "saved" / "config.yaml").exists()


def listed(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def refuse_input(path, *, resume=False):
    """Open a run, begin its parts and find that the input is bad."""

    def run():
        with RunFolder(path, CONFIG, resume=resume) as folder:
            folder.load_state()
            RunFolder(path / "parts" / "one", CONFIG, resume=False).load_state()
            raise InputError("bad input")

    with pytest.raises(InputError, match="bad input"):
        run()


def test_bad_input_takes_back_what_was_written_and_nothing_else(tmp_path, monkeypatch):
    refuse_input(tmp_path / "new" / "run")
    assert listed(tmp_path) == []
    for name in ("empty", "full/with a folder"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "full" / "notes.txt").touch()
    (tmp_path / "full" / ".config.yaml.mine").touch()
    (tmp_path / "link").symlink_to("empty")
    before = listed(tmp_path)
    for name in ("empty", "full", "link"):
        refuse_input(tmp_path / name)
        assert listed(tmp_path) == before
    monkeypatch.chdir(tmp_path / "empty")
    refuse_input(Path())
    assert listed(tmp_path) == before


def test_bad_input_leaves_a_run_that_was_there(tmp_path):
    with RunFolder(tmp_path, CONFIG, resume=False) as folder:
        folder.load_state()
    before = listed(tmp_path)
    refuse_input(tmp_path, resume=True)
    assert listed(tmp_path) == before
    folder = RunFolder(tmp_path, CONFIG, resume=True)
    folder.append_metrics(epoch=0)
    folder.close()
    with pytest.raises(InputError, match="already holds a run"):
        RunFolder(tmp_path, CONFIG, resume=False)
    with pytest.raises(InputError, match="another configuration"):
        RunFolder(tmp_path, {}, resume=True)
    assert listed(tmp_path) == before


def test_what_cannot_be_deleted_hides_no_reason(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "unlink", refuse)
    refuse_input(tmp_path / "run")
    monkeypatch.undo()
    assert (tmp_path / "run" / "config.yaml").exists()


def test_no_other_thread_or_process_opens_a_run_until_it_is_closed(tmp_path, monkeypatch):
    monkeypatch.setattr(folders, "_WAIT_SECONDS", 0.1)

    def elsewhere():
        with ThreadPoolExecutor(1) as pool:
            pool.submit(RunFolder, tmp_path / "run", CONFIG, resume=True).result().close()

    with RunFolder(tmp_path / "run", CONFIG, resume=False) as folder:
        with pytest.raises(InputError, match="is being written to by another process"):
            elsewhere()
        folder.append_metrics(epoch=0)
        assert (folder.path / ".lock").exists()
    elsewhere()
    assert sorted(os.listdir(tmp_path / "run")) == ["config.yaml", "environment.json", "metrics.jsonl"]


def test_the_first_of_two_that_start_in_one_folder_has_it(tmp_path):
    def start(seed):
        try:
            with RunFolder(tmp_path / "run", {"seed": seed}, resume=False) as folder:
                folder.append_metrics(seed=seed)
        except InputError as error:
            return str(error)
        return seed

    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(start, range(2)))
    (seed,) = (answer for answer in answers if isinstance(answer, int))
    (refusal,) = (answer for answer in answers if isinstance(answer, str))
    assert refusal == f"{tmp_path / 'run'} already holds a run; pass --resume to go on with it, or another --out"
    assert (tmp_path / "run" / "config.yaml").read_text() == f"seed: {seed}\n"
    assert (tmp_path / "run" / "metrics.jsonl").read_text() == f'{{"seed": {seed}}}\n'


def test_a_folder_that_is_removed_meanwhile_ends_the_run(tmp_path):
    with RunFolder(tmp_path / "run", CONFIG, resume=False) as folder:
        folder.append_metrics(epoch=0)
        shutil.rmtree(tmp_path / "run")
        for write in (
            lambda: folder.append_metrics(epoch=1),
            lambda: folder.save_state({}, {}),
            lambda: folder.write_arrays({}),
            lambda: folder.write_results({}),
        ):
            with pytest.raises(SpikeloreError, match="run has been removed while the run was going on; start the run"):
                write()
    assert listed(tmp_path) == []


def test_results_and_states_of_another_form_get_a_sentence(tmp_path):
    with RunFolder(tmp_path, CONFIG, resume=False) as folder:
        folder.write_results({"accuracy": 0.5})
        assert read_results(tmp_path) == {"accuracy": 0.5}
        for text, says in (('{"accur', "is broken"), ("[1]", "holds no table"), ("[" * 100_000, "nested too deeply")):
            (tmp_path / "results.json").write_text(text)
            with pytest.raises(
                InputError, match=rf"results.json .*{says}.*; restore it, or delete it and go on with --resume"
            ):
                read_results(tmp_path)
        for metadata in ({}, {"progress": "["}, {"progress": "3"}, {"progress": "{}"}, {"progress": '[{"lines": 1}]'}):
            save_tensors(folder.checkpoint("state"), {}, metadata)
            with pytest.raises(InputError, match=r"state\.safetensors holds no state of a run"):
                folder.load_state()


@pytest.mark.parametrize("text", ["", "- a\n", "5\n"])
def test_a_saved_configuration_that_is_none_is_called_so(tmp_path, text):
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(InputError, match=r"config\.yaml holds no configuration; restore it"):
        RunFolder(tmp_path, {"seed": 0}, resume=True)
    assert (tmp_path / "config.yaml").read_text() == text
