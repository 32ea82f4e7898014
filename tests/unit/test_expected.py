import json
from pathlib import Path

import pytest
import yaml

from spikelore.errors import InputError
from spikelore.experiments import config_file
from spikelore.experiments.expected import Expectation, beside, compare, read

CONFIGS = Path(__file__).parents[2] / "configs"
RESULTS = {
    "seconds": 12.5,
    "rows": [
        {"name": "fused", "preset": "published", "a": 0.5},
        {"name": "fused", "preset": "best", "a": 0.75},
        {"name": "network a", "preset": "published", "a": 0.95, "kept": None},
    ],
    "sets": [{"set": "white", "spikes": 3}],
}


@pytest.mark.parametrize(
    ("settings", "value", "holds"),
    [
        ({"about": 0.75, "within": 0.01}, 0.76, True),
        ({"about": 0.75, "within": 0.01}, 0.74, True),
        ({"about": 0.75, "within": 0.01}, 0.761, False),
        ({"about": 0.75, "within": 0.01}, 0.739, False),
        ({"at_least": 0.75}, 0.75, True),
        ({"at_least": 0.75}, 0.749, False),
        ({"at_most": 3}, 3, True),
        ({"at_most": 3}, 4, False),
        ({"at_least": 1, "at_most": 3}, 0, False),
        ({"about": 2, "within": 1, "at_most": 2}, 2.5, False),
    ],
)
def test_the_range(settings, value, holds):
    assert Expectation("it", "a", **settings).holds(value) is holds


def test_a_value_is_found_by_what_its_row_is():
    def found(value, row=None, table="rows"):
        return Expectation("it", value, row=row, table=table, at_least=0).find(RESULTS)

    assert found("a", {"name": "fused", "preset": "best"}) == 0.75
    assert found("a", {"name": "network a"}) == 0.95
    assert found("spikes", {"set": "white"}, "sets") == 3
    assert found("seconds") == 12.5
    assert found("a", {"name": "fused"}) is None  # two rows
    assert found("a", {"name": "bagging"}) is None  # none
    assert found("b", {"name": "network a"}) is None
    assert found("kept", {"name": "network a"}) is None
    assert found("a", {"name": "fused"}, "nowhere") is None


def test_the_lines_tell_what_holds_and_what_was_published():
    expectations = [
        Expectation("single", "a", {"name": "network a"}, about=0.95, within=0.01, published=0.94, reproduced=True),
        Expectation("fused", "a", {"name": "fused", "preset": "best"}, at_least=0.8, published=0.87, reproduced=False),
        Expectation("lost", "a", {"name": "bagging"}, at_least=0.8),
    ]
    assert compare(expectations, RESULTS) == [
        (True, "holds  single: 0.95 (expected 0.95 ± 0.01; published 0.94, reproduced)"),
        (False, "FAILS  fused: 0.75 (expected at least 0.8; published 0.87, not reproduced)"),
        (False, "FAILS  lost: not in the results (expected at least 0.8)"),
    ]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("expectations: [", r"x\.expected\.yaml is not valid YAML: it ends, in line 1, before all its brackets"),
        ("rows: []", "one list called expectations"),
        ("expectations: 3", "one list called expectations"),
        (
            "expectations: [{what: it, value: a, abuot: 3}]",
            "entry 1: abuot is not known, expected one of what, value, row",
        ),
        ("expectations: [{what: it, at_least: 3}]", "entry 1: value is missing, expected a text; add it"),
        ("expectations: [3]", "entry 1 is 3, expected names with values"),
        ("expectations: [{what: it, value: a, about: many, within: 1}]", "entry 1: about is 'many', expected a number"),
        ("expectations: [{what: it, value: a, row: fused, at_least: 1}]", "entry 1: row is 'fused', expected names"),
        ("expectations: [{what: it, value: a, at_least: 3, at_least: 4}]", "at_least is given twice, in line 1"),
        ("expectations: [{what: it, value: a}]", "'it' has no range"),
        ("expectations: [{what: it, value: a, about: 1}]", "both about and within"),
        ("expectations: [{what: it, value: a, at_least: 1, published: 1}]", "both published and reproduced"),
    ],
)
def test_files_of_another_form_are_refused(tmp_path, content, says):
    (tmp_path / "x.expected.yaml").write_text(content)
    with pytest.raises(InputError, match=says):
        read(tmp_path / "x.expected.yaml")


EXPECTED = sorted(CONFIGS.glob("*.expected.yaml"))


@pytest.mark.parametrize("path", EXPECTED, ids=lambda path: path.name)
def test_every_expected_table_belongs_to_a_configuration_and_holds_for_the_results_kept_with_it(path):
    config = CONFIGS / f"{path.name.removesuffix('.expected.yaml')}.yaml"
    assert beside(config) == path
    config_file.read(config)
    expectations = read(path)
    assert expectations
    assert len({one.what for one in expectations}) == len(expectations)
    kept = config.with_suffix(".results.json")
    if kept.exists():
        told = compare(expectations, json.loads(kept.read_text()))
        assert [line for holds, line in told if not holds] == []


def test_the_first_experiment_has_expected_tables():
    assert {"fusion_quick.expected.yaml", "fusion_five.expected.yaml", "fusion_paper.expected.yaml"} <= {
        path.name for path in EXPECTED
    }
    for path in EXPECTED:
        assert yaml.safe_load(path.read_text())["expectations"]
