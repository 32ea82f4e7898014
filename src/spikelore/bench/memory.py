"""How much memory this process holds, and the most that it held, by the kernel's account (Linux)."""

import ctypes
import gc
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

_ACCOUNT = Path("/proc/self/status")
_FORGET = Path("/proc/self/clear_refs")


def told() -> bool:
    """Return whether this system keeps such an account."""
    return _ACCOUNT.exists() and os.access(_FORGET, os.W_OK)


def held() -> int:
    """Return the bytes that are held now, once garbage is collected and the C library has given free ones back."""
    gc.collect()
    if give_back := getattr(ctypes.CDLL(None), "malloc_trim", None):
        give_back(0)
    return _bytes("VmRSS")


def peak(work: Callable[[], Any]) -> int:
    """Return the most bytes that are held while some work is done."""
    _FORGET.write_text("5", encoding="ascii")  # the peak so far, such as that of compiling
    work()
    return _bytes("VmHWM")


def _bytes(name: str) -> int:
    lines = dict(line.split(":", 1) for line in _ACCOUNT.read_text(encoding="utf-8").splitlines())
    return 1024 * int(lines[name].split()[0])
