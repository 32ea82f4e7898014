"""The errors that users see: one sentence that names the value, what was expected and what to do."""


class SpikeloreError(Exception):
    """Work failed (exit code 1): a full disk, a broken download, a run that cannot go on."""

    exit_code = 1


class InputError(SpikeloreError, ValueError):
    """What was given cannot be used (exit code 2): a bad file, an unknown name, a value out of range."""

    exit_code = 2
