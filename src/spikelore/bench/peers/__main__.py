"""``python -m spikelore.bench.peers``: measure, and write ``peers.json`` and ``peers.md``."""

import argparse
import sys
from pathlib import Path
from typing import Any

from spikelore.bench.peers.libraries import LIBRARIES
from spikelore.bench.peers.measure import measure
from spikelore.bench.peers.page import page
from spikelore.errors import SpikeloreError
from spikelore.files import write_json_atomic, write_text_atomic


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m spikelore.bench.peers", description="Our speed beside others'.")
    parser.add_argument("libraries", nargs="*", help=f"some of {', '.join(LIBRARIES)} (default: all)")
    parser.add_argument("--rounds", type=int, default=7, help="turns of each, 5 at least (default: 7)")
    parser.add_argument("--threads", type=int, default=1, help="threads of each (default: 1)")
    parser.add_argument("--out", type=Path, default=Path("build/peers"), help="folder (default: build/peers)")
    given = parser.parse_args()
    names, folder = given.libraries or list(LIBRARIES), given.out.resolve()
    folder.mkdir(parents=True, exist_ok=True)

    def keep(report: dict[str, Any]) -> None:
        write_json_atomic(folder / "peers.json", report)
        write_text_atomic(folder / "peers.md", page(report))

    try:
        measure(names, rounds=given.rounds, threads=given.threads, folder=folder, keep=keep)
    except SpikeloreError as error:
        sys.exit(f"spikelore.bench.peers: {error}")
    print((folder / "peers.md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
