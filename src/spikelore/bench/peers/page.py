"""What was measured, as a page of the documentation."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_INTRODUCTION = """# Speed beside other libraries

`make bench-peers` measures it on your machine: it makes an environment for each library, gives each the same weights,
data and number of threads, compares results with ours, and only then takes times, in turns. `PEERS="snntorch norse"`
chooses libraries, `ROUNDS=` (5 at least) and `THREADS=` how they are measured, and `SPYKETORCH=FOLDER` names a checkout
of SpykeTorch, which no index carries. It writes `build/peers/peers.json` and `build/peers/peers.md`; this page is made
from such a file, [speed.json](speed.json).
"""

_READING = """Milliseconds an image or recording: the median of {rounds} rounds, least and most in brackets. The ratio
is the library's time over ours in the same round. *Share of the limit*: our effective operations a second
([what counts](study.md)) over the multiply-adds a second of a float32 matrix product in the same rounds. Effective
operations leave out what is 0, which a matrix product does not; sparse work cannot come near it.
"""

_WORKS = """## What is done

- **first-spike**: the published sizes, after 6000 images. 64 images are coded; each layer learns from them, one after
  the other; they are decided, from coded images on. Spyker has another coding, which is left out.
- **rate-lif**: the published network, 784 inputs, 30 excitatory and 30 inhibitory neurons, steps of 0.1 ms, after 300
  images. 16 images of 3500 steps, in training 1500 more of silence. Brian2 is given the spikes of the inputs, which we
  draw within our time, and its time is that of the steps, without code generation, compilation and files. Where it
  tests, it simulates 200 more steps an image, so that each begins at rest.
- **surrogate**: the published network with membranes carried, T = 30, a batch of 128, float32. All libraries convolve
  an image once, not at every step. A training step is forward, backward and Adam.
- **recurrent**: 700-200-100-50-20, three recurrent layers, T = 100, a batch of 64 random recordings with some 4900
  spikes each.

snnTorch's neurons are ours. SpikingJelly's and Norse's take the threshold off in the step of the spike, before the
leak: they are told to take off the threshold over beta, which is the same. The slope of the surrogate is 1, the only
one that all have.
"""


def page(report: Mapping[str, Any]) -> str:
    """Return the Markdown of what `measure` returned."""
    machine = report["machine"]
    where = (
        f"{machine['processor']}, {machine['cores']} cores, {machine['system']}, Python {machine['python']}, "
        f"{report['threads']} {'thread' if report['threads'] == 1 else 'threads'} each, {machine['date']}; "
        f"load average {machine['load']:.1f} when it began.\n"
    )
    timed = [row for row in report["rows"] if "ratio" in row]
    parts = [_INTRODUCTION, "## Measured\n", where, _READING.format(rounds=report["rounds"])]
    if timed:
        head = ["network", "work", "library", "results", "ours, ms", "library, ms", "ratio", "share of the limit"]
        parts.append(_table(head, [_row(row) for row in timed]))
        parts.append(_limits(timed))
    if untimed := [row for row in report["rows"] if "ratio" not in row]:
        parts.append(_table(["library", "work", "why there is no time"], [_reason(row) for row in untimed]))
    versions = (
        (name, ", ".join(" ".join(each) for each in found.items())) for name, found in report["versions"].items()
    )
    return "\n".join([*parts, _table(["library", "versions"], versions), _WORKS])


def _row(row: Mapping[str, Any]) -> list[str]:
    spreads = (_spread(row[name]) for name in ("ours_ms", "library_ms", "ratio"))
    return [row["network"], row["work"], row["library"], row["results"], *spreads, f"{row['our_share_of_limit']:.1%}"]


def _reason(row: Mapping[str, Any]) -> list[str]:
    return [row["library"], f"{row.get('network', '')} {row.get('work', '')}".strip() or "all", row["missing"]]


def _spread(values: Sequence[float]) -> str:
    middle, least, most = (f"{each:.0f}" if each >= 10 else f"{each:.2g}" for each in values)
    return f"{middle} ({least} to {most})"


def _limits(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the limits over all rounds, each library's row has those of its own."""
    product, copied = (
        statistics.median(row["limits"][name] for row in rows)
        for name in ("multiply_adds_a_second", "copied_bytes_a_second")
    )
    return (
        f"The limits, medians of all rounds: {product / 1e9:.0f} x 10^9 multiply-adds a second in the matrix product, "
        f"{copied / 1e9:.1f} GB a second read and written by a copy.\n"
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(each.replace('|', '/') for each in line)} |\n" for line in lines)
