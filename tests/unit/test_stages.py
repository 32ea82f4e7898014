"""The resume machine: whatever the step at which a run is stopped, it ends as one that was not."""

import json

import numpy as np
import pytest

from spikelore.errors import InputError
from spikelore.experiments.run_folder import RunFolder
from spikelore.experiments.stages import Stages

STEPS = (3, 1, 2)


class Counting:
    """A stage that counts up; each number is a line of metrics, the last one a file."""

    def __init__(self, folder, name, steps):
        self.folder, self.name, self.steps_in_all, self.count = folder, name, steps, np.zeros(1)

    def state_dict(self):
        return {"count": self.count.copy()}, json.dumps({"name": self.name})

    def load_state_dict(self, arrays, facts):
        assert json.loads(facts) == {"name": self.name}
        self.count = arrays["count"]

    def steps(self):
        while self.count[0] < self.steps_in_all:
            self.count += 1
            self.folder.append_metrics(stage=self.name, count=int(self.count[0]))
            yield self.name, 10
        (self.folder.path / self.name).write_text(str(self.count[0]))


class StoppedError(Exception):
    pass


def count(path, *, stop=100, every_s=0.0):
    """Run to the end, or to step ``stop``, which is done but not told; return the machine and what it told."""
    told = []

    def advance(description, work):
        if len(told) == stop:
            raise StoppedError
        told.append((description, work))

    with RunFolder(path, {}, resume=True) as folder:
        stages = Stages(folder, every_s=every_s)
        begun = stages.done
        names = [f"stage {n}" for n in range(len(STEPS))]
        stages.run([lambda n=n, s=s: Counting(folder, n, s) for n, s in zip(names, STEPS, strict=True)], advance)
        assert stages.done == begun + 10 * len(told)
        return stages, told, folder.metrics()


@pytest.mark.parametrize("stop", range(sum(STEPS)))
def test_stopped_at_any_step_it_ends_the_same(tmp_path, stop):
    whole, _, metrics = count(tmp_path / "whole")
    with pytest.raises(StoppedError):
        count(tmp_path / "stopped", stop=stop)
    again, told, lines = count(tmp_path / "stopped")
    assert len(told) == sum(STEPS) - stop - 1  # the step that was not told was saved
    assert again.done == whole.done == 60
    assert lines == metrics
    for n, steps in enumerate(STEPS):
        assert (tmp_path / "stopped" / f"stage {n}").read_text() == str(float(steps))
    assert 0 < again.seconds < 60


def test_a_run_that_is_saved_rarely_is_saved_at_each_stage_s_end(tmp_path):
    with pytest.raises(StoppedError):
        count(tmp_path, stop=5, every_s=1000.0)  # in the last stage
    _, told, _ = count(tmp_path)
    assert told == [("stage 2", 10)] * 2
    assert count(tmp_path)[1] == []


def test_the_state_of_an_earlier_version_is_refused(tmp_path):
    with RunFolder(tmp_path, {}, resume=True) as folder:
        folder.save_state({}, {"stage": 1, "epoch": 2})
        with pytest.raises(InputError, match=r"state\.safetensors is of an earlier version .*; start another run"):
            Stages(folder)
