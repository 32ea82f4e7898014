"""The report of the study: every network with every method on every stream within every budget."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import product

from matplotlib.axes import Axes

from spikelore.report import style
from spikelore.report.over_runs import over_runs
from spikelore.report.page import Cell, Content, Drawing, Table, different
from spikelore.report.runs import Row, Run
from spikelore.report.tables import number

_KEYS = ("stream", "network", "method", "memory_images", "budget", "why_not", "failed")
_MEASURES = {
    "average_accuracy": "average", "forgetting": "forgetting", "backward_transfer": "backward",
    "forward_transfer": "forward", "anytime_accuracy": "anytime", "minimum_accuracy": "minimum",
    "stability_gap": "stability gap", "recency_bias": "recency bias",
}  # fmt: skip
_COSTS = ("memory_bytes", "joules_learning", "synops_learning", "synops_per_input", "seconds")
_MARKERS = "os^Dv<>Pp*Xhd8+x1234|_"


def _gathered(runs: Sequence[Run]) -> list[Row]:
    rows = [[{**row, "memory_images": _asked(row)} for row in run.results["rows"]] for run in runs]
    return over_runs(rows, _KEYS, [*_MEASURES, *_COSTS])


def _asked(row: Row) -> int:
    """Return how many images a memory was asked to hold; 0 where it was asked for bytes."""
    return 0 if row.get("budget") or "method" not in row else row.get("memory_images", 0)


def _kept(row: Row) -> str:
    if row.get("budget"):
        return f"{row['budget']:,} bytes"
    return f"{row['memory_images']:,} images" if row["memory_images"] else ""


def _learner(row: Row) -> str:
    return ", ".join(filter(None, (row["method"], _kept(row))))


def _matrix(rows: list[Row], networks: list[str], sentences: list[str]) -> list[Table]:
    """Return a table a stream: a line a method and budget, a column a network."""
    tables = []
    for stream in different(rows, "stream"):
        mine = [row for row in rows if row["stream"] == stream]
        holes = {(row["network"], row["method"]): row for row in mine if row.get("why_not")}
        cells = {(row["network"], _learner(row)): row for row in mine if not row.get("why_not")}
        best = {
            network: max((row["average_accuracy"].mean for row in mine if row["network"] == network and _whole(row)),
                         default=0.0)
            for network in networks
        }  # fmt: skip

        def cell(line: Row, network: str, *, cells=cells, holes=holes, best=best) -> Cell:
            row = cells.get((network, _learner(line))) or holes.get((network, line["method"]))
            if row is None:
                return Cell("")
            if row.get("why_not"):
                if row["why_not"] not in sentences:
                    sentences.append(row["why_not"])
                return Cell("–", f"({sentences.index(row['why_not']) + 1})")
            if "average_accuracy" not in row:
                return Cell("failed")
            spread = row["average_accuracy"]
            return Cell(spread.percent(), strong=spread.mean == best[network])

        lines = list({_learner(row): row for row in mine if not row.get("why_not")}.values())
        known = {row["method"] for row in lines}
        lines += list({row["method"]: row for row in mine if row["method"] not in known}.values())
        tables.append(
            Table.of(
                f"Average accuracy: {stream}",
                "Over the tasks at the end, %, mean ± sample standard deviation over seeds; the best of each network "
                "stands out; what has no meaning has the number of its reason.",
                lines,
                {"method": lambda row: row["method"], "memory": _kept}
                | {name: lambda row, name=name, cell=cell: cell(row, name) for name in networks},
                text_columns=2,
            )
        )
    return tables


def _whole(row: Row) -> bool:
    return "average_accuracy" in row and row["method"] != "joint"


def _measures(rows: list[Row]) -> Table:
    def share(name: str):
        return lambda row: row[name].percent() if name in row else ""

    return Table.of(
        "Every measure",
        "%: anytime, the mean over points of measurement; minimum, the lowest since a task was learned; recency bias, "
        "the share of earlier tasks' inputs decided for a class of the last.",
        rows,
        {"network": lambda row: row["network"], "learner": _learner}
        | {title: share(name) for name, title in _MEASURES.items() if any(name in row for row in rows)},
        by=lambda row: row["stream"],
        text_columns=2,
    )


def _costs(rows: list[Row]) -> Table:
    def amount(name: str, scale: float = 1):
        return lambda row: number(scale * row[name].mean) if name in row else "–"

    return Table.of(
        "What it keeps and what it costs",
        "Bytes kept of earlier tasks; energy and synaptic operations of all learning, replayed images included; "
        "operations of deciding an input; seconds of one core. What a method computes beside the network is not in it.",
        rows,
        {
            "network": lambda row: row["network"],
            "learner": _learner,
            "accuracy": lambda row: row["average_accuracy"].percent(),
            "bytes kept": amount("memory_bytes"),
            "learning, mJ": amount("joules_learning", 1e3),
            "learning, million operations": amount("synops_learning", 1e-6),
            "an input, operations": amount("synops_per_input"),
            "seconds": amount("seconds"),
        },
        by=lambda row: row["stream"],
        text_columns=2,
    )


def _cloud(rows: list[Row], cost: str, across: str, least: float, scale: float = 1.0) -> Drawing | None:
    """Return accuracy against a cost, a panel for each stream of several cells.

    A method has a marker, a network a colour; where there is one network alone, a method has that, too. The sizes of
    its memory are joined. What is below ``least``, such as no byte at all, stands there.
    """
    told = [{**row, "x": max(least, scale * row[cost].mean)} for row in rows if cost in row]
    cells = Counter(row["stream"] for row in told)
    told = [row for row in told if cells[row["stream"]] > 1]
    if not told:
        return None
    streams, methods, networks = (different(told, name) for name in ("stream", "method", "network"))
    one = len(networks) == 1
    hues = {name: style.colour(n) for n, name in enumerate(methods if one else networks)}
    markers = {method: _MARKERS[n % len(_MARKERS)] for n, method in enumerate(methods)}
    lowest = min(row["average_accuracy"].mean for row in told)
    figure, axes = style.panels(len(streams), 4.2, share_y=True)
    figure.set_figwidth(style.WIDTH)
    for panel, stream in zip(axes, streams, strict=True):
        for network, method in product(networks, methods):
            mine = [row for row in told if (row["stream"], row["network"], row["method"]) == (stream, network, method)]
            _points(panel, mine, hues[method if one else network], markers[method])
        style.logarithmic(panel, [row["x"] for row in told])
        panel.set_title(stream)
        panel.set_xlabel(across)
        style.percent_axis(panel, "y", lowest)
    axes[0].set_ylabel("average accuracy at the end")
    looks = {} if one else {network: ("o", hue) for network, hue in hues.items()}
    looks |= {method: (marker, hues[method] if one else style.MUTED) for method, marker in markers.items()}
    handles = [axes[0].plot([], [], marker, color=colour, markersize=6)[0] for marker, colour in looks.values()]
    columns = 3 if max(map(len, looks)) > 24 else 5
    figure.set_figheight(figure.get_figheight() + 0.2 * -(-len(handles) // columns))
    figure.legend(handles, [*looks], loc="outside lower center", ncols=columns)
    name = {"memory_bytes": "bytes", "joules_learning": "learning"}[cost]
    title = {"bytes": "Accuracy against bytes", "learning": "Accuracy against the energy of learning"}[name]
    caption = "Better is higher and further left; the scale is logarithmic."
    if name == "bytes":
        caption += f" What keeps less than {least:,.0f} bytes stands at the left edge."
    return Drawing(name, title, caption, figure)


def _points(panel: Axes, rows: list[Row], colour: str, marker: str) -> None:
    """Draw the cells of a network and a method on a stream, joined."""
    rows = sorted(rows, key=lambda row: row["x"])
    panel.plot(
        [row["x"] for row in rows], [row["average_accuracy"].mean for row in rows], color=colour, alpha=0.4, lw=1
    )
    for row in rows:
        at, spread = [row["x"]], row["average_accuracy"]
        label = f"{row['network']}, {_learner(row)}"
        panel.plot(at, [spread.mean], marker, color=colour, alpha=0.8, markersize=6, label=label)
        if len(spread.values) > 1:
            panel.errorbar(at, [spread.mean], [spread.deviation], fmt="none", capsize=2, color=colour)


def _reasons(rows: list[Row], sentences: list[str]) -> list[Table]:
    found: list[Mapping[str, str]] = [{"n": str(n), "why": each} for n, each in enumerate(sentences, 1)]
    failed = [row for row in rows if row.get("failed")]
    tables = []
    if found:
        tables.append(
            Table.of("Why not", "", [dict(each) for each in found],
                     {"": lambda row: f"({row['n']})", "reason": lambda row: row["why"]}, text_columns=2)
        )  # fmt: skip
    if failed:
        tables.append(
            Table.of(
                "What failed",
                "The others are kept; --resume tries these again.",
                failed,
                {"stream": lambda row: row["stream"], "network": lambda row: row["network"], "learner": _learner,
                 "reason": lambda row: row["failed"]},
                text_columns=4,
            )
        )  # fmt: skip
    return tables


def content(runs: Sequence[Run]) -> Content:
    """Return the page of one run, or of several: rows of the same cell are averaged."""
    rows = _gathered(runs)
    networks, sentences = different(rows, "network"), list[str]()
    done = [row for row in rows if "average_accuracy" in row]
    matrix = _matrix(rows, networks, sentences)
    drawings = [
        _cloud(done, "memory_bytes", "bytes kept of earlier tasks", 1000),
        _cloud(done, "joules_learning", "millijoules of all learning", 0, 1e3),
    ]
    highlights = []
    for stream in different(done, "stream"):
        best = max((row for row in done if row["stream"] == stream and _whole(row)), default=None,
                   key=lambda row: row["average_accuracy"].mean)  # fmt: skip
        if best:
            what = f"{stream}: {best['network']}, {_learner(best)}"
            highlights.append((f"{best['average_accuracy'].percent()} %", what))
    holes = sum(bool(row.get("why_not")) for row in rows)
    return Content(
        "The study",
        f"{len(done)} cells: networks with methods on streams, within memories of different sizes; {holes} more have "
        "no meaning.",
        highlights,
        [*matrix, *_reasons(rows, sentences), *([_measures(done), _costs(done)] if done else [])],
        [drawing for drawing in drawings if drawing],
    )
