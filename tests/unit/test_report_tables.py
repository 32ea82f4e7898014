import io

import pytest
from rich.console import Console

from spikelore.report.tables import print_table


def printed(rows, columns, title="", width=80):
    out = io.StringIO()
    print_table(rows, columns, title, console=Console(file=out, width=width, highlight=False))
    lines = [line.rstrip() for line in out.getvalue().splitlines()]
    assert all(len(line) <= width for line in lines)
    return lines


FUSION = [
    {"name": "bagging", "preset": "published", "kept": None, "a": 0.5, "b": 0.25, "features": 1000},
    {"name": "fused", "preset": "published", "kept": "top fraction", "a": 0.4, "b": 1.0, "features": 200},
    {"name": "fused", "preset": "best", "kept": "merge", "a": 0.875, "b": 0.0, "features": 200},
]


def test_fractions_are_per_cent_and_presets_are_headings():
    assert printed(FUSION, list(FUSION[0]), "fusion") == [
        "fusion",
        "name         kept           a %    b %  features",
        "────────────────────────────────────────────────",
        "[published]",
        "bagging                    50.0   25.0     1,000",
        "fused        top fraction  40.0  100.0       200",
        "",
        "[best]",
        "fused        merge         87.5    0.0       200",
    ]


def test_what_all_rows_share_is_told_once():
    rows = [{"set": "white", "seed": 3, "spikes": 1500.0, "none": None}, {"set": "known", "seed": 3, "spikes": 2.5}]
    assert printed(rows, ["set", "seed", "spikes", "none"]) == [
        "all rows: seed 3",
        "set    spikes",
        "─────────────",
        "white   1,500",
        "known     2.5",
    ]
    assert printed(rows[:1], ["set", "seed"]) == ["set    seed", "───────────", "white     3"]
    assert printed([{"x": 1}, {"x": 1}], ["x"]) == ["all rows: x 1"]


def test_presets_over_numbers_alone_stay_a_column():
    rows = [{"preset": "published", "bytes": 5}, {"preset": "best", "bytes": 6}]
    assert printed(rows, ["preset", "bytes"])[2:] == ["published      5", "best           6"]


def test_a_table_too_wide_becomes_a_paragraph_a_row():
    lines = printed(FUSION, list(FUSION[0]), width=30)
    assert lines == [
        "bagging [published]",
        "  a 50.0 %, b 25.0 %, features",
        "  1,000",
        "fused [published]",
        "  kept top fraction, a 40.0 %,",
        "  b 100.0 %, features 200",
        "fused [best]",
        "  kept merge, a 87.5 %, b 0.0",
        "  %, features 200",
    ]


@pytest.mark.parametrize("width", [50, 80])
def test_only_the_last_column_wraps(width):
    rows = [{"name": "one", "text": "word " * 30}, {"name": "two", "text": "short"}]
    lines = printed(rows, ["name", "text"], width=width)
    assert lines[2].startswith("one   word word")
    assert lines[-1] == "two   short"
    assert len(lines) > 4
