import sys

import pytest

from spikelore.bench import first_spike, lif, rounds, works
from spikelore.errors import InputError
from spikelore.experiments.parallel import Cell, run_cells

BROKEN = {
    "RuntimeError: operator nms does not exist": "raise RuntimeError('operator nms\\n does not exist')",
    "OSError: libcudart.so.12": "raise OSError('libcudart.so.12')",
    "SystemExit: 3": "raise SystemExit(3)",
}


@pytest.mark.parametrize("reason", BROKEN)
def test_a_ray_that_cannot_be_imported_is_told(monkeypatch, tmp_path, reason):
    (tmp_path / "ray.py").write_text(BROKEN[reason])
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "ray", raising=False)
    with pytest.raises(InputError) as error:
        run_cells({"one": Cell(print, (), tmp_path)}, ray="local")
    assert str(error.value).startswith(f"--ray needs Ray, but ray cannot be imported ({reason}); install it with")


def test_nothing_is_measured_without_compilation(monkeypatch):
    monkeypatch.setattr("spikelore.kernels.AVAILABLE", False)
    with pytest.raises(InputError, match="NUMBA_DISABLE_JIT is set"):
        first_spike.first_spike(16, 0)
    with pytest.raises(InputError, match="NUMBA_DISABLE_JIT is set"):
        lif.lif(16, 0)


def test_the_best_round_after_the_first_counts(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(works.time, "perf_counter", lambda: now[0])
    spent = iter([0.5, 2.0, 1.0, 4.0])

    def action():
        now[0] += next(spent)

    assert rounds.best_of_rounds(action) == 1.0
    assert not list(spent)
