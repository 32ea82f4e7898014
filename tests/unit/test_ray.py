"""Sweeps over a real Ray cluster of two nodes on this machine, of which one dies, and whose driver is killed."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pandas
import pytest

from spikelore.errors import InputError, SpikeloreError
from spikelore.experiments import parallel
from spikelore.experiments.parallel import Cell, run_cells
from watching import left

ray = pytest.importorskip("ray", reason="needs Ray")
TESTS = Path(__file__).parent
ENVIRONMENT = {
    **os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), *filter(None, sys.path)]), "SPIKELORE_QUIET": "1",
    "RAY_USAGE_STATS_ENABLED": "0", "RAY_health_check_timeout_ms": "3000", "RAY_health_check_period_ms": "1000",
}  # fmt: skip
STORE = ("--object-store-memory=100000000", "--disable-usage-stats")


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def listens(port: int) -> bool:
    with socket.socket() as found:
        return found.connect_ex(("127.0.0.1", port)) == 0


class Cluster:
    """A head, which runs nothing, and nodes of it, on loopback."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.address = f"127.0.0.1:{free_port()}"
        self.nodes: list[subprocess.Popen] = []
        port = self.address.split(":")[1]
        self.start("--head", f"--port={port}", "--num-cpus=0", "--include-dashboard=false", f"--temp-dir={home}")
        assert until(lambda: listens(int(port)))

    def start(self, *words: str) -> subprocess.Popen:
        node = subprocess.Popen(
            [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--node-ip-address=127.0.0.1", *words,
             *STORE],
            env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        self.nodes.append(node)
        return node

    def add(self) -> subprocess.Popen:
        """Add a node with one core."""
        return self.start(f"--address={self.address}", "--num-cpus=1")

    def stop(self) -> None:
        for node in self.nodes:
            kill(node)


def kill(node: subprocess.Popen) -> None:
    """Kill a node with all its processes, as a power cut would."""
    for process in Path("/proc").glob("[0-9]*/stat"):
        try:
            words = process.read_text().rpartition(")")[2].split()
            if int(words[3]) == node.pid:  # its session
                os.kill(int(process.parent.name), signal.SIGKILL)
        except (FileNotFoundError, ProcessLookupError):
            continue
    node.wait()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A cluster with a node of one core."""
    found = Cluster(Path("/tmp") / f"ray-{os.getpid()}")
    found.add()
    yield found
    found.stop()


def until(condition, seconds: float = 120) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.1)
    return False


def note(log: str, number: int, seconds: float, folder: Path) -> int:
    """Note that a call begins and ends, in a file that all processes share, and leave a file."""
    with Path(log).open("a") as file:
        file.write(f"begin {number} {folder}\n")
    if number == 3:
        raise SpikeloreError(f"number 3 fails in {folder}")
    time.sleep(seconds)
    earlier = folder / "earlier.txt"
    text = earlier.read_text() if earlier.exists() else ""
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "checkpoints/found.txt").write_text(f"{text}{number} with {parallel.cores()}")
    with Path(log).open("a") as file:
        file.write(f"end {number} {folder}\n")
    return 2 * number


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


def test_folders_travel_and_a_failure_stops_nothing(cluster, tmp_path, capfd):
    (tmp_path / "0").mkdir()
    (tmp_path / "0/earlier.txt").write_text("gone on: ")
    log = str(tmp_path / "log")
    cells = {n: Cell(note, (log, n, 0.0), tmp_path / str(n)) for n in range(5)}
    outcomes = run_cells(cells, ray=cluster.address)
    assert [outcomes[n] for n in (0, 1, 2, 4)] == [0, 2, 4, 8]
    assert str(outcomes[3]) == f"number 3 fails in {tmp_path / '3'}"
    assert (tmp_path / "0/checkpoints/found.txt").read_text() == "gone on: 0 with 1"
    assert (tmp_path / "4/checkpoints/found.txt").read_text() == "4 with 1"
    begun = [line.split()[2] for line in Path(log).read_text().splitlines()]
    assert not any(folder.startswith(str(tmp_path)) for folder in begun)  # no disk is shared
    told = capfd.readouterr()
    assert told.out == ""
    assert told.err == f"failed: 3: number 3 fails in {tmp_path / '3'}\n"  # Ray itself prints nothing


def test_there_must_be_a_cluster():
    with pytest.raises(InputError, match=r"--ray is '127.0.0.1:9', expected local or the address of a cluster"):
        run_cells({0: Cell(note, ("", 0, 0.0), Path("x"))}, ray="127.0.0.1:9")


def test_a_dead_node_s_cells_are_run_by_others_and_each_ends_once(cluster, tmp_path):
    second = cluster.add()
    log = tmp_path / "log"
    log.touch()
    pid = os.fork()
    if not pid:  # kill the node when both have ended something
        until(lambda: log.read_text().count("end") >= 8)
        kill(second)
        os._exit(0)
    cells = {n: Cell(note, (str(log), n, 0.2), tmp_path / str(n)) for n in range(40) if n != 3}
    outcomes = run_cells(cells, ray=cluster.address)
    os.waitpid(pid, 0)
    assert outcomes == {n: 2 * n for n in cells}
    assert all((tmp_path / f"{n}/checkpoints/found.txt").read_text() == f"{n} with 1" for n in cells)


SWEEP = """experiment: replay
data: digits-sample
stream: {groups: [[0, 1], [2, 3]]}
network: {steps: 2, channels: [4], pool: 4, coding: constant}
learner: {batch: 64}
memory: {images: 8}
"""


def test_a_killed_driver_is_started_again_and_the_sweep_is_as_without(cluster, tmp_path):
    (tmp_path / "r.yaml").write_text(SWEEP)

    def start(out: str, *words: str) -> subprocess.Popen:
        command = [sys.executable, "-m", "spikelore", "sweep", "r.yaml", "--grid", "memory.images=8,9", "--seeds", "2",
                   "--out", out, *words]  # fmt: skip
        return subprocess.Popen(command, cwd=tmp_path, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    driver = start("swept", "--ray", cluster.address)
    assert until(lambda: list(tmp_path.glob("swept/*/*/parts/*/results.json")))
    driver.kill()
    driver.wait()
    done = {path: path.stat().st_mtime_ns for path in tmp_path.glob("swept/*/*/parts/*/results.json")}
    assert len(done) < 4
    again = start("swept", "--ray", cluster.address, "--resume")
    told, said = again.communicate(timeout=300)
    assert (again.returncode, said) == (0, b"")
    assert len(told.splitlines()) == 3
    assert {path: path.stat().st_mtime_ns for path in done} == done  # what had ended is not run again
    here = start("here", "--jobs", "1")
    assert (here.wait(300), here.stderr.read()) == (0, b"")
    one, other = left(tmp_path / "swept"), left(tmp_path / "here")
    assert [name for name in other if one.get(name) != other[name] and not name.endswith("environment.json")] == []
    table = pandas.read_parquet(tmp_path / "swept/table.parquet")
    assert table[["memory.images", "seed"]].values.tolist() == [["8", 0], ["8", 1], ["9", 0], ["9", 1]]
    duckdb = pytest.importorskip("duckdb", reason="reads the table, too")
    query = f"SELECT avg(average_accuracy) FROM '{tmp_path / 'swept/table.parquet'}'"
    assert duckdb.sql(query).fetchall()[0][0] == pytest.approx(table["average_accuracy"].mean())
    assert json.loads((tmp_path / "swept/memory.images=8/seeds.json").read_text())["seeds"] == [0, 1]
