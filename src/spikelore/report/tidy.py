"""The tidy table of runs: a row for each of their results' rows, for pandas, DuckDB or anything that reads Parquet."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spikelore.files import write_bytes_atomic

if TYPE_CHECKING:  # slow to load, and a command's help needs no table
    import pandas

_OF_THE_RUN = ("experiment", "seed", "data")


def tidy(results: Mapping[str, Any], **told: Any) -> "pandas.DataFrame":
    """Return the ``rows`` of ``results.json`` as a table.

    Args:
        results: of a run; what a row says itself, such as its seed, is not taken from the run.
        told: further columns, the first ones, such as the values of a grid.
    """
    import pandas

    run = {name: results[name] for name in _OF_THE_RUN}
    run["data"] = ", ".join(run["data"])
    return pandas.DataFrame([{**told, **run, **row} for row in results["rows"]])


def write_table(path: Path, table: "pandas.DataFrame") -> None:
    """Write a table as Parquet.

    Raises:
        SpikeloreError: it cannot be written.
    """
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False)
    write_bytes_atomic(path, buffer.getvalue())
