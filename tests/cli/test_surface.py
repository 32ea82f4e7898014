"""What a user types and reads, command by command, in this process."""

import errno
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

import spikelore
from spikelore import cli
from spikelore.data.download import data_folder
from spikelore.experiments import config_file

TINY = """experiment: replay
data: digits-sample
stream: {groups: [[0, 1], [2, 3]]}
network: {steps: 2, channels: [4], pool: 4, coding: constant}
learner: {batch: 64}
memory: {images: 8}
"""


@pytest.fixture
def typed(monkeypatch, capsys, tmp_path):
    """Type a command in an empty folder; returns its exit code, output and error."""
    monkeypatch.chdir(tmp_path)

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["spikelore", *map(str, words)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        out, err = capsys.readouterr()
        return stop.value.code, out, err

    return call


@pytest.fixture
def refused(typed):
    """Type a command that must be refused in one line; returns the line."""

    def call(*words, code=2):
        found, _, err = typed(*words)
        assert found == code
        assert err.startswith("spikelore: ")
        assert err.count("\n") == 1
        return err.strip()

    return call


def test_the_version(typed):
    assert spikelore.__version__[0].isdigit()
    for word in ("--version", "-V", "version"):
        assert typed(word) == (0, f"{spikelore.__version__}\n", "")
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        spikelore.nothing  # noqa: B018


def test_the_version_of_a_copy_that_is_not_installed(monkeypatch):
    from importlib import metadata

    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    project = (Path(spikelore.__file__).parents[2] / "pyproject.toml").read_text()
    assert f'version = "{spikelore.__version__}"' in project
    monkeypatch.setattr(spikelore, "__file__", "/nowhere/src/spikelore/__init__.py")
    assert spikelore.__version__ == "unknown"


COMMANDS = ("run", "config", "data", "reproduce", "evaluate", "fuse", "export", "sweep", "report", "bench")


ALONE = """
import sys
before = {*sys.modules}
import spikelore
dir(spikelore)
assert "argparse" not in sys.modules, "the package loads the command"
from spikelore import cli
for words in [[], *([name] for name in cli._ALL), ["config", "list"], ["config", "show"], ["reproduce", "decay"]]:
    try:
        cli._dispatch([*words, "--help"])
    except SystemExit:
        pass
    loaded = {name.partition(".")[0] for name in {*sys.modules} - before} - {*sys.stdlib_module_names}
    assert loaded == {"spikelore"}, f"the help of {words} loads {loaded}"
"""


def test_the_package_and_help_load_the_standard_library_alone():
    done = subprocess.run([sys.executable, "-c", ALONE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_help_names_every_command(typed):
    for words in (["help"], ["--help"], ["-h"]):
        code, out, _ = typed(*words)
        assert code == 0
        assert [line.split()[0] for line in out.splitlines()[2:14]] == [*COMMANDS, "version", "help"]
    code, out, _ = typed()
    assert (code, out.splitlines()[0]) == (2, "usage: spikelore COMMAND ...")


@pytest.mark.parametrize(
    "command", [*COMMANDS, "data list", "data fetch", "reproduce all", "config list", "config show"]
)
def test_help_of_a_command(typed, command):
    words = command.split()
    code, out, err = typed(*words, "-h")
    assert (code, err) == (0, "")
    assert out.startswith(f"usage: spikelore {command} ")
    assert typed(*words, "--help") == typed("help", *words) == (code, out, err)
    assert ("--device" in out) == (command in ("run", "sweep", "evaluate", "reproduce all"))
    assert command in ("config", "data", "reproduce") or "--debug" in out


def test_help_on_help_is_the_usage(typed):
    assert typed("help", "help") == typed("help") == typed("help", "help", "run")


def test_closed_streams_change_no_exit_code(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for words, code in ((["config", "list"], 0), (["nothing"], 2), (["sweep"], 2)):
        monkeypatch.setattr(sys, "argv", ["spikelore", *words])
        monkeypatch.setattr(sys, "stdout", None)
        monkeypatch.setattr(sys, "stderr", None)
        with pytest.raises(SystemExit) as stop:
            cli.main()
        assert stop.value.code == code


def test_a_reader_that_has_seen_enough_is_no_fault(monkeypatch):
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w", buffering=1) as broken:
        monkeypatch.setattr(sys, "argv", ["spikelore", "config", "list"])
        monkeypatch.setattr(sys, "stdout", broken)
        with pytest.raises(SystemExit) as stop:
            cli.main()
        assert stop.value.code == 0
        with suppress(BrokenPipeError):
            broken.close()


def test_the_module_is_the_command():
    done = subprocess.run([sys.executable, "-m", "spikelore", "-V"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"{spikelore.__version__}\n")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["rnu"], "no command 'rnu'; did you mean run? the commands are run, config, "),
        (["help", "swep"], "did you mean sweep?"),
        (["zzz"], "no command 'zzz'; the commands are run, "),
        (["run"], "run was given no configuration, expected a YAML file or a name from `spikelore config list`;"),
        (["run", "fusion_fiv"], "did you mean fusion_five"),
        (["run", "r.yaml", "other.yaml"], "unrecognized arguments: other.yaml; a value that is a list is"),
        (["run", "r.yaml", "--network.hidden", "8", "16"], "as in --name '[4, 8]'"),
        (["run", "r.yaml", "--out"], "argument --out: expected one argument"),
        (["run", "r.yaml", "--out", "a", "--out=b"], "--out is given twice; give it once"),
        (["run", "r.yaml", "--seed=1", "--seed", "2"], "--seed is given twice; give it once"),
        (["run", "r.yaml", "--seed", "1e3"], "--seed is 1000.0, expected a whole number"),
        (["run", "r.yaml", "--network.channels", "[4, 8"], "the [ in line 1 is not closed"),
        (["run", "--memory", "{images: 3", "r.yaml"], "the { in line 1 is not closed"),
        (["run", "r.yaml", "--out", "~nobody1/x"], "~nobody1/x begins with a home folder that is not known; write the"),
        (["data", "list", "--data-dir", "~nobody1/x"], "~nobody1/x begins with a home folder that is not known"),
        (["data", "import", "~nobody1/x", "--name", "mine"], "~nobody1/x begins with a home folder that is not known"),
        (["run", "r.yaml", "--out="], "the path is empty, expected one of a file or a folder"),
        (["data", "list", "--data-dir", ""], "the path is empty, expected one of a file or a folder"),
        (["run", ""], "the path is empty"),
        (["bench", "lif", "--seed", "-1"], "seed is -1, expected 0 or more"),
        (["reproduce", "decay", "--seed", str(2**63)], f"seed is {2**63}, expected at most {2**63 - 1}"),
        (["sweep", "r.yaml", "--seeds", "1.5"], "--seeds: '1.5' is no whole number"),
        (["run", "r.yaml", "--netwrok.steps", "3"], "did you mean network?"),
        (["run", "r.yaml", "--stream.groups", "[]"], "stream.groups is empty, expected the classes of one"),
        (["run", "r.yaml", "--seed.", "3"], "--seed. is not known"),
        (["bench", "lif", "--device", "cpu"], "unrecognized arguments: --device cpu"),
        (["evaluate", "x", "--classes", "1", "--classes", "2"], "--classes is given twice"),
        (["sweep", "replay_quik"], "did you mean replay_quick"),
        (["config"], "the following arguments are required: action"),
        (["config", "lst"], "invalid choice: 'lst'"),
        (["config", "show"], "the following arguments are required: config"),
        (["config", "show", "replay", "--memory.image", "3"], "--memory.image is not known, expected one of images,"),
        (["config", "list", "--seed", "3"], "--seed is not known to config list"),
    ],
)  # fmt: skip
def test_what_is_refused(refused, tmp_path, words, says):
    (tmp_path / "r.yaml").write_text(TINY)
    assert says in refused(*words)
    assert [path.name for path in tmp_path.iterdir()] == ["r.yaml"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (TINY + "learner: {epochs: 1}", "learner is given twice, in lines 5 and 7; join them"),
        (TINY.replace("batch: 64", "batch: 64, batch: 8"), "batch is given twice, in line 5"),
        (TINY + "memory.images: 9", "memory.images is given twice; join them"),
        (TINY + "seed: 1_000", "seed is '1_000', expected a whole number"),
        (TINY + "label: 010", "label is 10, expected a text; put it in quotes"),
        (TINY + "---\nseed: 3", "line 8 begins a second document"),
    ],
)
def test_files_that_are_refused(refused, tmp_path, text, says):
    (tmp_path / "r.yaml").write_text(text)
    assert says in refused("run", "r.yaml")
    assert not (tmp_path / "runs").exists()


def test_configurations_are_listed_and_shown(typed, tmp_path):
    code, out, _ = typed("config", "list")
    assert code == 0
    for name in ("fusion_five", "replay_quick", "decay_paper"):
        assert name in out
    code, out, _ = typed("config", "show", "fusion_five", "--seed", "3")
    assert code == 0
    (tmp_path / "mine.yaml").write_text(out)
    config = config_file.read(tmp_path / "mine.yaml")
    assert (config.seed, len(config.sources)) == (3, 5)
    assert typed("config", "show", "mine.yaml") == (0, out, "")
    code, out, _ = typed("config", "show", "--memory.images", "300", "replay")
    (tmp_path / "replay.yaml").write_text(out)
    assert config_file.read(tmp_path / "replay.yaml").memory.images == 300


def test_a_shipped_name_runs_in_a_folder_of_its_name(typed, monkeypatch):
    met = []

    def execute(config, out, *, data_dir, resume, jobs, ray):
        met.append((config, out, data_dir))
        return {"rows": []}

    monkeypatch.setattr(config_file, "execute", execute)
    monkeypatch.setattr(cli, "_finish", lambda out, results: None)
    monkeypatch.setenv("HOME", "/home/someone")
    code, out, _ = typed("run", "--seed", "-3", "fusion_five", "--data-dir", "~/data", "--epochs_decision=4")
    assert (code, out) == (0, "")  # an override makes another experiment, of which nothing is expected
    ((config, folder, data_dir),) = met
    assert (config.seed, config.epochs_decision, len(config.sources)) == (-3, 4, 5)
    assert (folder, data_dir) == (Path("runs/fusion_five"), Path("/home/someone/data"))
    _, out, _ = typed("run", "fusion_five")
    assert out.splitlines()[1].startswith("expected (")
    assert out.splitlines()[1].endswith("fusion_five.expected.yaml):")


def test_home_in_the_environment(monkeypatch):
    monkeypatch.setenv("HOME", "/home/someone")
    monkeypatch.setenv("SPIKELORE_DATA", "~/data")
    assert data_folder(None) == Path("/home/someone/data")


@pytest.mark.parametrize(
    ("raised", "command", "says", "code"),
    [
        (KeyboardInterrupt(), "sweep", "interrupted; go on with the same command and --resume", 130),
        (KeyboardInterrupt(), "bench", "interrupted", 130),
        (MemoryError(), "reproduce", "out of memory; free some and go on with the same command and --resume, or run a "
         "smaller configuration", 1),
        (MemoryError(), "evaluate", "out of memory; free some, or give the command less to do at once", 1),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "bench",
         "out of memory; free some, or give the command less to do at once", 1),
        (OSError(errno.ENOSPC, "No space left on device", "x/y"), "report",
         "the system refused: No space left on device (x/y); mend that and try again, or see more with --debug", 1),
        (KeyError("lost\nkey"), "fuse", "KeyError: 'lost\\nkey'; a fault of Spikelore: please report what the same "
         "command prints with --debug", 1),
    ],
)  # fmt: skip
def test_what_nobody_foresaw_is_one_line_of_advice_that_fits(typed, monkeypatch, raised, command, says, code):
    def fail(words):
        raise raised

    monkeypatch.setattr(cli, "_dispatch", fail)
    assert typed(command, "x") == (code, "", f"spikelore: {says}\n")


def test_a_schedulers_signal_ends_a_command_as_an_interrupt_does(typed, monkeypatch):
    def terminated(words):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(10)

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(cli, "_dispatch", terminated)
    says = "spikelore: terminated; go on with the same command and --resume\n"
    assert typed("run", "x") == (143, "", says)
    assert signal.getsignal(signal.SIGTERM) is before


def test_debug_shows_where_it_failed(monkeypatch):
    def fail(words):
        raise KeyError("lost")

    monkeypatch.setattr(cli, "_dispatch", fail)
    monkeypatch.setattr(sys, "argv", ["spikelore", "report", "x", "--debug"])
    with pytest.raises(KeyError):
        cli.main()
