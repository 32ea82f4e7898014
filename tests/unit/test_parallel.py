"""Jobs over processes: all results, the first error, a killed worker, and nothing left behind."""

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
from spikelore.experiments.parallel import spread


@pytest.fixture(autouse=True)
def two_cores(monkeypatch):
    monkeypatch.setattr(parallel, "cores", lambda: 2)


def twice(number: int) -> int:
    return 2 * number


def fail_or_sleep(number: int) -> None:
    if number == 0:
        raise SpikeloreError("the first job fails")
    time.sleep(600)


def die_or_sleep(number: int) -> None:
    if number == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(600)


def note_and_sleep(folder: str, number: int) -> None:
    Path(folder, f"{number}.pid").write_text(str(os.getpid()))
    time.sleep(600)


def test_every_call_gives_its_result():
    assert dict(spread(twice, [(n,) for n in range(5)])) == {n: 2 * n for n in range(5)}
    assert list(spread(twice, [(4,)])) == [(0, 8)]


@pytest.mark.parametrize(
    ("function", "sentence"),
    [(fail_or_sleep, "the first job fails"), (die_or_sleep, "a worker process was killed .* --resume")],
)
def test_an_error_or_a_killed_worker_stops_all(function, sentence):
    begun = time.monotonic()
    with pytest.raises(SpikeloreError, match=sentence):
        list(spread(function, [(0,), (1,), (2,)]))
    assert time.monotonic() - begun < 120
    assert not active_children()


def tell_and_wait(number: int, tell) -> int:
    tell(0.25 * (number + 1))
    time.sleep(1.5)
    return number


def test_what_each_call_tells_of_its_work_is_heard_while_it_goes_on():
    heard = []
    found = spread(tell_and_wait, [(n,) for n in range(3)], lambda shares: heard.append([*shares]))
    assert sorted(found) == [(n, n) for n in range(3)]
    assert any(shares[2] == 0 and 0 < sum(shares) < 3 for shares in heard)
    assert heard[-1] == [1.0, 1.0, 1.0]
    heard.clear()
    assert list(spread(tell_and_wait, [(1,)], lambda shares: heard.append([*shares]))) == [(0, 1)]
    assert heard == [[0.5], [1.0]]


def own_part(_: int) -> tuple[int, str, list[int]]:
    within = [pid for _, pid in spread(own_number, [(0,), (1,)])]
    return parallel.cores(), os.environ["NUMBA_NUM_THREADS"], [pid - os.getpid() for pid in within]


@pytest.mark.parametrize(("have", "part"), [(2, 1), (4, 2)])
def test_each_process_has_its_part_of_the_cores(have, part, monkeypatch):
    monkeypatch.setattr(parallel, "cores", lambda: have)
    for _, (its, threads, within) in spread(own_part, [(0,), (1,)], jobs=2):
        assert (its, threads) == (part, str(part))
        assert (set(within) == {0}) == (part == 1)  # with one core it starts no others


def test_no_more_jobs_at_once_than_asked_for():
    assert [*spread(own_number, [(0,), (1,)], jobs=1)] == [(0, os.getpid()), (1, os.getpid())]


def own_number(_: int) -> int:
    return os.getpid()


def test_a_process_that_may_start_no_others_does_all_itself(monkeypatch):
    monkeypatch.setattr(parallel, "current_process", lambda: SimpleNamespace(daemon=True))
    assert [*spread(own_number, [(0,), (1,)])] == [(0, os.getpid()), (1, os.getpid())]


class Ray:
    """Ray as far as it is used, with calls that are done, last first, when they are waited for."""

    def __init__(self):
        self.calls = []

    def init(self, **options):
        self.calls.append(options)

    def shutdown(self):
        self.calls.append("shutdown")

    def remote(self, num_cpus):
        return lambda function: SimpleNamespace(remote=lambda *arguments: (function, arguments))

    def wait(self, references):
        return [references[-1]], references[:-1]

    def get(self, reference):
        function, arguments = reference
        return function(*arguments)


def told_twice(number: int, tell) -> int:
    tell(0.5)
    if number > 3:
        raise SpikeloreError("number 4 fails")
    return 2 * number


@pytest.mark.parametrize("ray", [None, "local", "10.0.0.1:6379"])
def test_parts_are_run_here_or_by_ray(ray, monkeypatch):
    cluster = Ray()
    monkeypatch.setattr(parallel.optional, "find", lambda name: (cluster,))
    parts = {f"part {n}": (n,) for n in range(4)}
    assert parallel.run_parts(told_twice, parts, "parts", jobs=1, ray=ray) == {f"part {n}": 2 * n for n in range(4)}
    address = None if ray == "local" else ray
    assert cluster.calls == ([] if ray is None else [{"address": address, "include_dashboard": False}, "shutdown"])
    with pytest.raises(SpikeloreError, match="number 4 fails"):
        parallel.run_parts(told_twice, {**parts, "part 4": (4,)}, "parts", jobs=1, ray=ray)
    assert ray is None or cluster.calls[-1] == "shutdown"


def test_without_ray_is_told_how_to_get_it(monkeypatch):
    monkeypatch.setattr(parallel.optional, "find", lambda name: "ray cannot be imported (why)")
    with pytest.raises(InputError, match=r"--ray needs Ray, but ray cannot be imported \(why\); install it with: pip"):
        parallel.run_parts(told_twice, {"a": (1,)}, "parts", ray="local")


_UNGUARDED = """
from spikelore.experiments import parallel
from test_parallel import twice

print("begun", __name__)
parallel.cores = lambda: 2
print(sorted(parallel.spread(twice, [(n,) for n in range(3)])))
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
    assert done.stdout == "begun __main__\n[(0, 0), (1, 2), (2, 4)]\n", done.stderr


_SCRIPT = """
import signal
import sys
from spikelore.experiments import parallel
from test_parallel import note_and_sleep

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background process may have been started deaf to it
    parallel.cores = lambda: 2
    list(parallel.spread(note_and_sleep, [(sys.argv[1], n) for n in range(2)]))
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
