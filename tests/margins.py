"""Measure what the tests bound, over seeds, instruction sets and threads; print the table of `margins.md`.

`python tests/margins.py > tests/margins.md` takes twenty minutes on two cores; `--check` runs the same tests once on
each processor with their bounds in force, which is what `make test-portable` does.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__  # what NPY_DISABLE_CPU_FEATURES may name

TESTS = Path(__file__).parent
BEYOND_AVX2 = [name for name in __cpu_dispatch__ if "512" in name or "V4" in name]
NO_AVX512 = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "DNNL_MAX_CPU_ISA": "AVX2",
    "MKL_CBWR": "AVX2",
    "NUMBA_CPU_NAME": "haswell",
    "NPY_DISABLE_CPU_FEATURES": " ".join(BEYOND_AVX2),
    "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX512BW,-AVX512DQ",
}
PLAIN = {
    "ATEN_CPU_CAPABILITY": "default",
    "DNNL_MAX_CPU_ISA": "SSE41",
    "MKL_CBWR": "COMPATIBLE",
    "NUMBA_CPU_NAME": "generic",
    "NPY_DISABLE_CPU_FEATURES": " ".join(__cpu_dispatch__),
    "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX512BW,-AVX512DQ,-AVX2,-FMA",
}
PROCESSORS: dict[str, dict[str, str]] = {"native": {}}
"""Variables that make every library compute as on such a processor: torch, oneDNN, MKL, Numba, NumPy, the C library."""
if __cpu_features__.get("AVX2"):
    PROCESSORS |= {"AVX2": NO_AVX512, "plain": PLAIN}

THREADS = (1, 2)


def environment(processor: str, threads: int) -> dict[str, str]:
    """Return the variables of a test run on such a processor with so many threads."""
    count = {name: str(threads) for name in ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    return {**os.environ, **PROCESSORS[processor], **count}


def run(processor: str, threads: int, marks: str = "learned", **settings: str) -> int:
    """Run the tests with these marks; return pytest's exit code."""
    options = ["-q", "-m", marks, "-n", "auto", "--maxprocesses", "4", "--dist", "loadfile", "--no-loadscope-reorder"]
    command = [sys.executable, "-m", "pytest", *options, str(TESTS)]
    return subprocess.run(command, env={**environment(processor, threads), **settings}, stdout=sys.stderr).returncode


def check() -> int:
    """Run them on each processor, natively with the threads that `make test` has not; return 1 if any failed."""
    failed = []
    for processor in PROCESSORS:
        threads = 1 if processor == "native" else 2
        print(f"== {processor}, {threads} thread(s)", file=sys.stderr, flush=True)
        if run(processor, threads):
            failed.append(f"{processor} with {threads} thread(s)")
    print(f"failed on: {', '.join(failed)}" if failed else "passed on every processor", file=sys.stderr)
    return len(failed) > 0


def measure(seeds: int, folder: Path) -> None:
    """Run them over seeds, processors and threads; leave what each run found in a file of the folder."""
    for processor in PROCESSORS:
        for threads in THREADS:
            for seed in range(seeds):
                record = folder / f"{processor}, {threads} thread(s), seed {seed}"
                if not record.exists():
                    marks = "learned and seed" if seed else "learned"
                    run(processor, threads, marks, SPIKELORE_MARGINS=str(record), SPIKELORE_TEST_SEED=str(seed))


def table(folder: Path) -> int:
    """Print what runs found; return 1 if a bound is nearer to it than the values are apart."""
    found: dict[tuple[str, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    bounds: dict[tuple[str, str], tuple[float | None, float | None]] = {}
    records = sorted(path.name for path in folder.iterdir())
    for name in records:
        for line in map(json.loads, (folder / name).read_text(encoding="utf-8").splitlines()):
            key = line["test"].removeprefix("tests/"), line["name"]
            found[key][name.partition(",")[0]].append(line["value"])
            bounds[key] = line["at_least"], line["at_most"]
    print(
        "# Margins of what is learned\n\nLeast and greatest value by `python tests/margins.py`. A bound lies at least "
        "as far outside as they lie apart.\n\nRuns:\n"
    )
    print(*(f"- {name}" for name in records), sep="\n")
    processors = [one for one in PROCESSORS if any(name.startswith(f"{one},") for name in records)]
    print(f"\n| test | value | {' | '.join(processors)} | bound |\n|{' --- |' * (3 + len(processors))}")
    tight = False
    for (test, name), per in sorted(found.items()):
        values = [value for each in per.values() for value in each]
        low, high = min(values), max(values)
        at_least, at_most = bounds[test, name]
        near = (at_least is not None and at_least > low - (high - low)) or (
            at_most is not None and at_most < high + (high - low)
        )
        tight |= near
        shown = " | ".join(f"{min(per[one]):.4g} to {max(per[one]):.4g}" for one in processors if per[one])
        bound = f"at least {at_least:g}" if at_least is not None else f"at most {at_most:g}"
        print(f"| {test} | {name} | {shown} | {bound}{', too near' if near else ''} |")
    return tight


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="only run the tests on each processor, with their bounds")
    parser.add_argument("--seeds", type=int, default=5, help="seeds to measure over")
    parser.add_argument("--folder", type=Path, help="where runs leave what they found; those there are not run again")
    arguments = parser.parse_args()
    if arguments.check:
        sys.exit(check())
    with tempfile.TemporaryDirectory() as temporary:
        where = arguments.folder or Path(temporary)
        measure(arguments.seeds, where)
        sys.exit(table(where))
