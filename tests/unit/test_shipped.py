"""The configurations that come with the package: all there, found by name, listed, and explained whole."""

import tomllib
from dataclasses import fields, is_dataclass
from importlib.resources import files
from pathlib import Path
from typing import get_args

import pytest

from spikelore import plain_yaml
from spikelore.errors import InputError
from spikelore.experiments import config_file, expected, shipped, typed
from spikelore.experiments.explained import explained, meanings

PROJECT = Path(__file__).parents[2]


def test_package_data_are_complete():
    """What the build takes in is what the package asks for, and every file of the folder is taken in."""

    patterns = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"][
        "spikelore"
    ]
    package = Path(str(files("spikelore")))
    taken = {path for pattern in patterns for path in package.glob(pattern)}
    data = {
        path
        for path in package.rglob("*")
        if path.is_file() and path.suffix != ".py" and path.parent.name != "__pycache__"
    }
    assert data == taken
    assert {shipped.FOLDER / f"{name}.yaml" for name in shipped.names()} < taken
    assert (PROJECT / "configs").resolve() == shipped.FOLDER.resolve()
    for path in shipped.FOLDER.iterdir():
        assert path.name.partition(".")[0] in shipped.names(), path.name
        assert path.name.partition(".")[2] in ("yaml", "expected.yaml", "results.json", "seeds.json"), path.name


def test_every_shipped_configuration_can_be_run_and_tells_what_it_does():
    rows = shipped.available()
    assert [row.name for row in rows] == sorted(shipped.names())
    assert len(rows) >= 16
    for row in rows:
        config = config_file.read(shipped.find(row.name))
        assert config_file.kind_of(config) == row.experiment
        assert "minute" in row.takes or "hour" in row.takes, row
        assert 20 < len(row.what) < 90, row
        table = expected.beside(shipped.find(row.name))
        assert not table.exists() or expected.read(table)


def test_a_file_comes_before_a_shipped_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert shipped.find("fusion_five") == shipped.FOLDER / "fusion_five.yaml"
    assert shipped.find("fusion_five.yaml") == shipped.FOLDER / "fusion_five.yaml"
    Path("fusion_five.yaml").write_text("experiment: fusion")
    assert shipped.find("fusion_five.yaml") == Path("fusion_five.yaml")
    Path("fusion_five").write_text("experiment: fusion")
    assert shipped.find("fusion_five") == Path("fusion_five")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert shipped.find("~/fusion_five.yaml") == tmp_path / "fusion_five.yaml"


def test_a_wrong_name_is_answered_by_those_that_are_alike(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for word, says in (
        ("fusion_fiv", r"did you mean fusion_five, "),
        ("configs/replay_best.yaml", r"configs/replay_best\.yaml is neither a file nor .*did you mean replay_best, "),
        ("zzz", r"zzz is neither a file nor the name of a shipped configuration; .*spikelore config list"),
    ):
        with pytest.raises(InputError, match=says):
            shipped.find(word)
    (tmp_path / "run").mkdir()
    with pytest.raises(InputError, match="run is a folder, expected a configuration file; name a file in it"):
        shipped.find("run")
    (tmp_path / "run" / "config.yaml").touch()
    with pytest.raises(InputError, match=r"name run/config\.yaml"):
        shipped.find("run")


EVERY = [*config_file.KINDS, *shipped.names()]


def config_of(name):
    return config_file.KINDS[name].start() if name in config_file.KINDS else config_file.read(shipped.find(name))


@pytest.mark.parametrize("name", EVERY)
def test_an_explained_configuration_reads_back_equal(name, tmp_path):
    config = config_of(name)
    (tmp_path / "it.yaml").write_text(explained(config), encoding="utf-8")
    assert config_file.read(tmp_path / "it.yaml") == config
    # as does what a run folder keeps
    (tmp_path / "it.yaml").write_text(
        plain_yaml.dump({"experiment": config_file.kind_of(config), **typed.plain(config)})
    )
    assert config_file.read(tmp_path / "it.yaml") == config


def test_labels_of_any_text_read_back(tmp_path):
    for label in ("no", "010", "1e3", "größe", "null", "", "two\nlines", "a: b"):
        words = ["--label", label, "--memory.images=8"]
        config = config_file.build("replay", {"data": "digits-sample"}, words)
        assert config.label == label
        (tmp_path / "it.yaml").write_text(explained(config), encoding="utf-8")
        assert config_file.read(tmp_path / "it.yaml") == config


def classes_within(config):
    """A configuration class and those of its sections and lists."""
    yield config
    for hint in typed.hints_of(config).values():
        for one in (hint, *get_args(hint)):
            if isinstance(one, type) and is_dataclass(one):
                yield from classes_within(one)


@pytest.mark.parametrize("kind", config_file.KINDS)
def test_every_value_is_documented(kind):
    for config in classes_within(config_file.KINDS[kind].config):
        assert set(meanings(config)) == {one.name for one in fields(config)}, config
        assert all(meanings(config).values())


def test_what_stands_above_a_value():
    lines = explained(config_file.build("replay", {"memory": {"images": 8}, "network": {"hidden": [64]}})).splitlines()
    at = lines.index("  hidden: [64]")
    assert lines[at - 2 : at] == [
        "  # neurons of each fully connected layer between the convolutions and the output (a list of whole numbers;",
        "  # default: [])",
    ]
    at = lines.index("  kind: split")
    assert lines[at - 1].endswith("# rotated)") or "one of split, grouped, permuted, rotated" in lines[at - 1]
    fusion = explained(config_file.build("fusion", {"later_start": "first"}))
    assert 'default: "initial")' in fusion.replace("\n# ", " ")
    assert (
        "#   classes: the labels to use; all if not given (a list of whole numbers, or null)\nfurther: null" in fusion
    )
