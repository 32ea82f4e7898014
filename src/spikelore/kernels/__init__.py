"""The only hot code: one package an operation, each with a readable definition and a fast form.

``reference`` is plain NumPy and defines the operation; ``numba_cpu`` equals it (spikes and winners exactly,
weights to what float32 explains). The backend is an argument; there is no fallback from one to the other.
"""

from types import ModuleType

from spikelore.errors import InputError

DEFAULT_BACKEND = "numba_cpu"


def select(backends: dict[str, ModuleType], name: str) -> ModuleType:
    """Return the backend called ``name``.

    Raises:
        InputError: the operation has no such backend.
    """
    if name not in backends:
        raise InputError(f"backend {name!r} is not one of {', '.join(sorted(backends))}")
    return backends[name]
