"""The error of a checkpoint."""


class CheckpointError(RuntimeError):
    """The checkpoint cannot be found, downloaded or loaded. The message is one line for `/backends` and the log."""
