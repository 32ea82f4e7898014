"""Commands as a user types them, in this process: starting one anew takes seconds."""

import os
import sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from spikelore import cli

SPIKELORE = str(Path(sys.executable).with_name("spikelore"))


def run(*words: Any, cwd: Path, code: int = 0, **environment: str) -> SimpleNamespace:
    """Run a command in a folder, check its exit code and return what it printed: ``stdout``, ``stderr``."""
    out, error = StringIO(), StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(error):
        patch.chdir(cwd)
        patch.setattr(sys, "argv", ["spikelore", *map(str, words)])
        for name, value in environment.items():
            patch.setitem(os.environ, name, value)
        with pytest.raises(SystemExit) as stop:
            cli.main()
    assert stop.value.code == code, error.getvalue() + out.getvalue()
    return SimpleNamespace(stdout=out.getvalue(), stderr=error.getvalue())


def refused(*words: Any, cwd: Path, code: int = 2) -> str:
    """Run a command that must fail with one line on stderr, beside a first compilation's; return the line."""
    error = run(*words, cwd=cwd, code=code, SPIKELORE_QUIET="1").stderr
    assert "Traceback" not in error
    lines = [line for line in error.strip().splitlines() if not line.startswith("compiling kernels")]
    assert len(lines) == 1, error
    return lines[0]


def finished(folder: Path, config: dict[str, Any]) -> Path:
    """Return the folder, with the configuration as small.yaml and its finished run."""
    (folder / "small.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    run("run", "small.yaml", "--out", "done", cwd=folder)
    return folder
