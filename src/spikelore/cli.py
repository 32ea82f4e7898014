"""The ``spikelore`` command: arguments only.

What a command works with is imported where it begins to work: help loads the standard library alone.
"""

import argparse
import os
import re
import signal
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from difflib import get_close_matches
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from spikelore import collector
from spikelore.errors import InputError, SpikeloreError, printable


def _path(text: str) -> Path:
    from spikelore.files import user_path

    try:
        return user_path(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _whole(text: str) -> int:
    if not re.fullmatch(r"[-+]?[0-9]{1,1000}", text.strip()):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number, expected one such as 3")
    return int(text)


def _positive(text: str) -> int:
    if (number := _whole(text)) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is below 1, expected at least 1")
    return number


def _seed(text: str) -> int:
    from spikelore.randomness import check_seed

    try:
        return check_seed(_whole(text))
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _say(sentence: str) -> None:
    """Write to stderr, if anybody reads it: the exit code counts."""
    with suppress(OSError):
        print(printable(f"spikelore: {sentence}"), file=sys.stderr, flush=True)


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence, and takes no beginnings of names for names."""

    def __init__(self, command: str = "", *, description: str, **other: Any) -> None:
        super().__init__(**{"prog": f"spikelore {command}", **other}, description=description, allow_abbrev=False)

    def error(self, message: str) -> Any:
        raise InputError(f"{' '.join(message.split())} (see: {self.prog} --help)")

    def parse_apart(self, words: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
        """Return the options that this parser knows, and the words of all others with their values.

        Those are for the experiment's own configuration, which is strict.
        """
        own: list[str] = []
        others: list[str] = []
        rest = list(words)
        while rest:
            word = rest.pop(0)
            name, equals, _ = word.partition("=")
            known = self._option_string_actions.get(name)
            kind = own if known or not word.startswith("--") else others
            kind.append(word)
            takes_value = known.nargs != 0 if known else kind is others
            if takes_value and not equals and rest and not rest[0].startswith("--"):
                kind.append(rest.pop(0))
        arguments, unknown = self.parse_known_args(own)
        if unknown:
            self.error(
                f"unrecognized arguments: {' '.join(unknown)}; a value that is a list is written in brackets and "
                "quotes, as in --name '[4, 8]'"
            )
        return arguments, others


_COMMON: dict[str, dict[str, Any]] = {
    "--data-dir": {"type": _path, "help": "folder of datasets (else SPIKELORE_DATA, else the cache)"},
    "--seed": {"type": _seed, "default": 0, "help": "root seed (default: 0)"},
    "--out": {"type": _path, "help": "run folder (default: a new one under runs/)"},
    "--resume": {"action": "store_true", "help": "go on with an interrupted run"},
    "--device": {"help": "where networks that gradients teach compute: cpu, cuda, cuda:1, mps (default: cpu)"},
    "--jobs": {"type": _positive, "help": "at most so many runs at once (default: one a core)"},
    "--ray": {"help": "spread runs over a cluster by Ray: local, or its address"},
    "--debug": {"action": "store_true", "help": "show a traceback when something fails"},
}
"""Options of several commands."""


def _add_common(parser: argparse.ArgumentParser, *names: str, **helps: str) -> None:
    """Add options of several commands, ``--debug`` among them always; ``helps`` tell some in other words."""
    for name in (*names, "--debug"):
        options = dict(_COMMON[name])
        parser.add_argument(name, help=helps.get(name[2:], options.pop("help")), **options)


def _how(options: argparse.Namespace) -> dict[str, Any]:
    """Return how a run is run."""
    return {name: getattr(options, name) for name in ("data_dir", "resume", "jobs", "ray")}


def _finish(out: Path, results: dict[str, Any]) -> None:
    from spikelore import report
    from spikelore.report.tables import print_results

    page = report.write(out)
    print_results(results)
    print(printable(f"{results['seconds']:.0f} s; report: {page}"))


def _data_parser() -> _Parser:
    parser = _Parser("data", description="List, download, import and check datasets.")
    commands = parser.add_subparsers(dest="action", required=True)

    def add(name: str, text: str, description: str) -> argparse.ArgumentParser:
        one = commands.add_parser(name, help=text, description=description)
        _add_common(one, "--data-dir")
        return one

    add("list", "what there is", "Datasets: what there is.")
    add("check", "verify every dataset that is there", "Datasets: verify every dataset that is there.")
    fetch = add("fetch", "download a dataset", "Download a dataset, with checksums.")
    fetch.add_argument("name", help="a name from: spikelore data list")
    importing = add(
        "import", "make a dataset of a folder of images",
        "Make a dataset of a folder that holds one sub-folder of images a class.",
    )  # fmt: skip
    importing.add_argument("folder", type=_path, help="CLASS/IMAGES, train/CLASS and test/CLASS, or a file .npz")
    importing.add_argument("--name", help="name of the dataset (default: the folder's)")
    importing.add_argument("--size", help="rows x columns, as in 28 or 20x28 (default: 28)")
    importing.add_argument("--invert", choices=["auto", "yes", "no"], help="auto: if the border is bright (default)")
    importing.add_argument("--test-share", type=float, help="share for testing if there is no test/ (default: 0.2)")
    importing.add_argument("--seed", type=_seed, help="seed of the division into train and test (default: 0)")
    return parser


def _size(text: str | None) -> int | tuple[int, int] | None:
    sides = [] if text is None else text.lower().replace("×", "x").split("x")
    if len(sides) > 2 or not all(side.strip().isdecimal() for side in sides):
        raise InputError(f"--size is {text!r}, expected rows x columns, as in 28 or 20x28")
    numbers = [int(side) for side in sides]
    return None if not numbers else numbers[0] if len(numbers) == 1 else (numbers[0], numbers[1])


def _print_almost(data_dir: Path | None) -> None:
    """Say what lies in the data folder and is no dataset yet, or that there is no such folder."""
    from spikelore.data import almost, data_folder

    root = data_folder(data_dir)
    if root.exists() and not root.is_dir():
        raise InputError(f"the data folder {root} is a file, expected a folder; choose another with --data-dir")
    if data_dir is not None and not root.exists():
        print(printable(f"the data folder {root} does not exist yet"))
    for name, sentence in almost(data_dir):
        print(printable(f"almost  {name}: {sentence}"))


def _data(options: argparse.Namespace) -> int:
    from spikelore import data
    from spikelore.report.tables import print_table

    action = options.action
    if action == "list":
        rows = [vars(info) for info in data.available(options.data_dir)]
        print_table(rows, ["name", "where", "train", "test", "description"])
        _print_almost(options.data_dir)
    elif action == "fetch":
        print(printable(str(data.fetch(options.name, options.data_dir))))
    elif action == "import":
        made = data.import_images(
            options.folder, options.name, data_dir=options.data_dir, size=_size(options.size), invert=options.invert,
            test_share=options.test_share, seed=options.seed, say=lambda line: print(printable(line), file=sys.stderr),
        )  # fmt: skip
        print("\n".join(map(printable, [*made.lines, f"dataset {made.path.name} is in {made.path}"])))
    else:
        from spikelore.experiments.findings import looked_at

        results = data.check(options.data_dir, looked_at)
        for result in results:
            print(printable(f"{'ok     ' if result.ok else 'PROBLEM'} {result.name}: {result.message}"))
            for note in result.notes:
                print(printable(f"        note: {note}"))
        _print_almost(options.data_dir)
        if not results:
            print("nothing to check: no dataset is in the data folder or the cache (see: spikelore data list)")
        return 0 if all(result.ok for result in results) else 1
    return 0


_EXPERIMENT_OPTIONS: dict[str, dict[str, Any]] = {
    "data_a": {"type": str, "help": "dataset of network a (a folder name or a known one)"},
    "data_b": {"type": str, "help": "dataset of network b"},
    "classes": {"type": _whole, "nargs": "+", "help": "classes to learn (default: 7 4 6)"},
    "unknown": {"type": _whole, "nargs": "*", "help": "classes to ask about that it never learns (default: 9 2 1)"},
    "choose": {
        "choices": ["validation", "test", "last"],
        "help": "epoch that counts: best on validation images (default), on test images as the authors choose, or last",
    },
    "data": {"type": str, "help": "recordings of the scale paper: a dataset by name (default: spoken-digits)"},
    "preset": {"choices": ["published", "best"], "help": "run the rows of one preset only (default: both)"},
}
"""Options of `reproduce` that not every experiment has."""


def _reproduce_parser() -> _Parser:
    from spikelore.experiments.reproduce import PUBLISHED

    parser = _Parser("reproduce", description="Run a published experiment.")
    commands = parser.add_subparsers(dest="experiment", required=True)
    texts = {name: each.summary for name, each in PUBLISHED.items()}
    for name, text in {**texts, "all": f"all of them, one after another: {', '.join(texts)}"}.items():
        one = commands.add_parser(name, help=text, description=f"Reproduce {name}: {text}.")
        one.add_argument("--scale", choices=["quick", "paper"], default="quick", help="sizes (default: quick)")
        for option in PUBLISHED[name].options if name in PUBLISHED else ():
            one.add_argument(f"--{option.replace('_', '-')}", dest=option, **_EXPERIMENT_OPTIONS[option])
        folders = "run folder" if name in PUBLISHED else "folder of the runs"
        device = ["--device"] if name not in PUBLISHED or PUBLISHED[name].on_devices else []
        _add_common(
            one, "--resume", "--data-dir", "--seed", "--out", "--jobs", "--ray", *device,
            out=f"{folders} (default: a new one under runs/)",
        )  # fmt: skip
    return parser


def _reproduce(options: argparse.Namespace) -> int:
    from spikelore.experiments.reproduce import PUBLISHED

    name = options.experiment
    if name != "all":
        return _reproduce_one(name, options, options.out)
    for each in PUBLISHED:
        _reproduce_one(each, options, options.out / each if options.out else None)
    return 0


def _reproduce_one(name: str, options: argparse.Namespace, out: Path | None) -> int:
    from spikelore.experiments.config_file import KINDS, execute, on_device
    from spikelore.experiments.reproduce import PUBLISHED
    from spikelore.folders import folder_for

    command = PUBLISHED[name]
    own = {option: getattr(options, option, None) for option in command.options}
    config = KINDS[name].at_scale(options.scale, **own, seed=options.seed)
    if command.on_devices:
        config = on_device(config, options.device)
    words = ["".join(map(str, value)) for value in own.values() if value]
    stem = "-".join([name, options.scale, *words, f"seed{options.seed}"])
    with folder_for(out, stem, options.resume) as folder:
        _finish(folder, execute(config, folder, **_how(options)))
    return 0


def _fuse_parser() -> _Parser:
    parser = _Parser(
        "fuse", description="Fuse trained networks that share their feature layers into one, without data."
    )
    parser.add_argument("networks", type=_path, nargs="+", help="checkpoints (.safetensors), two or more")
    parser.add_argument("--out", type=_path, required=True, help="folder for fused.safetensors")
    parser.add_argument(
        "--importance", choices=["order", "merge", "top fraction", "spread", "full sum"],
        help="how units are chosen: by the order that consolidated networks keep them in, by merging similar ones, or "
        "by a score (default: order if all networks are consolidated, else merge)",
    )  # fmt: skip
    parser.add_argument(
        "--score", default="correlation", help="how units compete; raw as published (default: correlation)"
    )
    parser.add_argument("--size", type=_whole, help="units of the fused network (default: as the first)")
    parser.add_argument(
        "--budget", action="append", default=[], metavar="N:CLASS=UNITS",
        help="units to keep of a class of network N (1, 2 ...); repeat for each; if given, all must be",
    )  # fmt: skip
    _add_common(parser)
    return parser


def _budgets(texts: Sequence[str], networks: int) -> list[dict[int, int]] | None:
    if not texts:
        return None
    budgets: list[dict[int, int]] = [{} for _ in range(networks)]
    for text in texts:
        try:
            network, rest = text.split(":")
            one, units = rest.split("=")
            index, label, count = int(network) - 1, int(one), int(units)
        except ValueError:
            raise InputError(f"--budget {text!r} is not of the form N:CLASS=UNITS, as in 1:3=10") from None
        if not 0 <= index < networks:
            raise InputError(f"--budget {text!r} names network {index + 1}; there are {networks}")
        if label in budgets[index]:
            raise InputError(f"--budget repeats class {label} of network {index + 1}; give each class once")
        budgets[index][label] = count
    return budgets


def _fuse(arguments: argparse.Namespace) -> int:
    from spikelore.continual import fusion
    from spikelore.folders import Writer
    from spikelore.networks.first_spike import FirstSpikeNetwork

    networks = [FirstSpikeNetwork.load(path) for path in arguments.networks]
    common: dict[str, Any] = {
        "budgets": _budgets(arguments.budget, len(networks)), "size": arguments.size, "score": arguments.score,
    }  # fmt: skip
    consolidated = all((net.unit_gains != 1).any() for net in networks)
    how = arguments.importance or ("order" if consolidated else "merge")
    fused = fusion.merge(networks, **common) if how == "merge" else fusion.fuse(networks, importances=how, **common)
    path = arguments.out / "fused.safetensors"
    with Writer(arguments.out):
        fused.save(path)
    told = f"{path}: {len(fused.unit_weights)} units by {how}, classes {', '.join(map(str, fused.classes))}"
    print(printable(told))
    return 0


def _export_parser() -> _Parser:
    parser = _Parser(
        "export", description="Write a trained network as a NIR file, which other libraries and chips read."
    )
    parser.add_argument("network", type=_path, help="a checkpoint (.safetensors), or the folder of a run with one")
    parser.add_argument("--to", type=_path, required=True, metavar="FILE.nir", help="file to write")
    _add_common(parser)
    return parser


def _export(arguments: argparse.Namespace) -> int:
    from spikelore.experiments.evaluation import checkpoints
    from spikelore.networks import checkpoint
    from spikelore.networks.nir_format import export_nir

    first, *more = checkpoints(arguments.network)
    if more:
        names = ", ".join(file.name for file in (first, *more))
        raise InputError(f"{arguments.network} holds {len(more) + 1} checkpoints ({names}), expected one; name it")
    network = checkpoint.load(first)
    export_nir(network, arguments.to)
    print(printable(f"{arguments.to}: classes {', '.join(map(str, network.classes))}"))
    return 0


def _run_parser() -> _Parser:
    parser = _Parser(
        "run",
        description="Run an experiment from a YAML file; any value can be overridden by its name, as in "
        "--seed 3 or --network.layer_1.threshold 12. `spikelore config show CONFIG` tells all names.",
    )
    parser.add_argument(
        "config", nargs="?", help="a YAML file, such as a run's config.yaml, or a name from: spikelore config list"
    )
    _add_common(parser, "--out", "--data-dir", "--resume", "--jobs", "--ray", "--device")
    return parser


def _run(words: Sequence[str]) -> int:
    arguments, overrides = _run_parser().parse_apart(words)
    if arguments.config is None:
        raise InputError(
            "run was given no configuration, expected a YAML file or a name from `spikelore config list`; name one, as "
            "in: spikelore run fusion_quick"
        )
    from spikelore.experiments import config_file, expected, shipped
    from spikelore.folders import folder_for

    file = shipped.find(arguments.config)
    config = config_file.on_device(config_file.read(file, overrides), arguments.device)
    table = expected.beside(file)
    # an override makes another experiment, of which nothing is expected
    expectations = expected.read(table) if table.exists() and not overrides else []
    with folder_for(arguments.out, file.stem, arguments.resume) as out:
        results = config_file.execute(config, out, **_how(arguments))
        _finish(out, results)
    if expectations:
        print(f"\nexpected ({printable(str(table))}):")
        for _, line in expected.compare(expectations, results):
            print(printable(f"  {line}"))
    return 0


def _config_parser(action: str) -> _Parser:
    if action == "list":
        parser = _Parser("config list", description="List the configurations that are shipped.")
    elif action == "show":
        parser = _Parser(
            "config show",
            description="Print a whole configuration as YAML, with what each value means; saved to a file, it can be "
            "changed and run. Values can be overridden by their names.",
        )
        parser.add_argument("config", help="a name from `spikelore config list`, a kind of experiment, or a file")
    else:
        parser = _Parser("config", description="Shipped configurations.")
        parser.add_argument("action", choices=["list", "show"], help="what there is, or one with every value explained")
    _add_common(parser)
    return parser


def _config(words: Sequence[str]) -> int:
    action = next((word for word in words if not word.startswith("-")), "")
    rest = list(words)
    if action in ("list", "show"):
        rest.remove(action)
    arguments, overrides = _config_parser(action).parse_apart(rest)
    if action == "list":
        from spikelore.experiments import shipped
        from spikelore.report.tables import print_table

        if overrides:
            raise InputError(f"{overrides[0]} is not known to config list, which takes no values; leave it out")
        rows = [vars(each) for each in shipped.available()]
        print_table(rows, ["name", "experiment", "takes", "what"])
        return 0
    from spikelore.experiments import config_file, explained, shipped, typed
    from spikelore.files import user_path

    named = arguments.config
    if named in config_file.KINDS and not user_path(named).is_file():
        start = config_file.KINDS[named].start()
        config = config_file.build(named, typed.plain(start), overrides)
    else:
        config = config_file.read(shipped.find(named), overrides)
    print(explained.explained(config), end="")
    return 0


def _evaluate_parser() -> _Parser:
    parser = _Parser(
        "evaluate", description="Measure a checkpoint, or every checkpoint of a run, on a dataset's test set."
    )
    parser.add_argument("run", type=_path, help="a run folder or a checkpoint (.safetensors)")
    parser.add_argument("--data", help="dataset name (a replay run: by default its own)")
    parser.add_argument("--classes", type=_whole, nargs="+", help="only images of these classes (default: all)")
    _add_common(parser, "--data-dir", "--device")
    return parser


def _evaluate(arguments: argparse.Namespace) -> int:
    from spikelore.experiments.evaluation import evaluate
    from spikelore.report.tables import print_table

    title, rows = evaluate(
        arguments.run, arguments.data, arguments.data_dir, arguments.classes or (), arguments.device or "cpu"
    )
    print_table(rows, list(rows[0]), title)
    return 0


def _sweep_parser() -> _Parser:
    parser = _Parser(
        "sweep",
        description="Run an experiment over a grid of values and seeds; one report a grid point compares its seeds.",
    )
    parser.add_argument("config", help="a YAML file, or a name from: spikelore config list")
    parser.add_argument(
        "--grid", action="append", default=[], metavar="KEY=VALUE,VALUE,...",
        help="values of one name, those that are lists in brackets, as in network.channels=[4,8],[8,16]; may be "
        "repeated",
    )  # fmt: skip
    parser.add_argument("--seeds", type=_whole, default=1, help="seeds 0 .. SEEDS-1 (default: 1)")
    _add_common(
        parser, "--resume", "--data-dir", "--out", "--jobs", "--ray", "--device",
        resume="go on: finished runs are kept", out="folder of the runs (default: a new one under runs/)",
    )  # fmt: skip
    return parser


def _sweep(arguments: argparse.Namespace) -> int:
    from spikelore.experiments import shipped
    from spikelore.experiments.sweep import sweep
    from spikelore.folders import folder_for

    file = shipped.find(arguments.config)
    with folder_for(arguments.out, f"{file.stem}-sweep", arguments.resume) as out:
        swept = sweep(
            file, arguments.grid, arguments.seeds, out, arguments.data_dir,
            resume=arguments.resume, jobs=arguments.jobs, ray=arguments.ray, device=arguments.device,
        )  # fmt: skip
    for page in swept.pages:
        print(printable(str(page)))
    if swept.failed:
        raise swept.failed
    return 0


def _report_parser() -> _Parser:
    parser = _Parser("report", description="Write the report of a run or a sweep again, or one that compares several.")
    parser.add_argument("runs", type=_path, nargs="+", help="folders of runs or sweeps")
    parser.add_argument("--out", type=_path, default=Path("comparison"), help="folder of a comparison")
    _add_common(parser)
    return parser


def _report(arguments: argparse.Namespace) -> int:
    from spikelore import report

    runs = arguments.runs
    page = report.write(runs[0]) if len(runs) == 1 else report.compare(runs, arguments.out)
    print(printable(str(page)))
    return 0


def _bench_parser() -> _Parser:
    parser = _Parser("bench", description="Measure speed, checking results in the same run; prints JSON.")
    parser.add_argument("what", choices=["first-spike", "lif", "surrogate", "recurrent"], help="which network")
    parser.add_argument("--images", type=_whole, default=512, help="images or recordings a measurement (default: 512)")
    _add_common(parser, "--data-dir", "--seed")
    return parser


def _bench(arguments: argparse.Namespace) -> int:
    import json

    if arguments.what == "first-spike":
        from spikelore.bench.first_spike import first_spike as measure
    elif arguments.what == "lif":
        from spikelore.bench.lif import lif as measure
    elif arguments.what == "recurrent":
        from spikelore.bench.recurrent import recurrent as measure
    else:
        from spikelore.bench.surrogate import surrogate as measure
    print(json.dumps(measure(arguments.images, arguments.seed), indent=2))
    return 0


_COMMANDS = {
    "data": (_data_parser, _data, "list, download, import and check datasets"),
    "reproduce": (_reproduce_parser, _reproduce, "run a published experiment"),
    "evaluate": (_evaluate_parser, _evaluate, "measure checkpoints on a test set"),
    "fuse": (_fuse_parser, _fuse, "fuse trained networks into one"),
    "export": (_export_parser, _export, "write a trained network for other libraries and chips"),
    "sweep": (_sweep_parser, _sweep, "run a grid of values and seeds"),
    "report": (_report_parser, _report, "write or compare reports"),
    "bench": (_bench_parser, _bench, "measure speed"),
}


_ALL = {
    "run": "run an experiment from a YAML file or by its name",
    "config": "list configurations, and explain one",
    **{name: each[2] for name, each in _COMMANDS.items()},
    "version": "print the version",
    "help": "tell about a command",
}
_RESUMABLE = ("run", "reproduce", "sweep")
_REPEATABLE = ("--grid", "--budget")


def _usage() -> str:
    lines = [f"  {name:<10} {text}" for name, text in _ALL.items()]
    told = (
        "spikelore COMMAND --help tells more. How far a command is shows on stderr: a bar on a terminal, elsewhere a\n"
        "line now and then; SPIKELORE_QUIET=1 in the environment turns both off."
    )
    return "\n".join(["usage: spikelore COMMAND ...", "", *lines, "", told])


def _dispatch(words: list[str]) -> int:
    if words[:1] == ["help"]:
        words = [*([] if words[1:2] == ["help"] else words[1:]), "--help"]
    if not words or words[0] in ("-h", "--help"):
        print(_usage())
        return 0 if words else 2
    command, rest = words[0], words[1:]
    if command in ("--version", "-V", "version"):
        from spikelore import __version__

        print(__version__)
        return 0
    if command not in _ALL:
        alike = get_close_matches(command, _ALL, n=1)
        remedy = f"did you mean {alike[0]}? " if alike else ""
        raise InputError(f"no command {command!r}; {remedy}the commands are {', '.join(_ALL)}")
    _refuse_repeated(rest)
    if command in ("run", "config"):
        return (_run if command == "run" else _config)(rest)
    make_parser, action, _ = _COMMANDS[command]
    return action(make_parser().parse_args(rest))


def _refuse_repeated(words: Sequence[str]) -> None:
    """Refuse an option that is given twice: parsers keep the last one and say nothing."""
    counts = Counter(word.partition("=")[0] for word in words if word.startswith("--"))
    for name, count in counts.items():
        if count > 1 and name not in _REPEATABLE:
            raise InputError(f"{name} is given {'twice' if count == 2 else f'{count} times'}; give it once")


def _fault(error: Exception, command: str) -> str:
    """Say in one line what failed where nobody foresaw it."""
    out_of_memory = isinstance(error, MemoryError) or "can't allocate memory" in str(error)
    if out_of_memory and command in _RESUMABLE:
        return "out of memory; free some and go on with the same command and --resume, or run a smaller configuration"
    if out_of_memory:
        return "out of memory; free some, or give the command less to do at once"
    told = " ".join(str(error).split()) or "no message"
    if isinstance(error, OSError) and error.strerror:
        where = f" ({error.filename})" if error.filename else ""
        return f"the system refused: {error.strerror}{where}; mend that and try again, or see more with --debug"
    return (
        f"{type(error).__name__}: {told[:300]}; a fault of Spikelore: please report what the same command prints with "
        "--debug"
    )


class _Terminated(KeyboardInterrupt):
    """A scheduler, or who else sends SIGTERM, wants the process to end."""


def _terminate(*_: Any) -> None:
    raise _Terminated


def main() -> None:
    """Run the command; one line on stderr and exit code 1 or 2 when it fails, 130 or 143 when it is told to stop."""
    collector.looks_seldom()
    before = signal.signal(signal.SIGTERM, _terminate)
    words = sys.argv[1:]
    command = words[0] if words else ""
    if sys.stdout is None or sys.stderr is None:  # closed by who started this, as by >&-
        nowhere = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  # for as long as the process lasts
        sys.stdout, sys.stderr = sys.stdout or nowhere, sys.stderr or nowhere
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # what the terminal cannot show is shown by its number
            stream.reconfigure(errors="backslashreplace")
    try:
        code = _dispatch(words)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, such as head, has seen enough
        sys.stdout = None
        code = 0
    except KeyboardInterrupt as stop:
        remedy = "; go on with the same command and --resume" if command in _RESUMABLE else ""
        told = isinstance(stop, _Terminated)
        _say(f"{'terminated' if told else 'interrupted'}{remedy}")
        code = 143 if told else 130
    except Exception as error:
        if "--debug" in words:
            raise
        ours = isinstance(error, SpikeloreError)
        _say(str(error) if ours else _fault(error, command))
        code = error.exit_code if ours else 1
    finally:
        signal.signal(signal.SIGTERM, before)
    sys.exit(code)
