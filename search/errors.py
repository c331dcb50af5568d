"""Failures of a single trial, after which the search continues, and of a whole search."""


class TrialFailure(Exception):
    """Ends one trial; the message is stored with the trial as the reason."""


class NonFiniteLossError(TrialFailure):
    """The training loss became NaN or infinite."""


class OutOfMemoryError(TrialFailure):
    """The device or the machine ran out of memory for this candidate."""


class SearchFailure(Exception):
    """The search ended without a usable trial; the command exits with code 1."""


class SearchInterrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM stopped a search or a retraining cleanly; the command exits with 130.

    The message says how to resume. It is a KeyboardInterrupt so that no `except Exception` mistakes
    it for a trial failure.
    """
