"""``python -m spikelore.bench.peers``: measure, and write ``peers.json`` and ``peers.md``."""

import argparse
import sys
from pathlib import Path

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
    names = given.libraries or list(LIBRARIES)
    try:
        report = measure(names, rounds=given.rounds, threads=given.threads, folder=given.out.resolve())
    except SpikeloreError as error:
        sys.exit(f"spikelore.bench.peers: {error}")
    write_json_atomic(given.out / "peers.json", report)
    write_text_atomic(given.out / "peers.md", page(report))
    print(page(report))


if __name__ == "__main__":
    main()
