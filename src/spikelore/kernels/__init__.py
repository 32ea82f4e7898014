"""The only hot code: one package an operation, each with a readable definition and a fast form.

``reference`` is plain NumPy and defines the operation; ``numba_cpu`` equals it (spikes and winners exactly,
weights to what float32 explains). The backend is an argument; there is no fallback from one to the other. Where
Numba must not compile (NUMBA_DISABLE_JIT), the default is the definition.
"""

from types import ModuleType

from spikelore.errors import InputError
from spikelore.kernels.compiled import AVAILABLE

DEFAULT_BACKEND = "numba_cpu" if AVAILABLE else "reference"


def select(backends: dict[str, ModuleType], name: str) -> ModuleType:
    """Return the backend called ``name``.

    Raises:
        InputError: the operation has no such backend, or Numba must not compile it.
    """
    if name not in backends:
        raise InputError(f"backend {name!r} is not one of {', '.join(sorted(backends))}")
    if name == "numba_cpu":
        need_compiled()
    return backends[name]


def need_compiled() -> None:
    """Raise `InputError` where Numba must not compile."""
    if not AVAILABLE:
        raise InputError(
            "backend 'numba_cpu' has to be compiled, but NUMBA_DISABLE_JIT is set; unset it or use 'reference'"
        )
