"""Packages that a user may have, and that may be broken."""

from importlib import import_module
from types import ModuleType


def find(*names: str) -> tuple[ModuleType, ...] | str:
    """Import optional modules.

    Anything but a clean import means that they are not there: packages built for another version of what they need
    raise errors of any kind.

    Returns:
        The modules, or the reason why one of them cannot be used.
    """
    modules = []
    for name in names:
        try:
            modules.append(import_module(name))
        except (Exception, SystemExit) as error:
            return f"{name} cannot be imported ({type(error).__name__}: {' '.join(str(error).split())})"
    return tuple(modules)
