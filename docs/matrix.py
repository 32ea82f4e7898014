"""Run every network with every method on real digits and write the table: python docs/matrix.py

Cells that `matrix.json` has are not run again; ``--page`` only writes the page. Without it, the file is added to.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

import spikelore as sl

HERE = Path(__file__).parent
sys.path.append(str(HERE.parent / "tests" / "conformance"))
from conformance_parts import NETWORKS, methods, surrogate  # noqa: E402

ROWS = HERE / "matrix.json"
TASKS = [(0, 1), (2, 3), (4, 5), (6, 7), (8, 9)]
NETWORKS = NETWORKS | {"surrogate": lambda stream: surrogate(stream, sl.GradientLearning(2e-3, readout="drive"))}
METHODS = methods(sl.Memory(images=200), batch=8, epochs=1)

PAGE = """# Every network with every method

Handwritten digits, two after two ("digits-sample", class-incremental, every second image: 1800 to learn from, each
shown once, 500 to test on, 100 a task), seed 0. A cell has the average accuracy over the ten digits after the last
task / how many points of it were forgotten / the bytes kept of earlier tasks. Chance is 10 %; what forgets all but the
last two digits reaches at most 20 %. Memories hold 200 images. `wrapped` is a torch module and `nearest mean` a
network of NumPy, both of somebody else's; the surrogate network decides by its last weights, not by their running
mean, which lags in so few steps; `a-gem` and `every second` are methods of somebody else's. One seed shows
what runs, not which method is better: settings are the same everywhere and fitted to none.

At or near 10 % stand, as is to be expected in 45 steps a task, what stores no example for the surrogate network (naive,
published replay, ewc, lwf, si, hlop, sleep, decay, pruning, protection; [some of them](without-images.md) do better
with other settings), `a-gem` with its plain loss (with `loss_over="batch"` it is far better, see `examples/agem.py`),
and weight decay whose time constant of 2000 images is too short for templates.

Made by `python docs/matrix.py` from `matrix.json`, which it fills; settings are those of
`tests/conformance/conformance_parts.py`.

{table}

{count} of {cells} cells run. Why the others do not:

{holes}
"""


def digits() -> sl.Stream:
    """Return the stream: every second image of each task."""
    stream = sl.split_stream("digits-sample", TASKS)

    def half(images):
        return images.take(np.arange(0, len(images), 2))

    tasks = [replace(task, train=half(task.train), test=half(task.test)) for task in stream.tasks]
    return replace(stream, tasks=tuple(tasks))


def run_cells(rows: dict[str, dict]) -> None:
    """Add the cells that ``rows`` lacks, and write the file after each."""
    stream = digits()
    for network, make in NETWORKS.items():
        for method, told in METHODS.items():
            cell = f"{network} x {method}"
            if cell in rows:
                continue
            made = make(stream)
            if method == "published replay" and network == "surrogate":
                made.learning = sl.GradientLearning()  # its logits are counts of spikes
            reason = sl.why_not(told, made)
            rows[cell] = {"why_not": reason} if reason else sl.run(stream, made, told, seed=0).row()
            ROWS.write_text(json.dumps(rows, indent=1, default=float) + "\n", encoding="utf-8")
            print(cell, reason or f"{100 * rows[cell]['average_accuracy']:.1f} %", flush=True)


def page(rows: dict[str, dict]) -> str:
    """Return the page of the rows."""
    notes: list[str] = []

    def cell(row: dict) -> str:
        if reason := row.get("why_not"):
            if reason not in notes:
                notes.append(reason)
            return f"({notes.index(reason) + 1})"
        forgotten = "" if row["forgetting"] is None else f"{100 * row['forgetting']:.1f}"
        return f"{100 * row['average_accuracy']:.1f} % / {forgotten or '-'} / {row['memory_bytes']}"

    lines = [f"| method | {' | '.join(NETWORKS)} |", "| --- " * (len(NETWORKS) + 1) + "|"]
    for method in METHODS:
        lines.append(f"| {method} | " + " | ".join(cell(rows[f"{each} x {method}"]) for each in NETWORKS) + " |")
    return PAGE.format(
        table="\n".join(lines),
        holes="\n".join(f"{n}. {reason[0].upper()}{reason[1:]}." for n, reason in enumerate(notes, 1)),
        count=sum("why_not" not in row for row in rows.values()),
        cells=len(rows),
    )


def main() -> None:
    """Run what is missing and write the page."""
    rows = json.loads(ROWS.read_text(encoding="utf-8")) if ROWS.exists() else {}
    if "--page" not in sys.argv:
        run_cells(rows)
    (HERE / "matrix.md").write_text(page(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
