"""A slowdown is told from noise, and the commit to compare with leaves nothing behind."""

import subprocess
from itertools import count

import numpy as np
import pytest

from spikelore.bench import compare, works
from spikelore.bench.compare import Compared, checked_out
from spikelore.errors import InputError, SpikeloreError

BASE, HERE = "base", "here"


def measuring(here, base=None, **others):
    """Return what measures one work: ``base`` seconds in each round there, ``here`` in each here."""
    base = base or [1.0] * len(here)
    rounds = {BASE: iter([9.0, *base]), HERE: iter([9.0, *here])}
    calls = []

    def measure(tree):
        calls.append(tree)
        work = {"seconds": next(rounds[tree]), "result": "the same"}
        return {"work": work | others if tree == HERE else work}

    return measure, calls


def compared(here, base=None, **others):
    measure, _ = measuring(here, base, **others)
    (found,) = compare.compare(measure, BASE, HERE, len(here))
    return found


def test_trees_take_turns_after_a_round_that_does_not_count():
    measure, calls = measuring([1.0] * 6)
    compare.compare(measure, BASE, HERE, 6)
    assert calls == [BASE, HERE] + [BASE, HERE, HERE, BASE] * 3


@pytest.mark.parametrize(
    ("here", "verdict"),
    [
        ([1.1, 1.05, 1.2, 1.06, 1.07, 1.04, 1.3], "slower"),
        ([1.1, 1.05, 1.2, 1.06, 1.07, 0.99, 1.3], "same"),  # within its noise
        ([1.01, 1.02, 1.02, 1.02, 1.01, 1.02, 1.02], "same"),  # below 3 %
        ([0.9, 0.8, 0.9, 0.95, 0.9, 0.9, 0.9], "faster"),
        ([1.1, 1.05, 1.2, 1.06, 1.07, 0.99, 1.3, 1.1, 1.1, 1.1, 1.1], "slower"),  # one of eleven may be otherwise
    ],
)
def test_slower_is_beyond_noise_and_three_per_cent(here, verdict):
    assert compared(here).verdict == verdict


def test_a_disturbance_of_both_at_once_is_no_slowdown():
    busy = [1.0, 4.0, 1.0, 7.0, 2.0, 1.0, 1.0]
    assert compared(busy, busy).ratios == [1.0] * 7


def test_the_interval_misses_the_median_as_seldom_as_told():
    rng, misses = np.random.default_rng(0), {7: 0, 11: 0}
    for rounds in misses:
        for _ in range(2000):
            ratios = np.exp(rng.standard_t(2, rounds) / 10)  # median 1, with a wild noise
            low, high = Compared("work", tuple(ratios), (1.0,) * rounds, "").interval
            misses[rounds] += not low <= 1 <= high
    assert misses[7] / 2000 == pytest.approx(2 / 2**7, abs=0.006)
    assert misses[11] / 2000 == pytest.approx(2 * 12 / 2**11, abs=0.006)


def test_other_results_are_told():
    assert compared([1.0] * 5, result="another").row()["note"] == "results differ"
    assert compared([1.0] * 5).row()["note"] == ""


def test_a_work_that_the_base_has_not_is_skipped():
    found = {"seconds": 1.0, "result": "x"}
    trees = {BASE: {"new": {"missing": "no such module"}}, HERE: {"new one": found, "newer": found}}
    one, other = compare.compare(trees.__getitem__, BASE, HERE, 5)
    assert (one.verdict, one.note, other.verdict, other.note) == ("not in base", "no such module", "not in base", "")
    assert "here / base" not in one.row()


def test_a_work_that_cannot_be_done_here_is_a_failure():
    trees = {BASE: {}, HERE: {"work": {"missing": "TypeError: x"}}}
    with pytest.raises(SpikeloreError, match=r"work cannot be done here \(TypeError: x\)"):
        compare.compare(trees.__getitem__, BASE, HERE, 5)


def test_few_rounds_are_refused():
    with pytest.raises(InputError, match="rounds is 4, expected at least 5"):
        compare.compare({}.__getitem__, BASE, HERE, 4)


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """A repository whose first commit has no package and whose second one has, and what git tells of its trees."""
    root = tmp_path_factory.mktemp("repository")

    def git(*words):
        who = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
        return subprocess.run(["git", *who, *words], cwd=root, check=True, capture_output=True, text=True).stdout

    git("init", "-q")
    git("commit", "-q", "--allow-empty", "-m", "first")
    (root / "src" / "spikelore").mkdir(parents=True)
    (root / "src" / "spikelore" / "speed.txt").write_text("slow")
    git("add", "-A")
    git("commit", "-q", "-m", "second")
    return root, lambda: git("worktree", "list").count("\n")


@pytest.mark.parametrize("ending", [None, KeyboardInterrupt, SpikeloreError])
def test_a_commit_is_checked_out_and_gone_afterwards(repository, ending):
    root, trees = repository
    (root / "src" / "spikelore" / "speed.txt").write_text("fast")

    def use():
        nonlocal tree
        with checked_out(root, "HEAD") as tree:
            assert (tree / "src" / "spikelore" / "speed.txt").read_text() == "slow"
            assert trees() == 2
            if ending:
                raise ending

    tree = None
    if ending:
        with pytest.raises(ending):
            use()
    else:
        use()
    assert trees() == 1
    assert not tree.parent.exists()


@pytest.mark.parametrize(
    ("commit", "says"),
    [
        ("nothing", "'nothing' is no commit of"),
        ("--all", "'--all' is no commit of"),
        ("HEAD~1", "has no src/spikelore"),
    ],
)
def test_what_cannot_be_compared_with_is_refused(repository, commit, says):
    root, trees = repository
    with pytest.raises(InputError, match=says), checked_out(root, commit):
        raise AssertionError
    assert trees() == 1


def test_the_works_tell_time_results_and_what_is_missing(monkeypatch):
    now = count(step=0.5)
    monkeypatch.setattr(works.time, "perf_counter", lambda: next(now))

    def make(images, labels):
        return {"sum": lambda: [images.sum()], "later": lambda: images.nothing}

    def unknown(images, labels):
        import spikelore.nothing as nothing

        return nothing

    images, labels = np.ones((2, 4, 4), np.uint8), np.arange(2)
    found = works.measured({"kind": make, "new": unknown}, images, labels, rounds=2)
    assert found["kind sum"] == {"seconds": 0.5, "result": works.digest([np.uint64(32)])}
    assert found["kind later"]["missing"].startswith("AttributeError: ")
    assert found["new"]["missing"].startswith("ModuleNotFoundError: ")


def test_a_digest_tells_values_shapes_and_types_apart():
    one = np.arange(6, dtype=np.int32)
    others = [one[::-1], one.reshape(2, 3), one.astype(np.uint32), one[:5]]
    assert len({works.digest([each]) for each in [one, *others]}) == 5
    assert works.digest([one[::2]]) == works.digest([one[::2].copy()])
