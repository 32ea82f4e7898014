"""``python -m spikelore``: the command, where it is not on the path."""

from spikelore.cli import main

main()
