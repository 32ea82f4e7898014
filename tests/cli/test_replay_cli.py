"""Replay as a user types it, and what any experiment's command says."""

import shutil

import pytest
import yaml
from commands import finished, refused, run

from watching import left

REPLAY = {
    "experiment": "replay",
    "data": "digits-sample",
    "stream": {"groups": [[0, 1], [2, 3]]},
    "network": {"channels": [4], "pool": 4, "steps": 2},
    "learner": {"batch": 64},
    "memory": {"images": 8},
}


@pytest.fixture(scope="module")
def replayed(tmp_path_factory):
    """A folder with a small configuration of replay and its finished run."""
    return finished(tmp_path_factory.mktemp("replay"), REPLAY)


def test_a_replay_run_is_asked_about_chosen_classes(replayed):
    assert "test images of classes 2, 3" in run("evaluate", "done", "--classes", "2", "3", cwd=replayed).stdout
    further = refused("evaluate", "done", "--data", "digits-sample", cwd=replayed)
    assert "class 4 is not known" in further
    assert further.endswith("--classes")
    run("evaluate", "done", "--data", "digits-sample", "--classes", "0", "1", cwd=replayed)
    assert "class 99 is not known" in refused("evaluate", "done", "--classes", "99", cwd=replayed)


def test_a_part_is_no_run(replayed):
    (part,) = (replayed / "done" / "parts").iterdir()
    for words in (["evaluate", part], ["run", part / "config.yaml"]):
        assert f"is a part of a run, expected the run's folder; name {replayed}/done" in refused(*words, cwd=replayed)


def test_a_run_that_has_not_finished_is_resumed_by_the_command_that_is_told(replayed):
    shutil.copytree(replayed / "done", replayed / "cut")
    (replayed / "cut" / "results.json").unlink()
    command = refused("report", "cut", cwd=replayed).partition("resume it first: spikelore ")[2]
    assert command == "run cut/config.yaml --out cut --resume"
    run(*command.split(), cwd=replayed)
    assert (replayed / "cut" / "results.json").exists()
    assert not (replayed / "runs").exists()


def test_input_refused_in_a_part_leaves_no_folder(replayed):
    assert "fewer than" in refused("run", "small.yaml", "--memory.images", "3", "--out", "few", cwd=replayed)
    assert not (replayed / "few").exists()


def test_a_run_says_which_expectations_hold(replayed):
    (replayed / "told.yaml").write_text((replayed / "small.yaml").read_text())
    (replayed / "told.expected.yaml").write_text(yaml.safe_dump({"expectations": [
        {"what": "first", "row": {"method": "experience replay"}, "value": "memory_images", "at_least": 8},
        {"what": "second", "row": {"method": "experience replay"}, "value": "seed", "at_least": 0.9},
    ]}))  # fmt: skip
    lines = run("run", "told.yaml", "--out", "told", cwd=replayed).stdout.splitlines()
    assert lines[-3] == "expected (told.expected.yaml):"
    assert lines[-2].startswith("  holds  first: ")
    assert lines[-1].startswith("  FAILS  second: 0 (expected at least 0.9)")
    other = run("run", "told.yaml", "--out", "other-seed", "--seed", "1", cwd=replayed).stdout
    assert "expected" not in other
    (replayed / "told.expected.yaml").write_text("expectations: 3")
    assert "one list called expectations" in refused("run", "told.yaml", "--out", "never", cwd=replayed)
    assert not (replayed / "never").exists()


def test_sweep_compares_seeds(replayed):
    done = run("sweep", "small.yaml", "--seeds", "2", "--grid", "memory.images=8", "--out", "swept", cwd=replayed)
    assert "report.html" in done.stdout
    page = (replayed / "swept" / "memory.images=8" / "report.html").read_text()
    assert "over 2 runs" in page or "2 runs" in page
    run("sweep", "small.yaml", "--seeds=2", "--grid=memory.images=8", "--out=one", "--jobs=1", cwd=replayed)
    for seed in ("seed0", "seed1"):
        one, spread = (replayed / folder / "memory.images=8" / seed for folder in ("one", "swept"))
        assert left(one) == left(spread)
        assert len(left(one)) > 10


def test_bad_data_leaves_a_folder_as_it_was(tmp_path):
    (tmp_path / "bad.yaml").write_text(yaml.safe_dump({**REPLAY, "data": "not-there"}))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").touch()
    (tmp_path / "link").symlink_to("mine")
    for words in ([], ["--out", "link"], ["--out", "new/run"]):
        assert "'not-there' is unknown" in refused("run", "bad.yaml", *words, cwd=tmp_path)
    assert "'not-there' is unknown" in refused("sweep", "bad.yaml", cwd=tmp_path)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["bad.yaml", "link", "mine", "notes.txt", "runs"]
