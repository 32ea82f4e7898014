"""The examples that need no other library run as they are and do what they say."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from commands import run

EXAMPLES = Path(__file__).parents[2] / "examples"


def output(name, *words, cwd):
    command = [sys.executable, EXAMPLES / name, *words]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def shares(line):
    return [float(each) for each in re.findall(r"([\d.]+) ?%", line)]


def test_fuse_two_networks(tmp_path, learned):
    low, high, bagging, fused = output("fuse_two_networks.py", cwd=tmp_path)
    assert (shares(low)[1], shares(high)[0]) == (0, 0)
    learned("first network", shares(low)[0], at_least=75)
    learned("second network", shares(high)[1], at_least=65)
    learned("fused, the worse half", min(shares(fused)), at_least=60)
    assert "400 units" in bagging
    assert "fused: 200 units" in fused


def test_fuse_own_data(tmp_path, learned):
    *lines, page = output("fuse_own_data.py", "run", cwd=tmp_path)
    assert [line.split(":")[0] for line in lines] == ["network a", "network b", "bagging", "fused"]
    learned("fused, the worse half", min(shares(lines[-1])), at_least=60)
    assert (tmp_path / page).stat().st_size > 0
    assert (tmp_path / "run" / "checkpoints" / "fused.safetensors").exists()


def test_fade_unused_synapses(tmp_path, learned):
    lines = output("fade_unused_synapses.py", cwd=tmp_path)
    assert [line.split(":")[0] for line in lines] == ["without decay", "with decay"]
    learned("accuracy", min(shares(line)[0] for line in lines), at_least=95)
    without, faded = (dict(re.findall(r"(white|blurred|known|unknown) (\d+)", line)) for line in lines)
    for noise in ("white", "blurred"):
        learned(f"{noise} noise: spikes left", int(faded[noise]) / int(without[noise]), at_most=0.1)
    learned("known digits: spikes left", int(faded["known"]) / int(without["known"]), at_least=0.8)


def test_whole_task(tmp_path, learned):
    [line] = output("whole_task.py", cwd=tmp_path)
    learned("accuracy", shares(line)[0], at_least=93)


def test_no_stored_image(tmp_path, learned):
    by_two, shuffled = output("no_stored_image.py", cwd=tmp_path)
    assert ("two after two" in by_two, "shuffled" in shuffled) == (True, True)
    learned("two after two", shares(by_two)[0], at_least=94)
    learned("shuffled less two after two", shares(shuffled)[0] - shares(by_two)[0], at_most=2)


def test_compare_methods(tmp_path, learned):
    lines = output("compare_methods.py", cwd=tmp_path)
    assert lines[0].startswith("latent replay needs frozen layers whose spikes can be stored, which a rate-lif")
    names = lines[1].split()[1:]
    assert sorted(names) == ["first-spike", "rate-lif", "surrogate"]
    table = {}
    for line in lines[3:]:
        words = line.split()
        row = " ".join(words[:-3])
        table |= {(row, name): float(value) for name, value in zip(names, words[-3:], strict=True)}
    assert sorted({row for row, _ in table}) == ["experience replay", "latent replay", "naive", "online decay"]
    assert [cell for cell, value in table.items() if value != value] == [("latent replay", "rate-lif")]
    learned("first-spike, the least", min(v for (_, name), v in table.items() if name == "first-spike"), at_least=0.75)
    learned("rate-lif, naive", table["naive", "rate-lif"], at_least=0.7)
    learned("surrogate, experience replay", table["experience replay", "surrogate"], at_least=0.15)


def test_own_network(tmp_path):
    """It learns by counting: the same numbers everywhere."""
    assert output("own_network.py", cwd=tmp_path) == ["naive: 80.6 %", "experience replay: 75.5 %"]


@pytest.mark.learned
def test_the_quick_run_meets_its_expectations(tmp_path):
    quick = Path(__file__).parents[2] / "configs" / "fusion_quick.yaml"
    lines = run("run", quick, "--out", "quick", cwd=tmp_path).stdout.splitlines()
    told = lines[lines.index(f"expected ({quick.with_suffix('.expected.yaml')}):") + 1 :]
    assert len(told) >= 5
    assert [line for line in told if not line.startswith("  holds  ")] == []
