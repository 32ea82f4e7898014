"""Cells over processes: all results, errors that stop no other, killed workers, and nothing left behind."""

import os
import signal
import subprocess
import sys
import time
from multiprocessing import active_children
from pathlib import Path
from types import SimpleNamespace

import pytest

from spikelore.errors import InputError, SpikeloreError
from spikelore.experiments import parallel
from spikelore.experiments.parallel import Cell, Early, failure, run_cells
from spikelore.progress import shown


@pytest.fixture(autouse=True)
def two_cores(monkeypatch):
    monkeypatch.setattr(parallel, "cores", lambda: 2)


def cells(call, *arguments, folder: Path = Path("nowhere"), **how) -> dict[int, Cell]:
    """Return cells that call a function, each with one of the arguments."""
    return {n: Cell(call, (each,), folder / str(n), **how) for n, each in enumerate(arguments)}


def twice(number: int, _: Path) -> int:
    if number < 0:
        raise InputError(f"{number} is below 0")
    return 2 * number


def raise_other(_: int, __: Path) -> None:
    raise KeyError("a fault")


def die(times: int, folder: Path) -> str:
    """Kill this process the first so many times."""
    folder.mkdir(parents=True, exist_ok=True)
    before = len(list(folder.iterdir()))
    if before < times:
        (folder / str(before)).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return f"begun {before + 1} times"


def test_every_call_gives_its_result():
    assert run_cells(cells(twice, *range(5))) == {n: 2 * n for n in range(5)}
    assert run_cells(cells(twice, 4)) == {0: 8}
    assert run_cells({}) == {}


class Ring:
    """Knows itself, so that only the collector ends it."""

    alive = 0

    def __init__(self) -> None:
        self.own = self
        Ring.alive += 1

    def __del__(self) -> None:
        Ring.alive -= 1


def left_before(_: int, __: Path) -> int:
    """Return how many rings earlier calls left, and leave one."""
    found = Ring.alive
    Ring()
    return found


@pytest.mark.parametrize("jobs", [1, 2])
def test_what_a_call_leaves_in_rings_is_gone_before_the_next_one(jobs):
    assert set(run_cells(cells(left_before, *range(5)), jobs=jobs).values()) == {0}


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_error_stops_no_other_call(jobs, capsys):
    outcomes = run_cells(cells(twice, 1, -2, 3, -4), jobs=jobs)
    assert [outcomes[0], outcomes[2]] == [2, 6]
    assert [type(outcomes[n]) for n in (1, 3)] == [InputError, InputError]
    assert "failed: 1: -2 is below 0\n" in capsys.readouterr().err
    error = failure(outcomes)
    assert isinstance(error, InputError)
    assert str(error) == (
        "2 of 4 runs failed, the first one: 1: -2 is below 0; the others are kept, go on with the same command and "
        "--resume"
    )
    assert failure({0: 1, 1: 2}) is None
    assert failure({0: outcomes[1]}) is outcomes[1]
    assert not isinstance(failure({0: outcomes[1], 1: KeyError("x")}), InputError)


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_fault_stops_no_other_call_either(jobs):
    outcomes = run_cells({**cells(twice, 1), "bad": Cell(raise_other, (1,), Path("x"))}, jobs=jobs)
    assert outcomes[0] == 2
    assert isinstance(outcomes["bad"], KeyError)
    assert "bad: KeyError: 'a fault'" in str(failure(outcomes))
    assert not active_children()


def test_a_killed_worker_s_call_is_run_once_more_and_then_given_up(tmp_path):
    outcomes = run_cells(cells(die, 0, 1, 9, 0, folder=tmp_path))
    assert outcomes[1] == "begun 2 times"
    assert isinstance(outcomes[2], SpikeloreError)
    assert "was killed 2 times before its work was done, often because memory ran out" in str(outcomes[2])
    assert len(list((tmp_path / "2").iterdir())) == 2
    assert outcomes[0].startswith("begun")
    assert outcomes[3].startswith("begun")
    assert not active_children()


def tell_and_wait(number: int, _: Path) -> int:
    with shown(4) as meter:
        meter.advance("working", number + 1)
        time.sleep(1.5)
    return number


def test_what_each_call_tells_of_its_work_is_heard_while_it_goes_on():
    heard = []
    calls = [*cells(tell_and_wait, 0, 1, 2).values()]
    found = parallel._over_cores(calls, lambda shares: heard.append([*shares]), None)
    assert sorted(found) == [(n, n) for n in range(3)]
    assert any(shares[2] == 0 and 0.1 < sum(shares) < 3 for shares in heard)
    assert heard[-1] == [1.0, 1.0, 1.0]
    heard.clear()
    assert [*parallel._over_cores(calls[1:2], lambda shares: heard.append([*shares]), None)] == [(0, 1)]
    assert heard == [[0.5], [1.0]]


def own_part(_: int, __: Path) -> tuple[int, str, list[int]]:
    within = run_cells(cells(own_number, 0, 1)).values()
    return parallel.cores(), os.environ["NUMBA_NUM_THREADS"], [pid - os.getpid() for pid in within]


@pytest.mark.parametrize(("have", "part"), [(2, 1), (4, 2)])
def test_each_process_has_its_part_of_the_cores(have, part, monkeypatch):
    monkeypatch.setattr(parallel, "cores", lambda: have)
    for its, threads, within in run_cells(cells(own_part, 0, 1), jobs=2).values():
        assert (its, threads) == (part, str(part))
        assert (set(within) == {0}) == (part == 1)  # with one core it starts no others


def own_number(_: int, __: Path) -> int:
    return os.getpid()


def test_no_more_at_once_than_asked_for_or_than_their_cores_allow():
    assert run_cells(cells(own_number, 0, 1), jobs=1) == {0: os.getpid(), 1: os.getpid()}
    assert run_cells(cells(own_number, 0, 1, cores=2)) == {0: os.getpid(), 1: os.getpid()}
    assert os.getpid() not in run_cells(cells(own_number, 0, 1, cores=1)).values()


def test_a_process_that_may_start_no_others_does_all_itself(monkeypatch):
    monkeypatch.setattr(parallel, "current_process", lambda: SimpleNamespace(daemon=True))
    assert run_cells(cells(own_number, 0, 1)) == {0: os.getpid(), 1: os.getpid()}


def test_without_ray_is_told_how_to_get_it(monkeypatch):
    monkeypatch.setattr(parallel.optional, "find", lambda *names: "ray cannot be imported (why)")
    with pytest.raises(InputError, match=r"--ray needs Ray, but ray cannot be imported \(why\); install it with: pip"):
        run_cells(cells(twice, 1), ray="local")


def test_a_folder_travels_whole(tmp_path):
    there, back = tmp_path / "there", tmp_path / "back"
    assert parallel._packed(there) == {}
    (there / "checkpoints").mkdir(parents=True)
    (there / "results.json").write_text("{}")
    (there / "checkpoints/state.safetensors").write_bytes(b"\0\1")
    (there / ".lock").write_text("not sent")
    back.mkdir()
    (back / "gone.json").write_text("deleted meanwhile")
    parallel._unpack(parallel._packed(there), back)
    assert parallel._packed(back) == {"checkpoints/state.safetensors": b"\0\1", "results.json": b"{}"}


def nothing() -> None:
    """Be loaded by a process that starts early."""


def die_at_once() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("prepare", [nothing, die_at_once])
def test_processes_that_start_early_give_the_same(prepare):
    with Early() as early:
        early.begin(3, prepare)
        begun = {each.pid for each in active_children()}
        assert len(begun) == 2
        assert run_cells(cells(twice, 1, -2, 3), early=early)[2] == 6
        assert not active_children()
        early.begin(3, nothing)
        begun = {each.pid for each in active_children()}
        assert set(run_cells(cells(own_number, 0, 1, 2), early=early).values()) <= begun


@pytest.mark.parametrize("calls", [1, 3])
def test_processes_for_other_calls_than_came_are_left_and_ended(calls):
    with Early() as early:
        early.begin(2, nothing)
        begun = {each.pid for each in active_children()}
        assert not begun & set(run_cells(cells(own_number, *range(calls)), early=early).values())
        assert {each.pid for each in active_children()} == begun
    assert not active_children()


def test_none_start_early_for_what_this_process_does_alone():
    with Early() as early:
        early.begin(1, nothing)
        early.begin(2, nothing, largest=2)
        early.begin(2, nothing, jobs=1)
        assert not active_children()


_UNGUARDED = """
from pathlib import Path
from spikelore.experiments import parallel
from test_parallel import cells, twice

print("begun", __name__)
parallel.cores = lambda: 2
print(parallel.run_cells(cells(twice, *range(3))))
"""


@pytest.mark.parametrize("form", ["script", "standard input", "-c"])
def test_a_script_of_any_form_may_spread_its_calls(form, tmp_path):
    (tmp_path / "script.py").write_text(_UNGUARDED)
    words = {"script": ["script.py"], "standard input": ["-"], "-c": ["-c", _UNGUARDED]}[form]
    paths = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, *words], cwd=tmp_path, input=_UNGUARDED, env={**os.environ, "PYTHONPATH": paths},
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.stdout == "begun __main__\n{0: 0, 1: 2, 2: 4}\n", done.stderr


def note_and_sleep(number: int, folder: Path) -> None:
    folder.with_name(f"{number}.pid").write_text(str(os.getpid()))
    time.sleep(600)


_SCRIPT = """
import signal
import sys
from pathlib import Path
from spikelore.experiments import parallel
from test_parallel import cells, note_and_sleep

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background process may have been started deaf to it
    parallel.cores = lambda: 2
    parallel.run_cells(cells(note_and_sleep, 0, 1, folder=Path(sys.argv[1])))
"""


def alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def until(condition) -> bool:
    for _ in range(600):
        if condition():
            return True
        time.sleep(0.1)
    return False


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="looks processes up in /proc")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_or_killed_parent_leaves_no_workers(how, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(_SCRIPT)
    paths = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
    parent = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path)], env={**os.environ, "PYTHONPATH": paths}, stderr=subprocess.DEVNULL
    )
    noted = [tmp_path / f"{n}.pid" for n in range(2)]
    assert until(lambda: all(each.exists() and each.read_text() for each in noted))
    pids = [int(each.read_text()) for each in noted]
    parent.send_signal(how)
    assert parent.wait(60)
    assert until(lambda: not any(alive(pid) for pid in pids))
