"""Spiking neural networks that keep what they learn."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    __version__: str


def __getattr__(name: str) -> str:
    if name == "__version__":
        return _version()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _version() -> str:
    """Return the version that is installed; of a copy that is not, that of the project file beside it."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("spikelore")
    except PackageNotFoundError:
        import tomllib
        from pathlib import Path

        project = Path(__file__).parents[2] / "pyproject.toml"
        if not project.is_file():
            return "unknown"
        return tomllib.loads(project.read_text(encoding="utf-8"))["project"]["version"]
