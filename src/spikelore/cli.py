"""The ``spikelore`` command: arguments only."""


def main() -> None:
    """Run the command."""
