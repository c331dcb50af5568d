"""Failures of a single trial; the search goes on after each of them."""


class TrialFailure(Exception):
    """Ends one trial; the message is the reason that is stored with it."""


class NonFiniteLossError(TrialFailure):
    """The training loss became NaN or infinite."""


class OutOfMemoryError(TrialFailure):
    """The device or the machine had no memory left for this candidate."""


class SearchFailure(Exception):
    """A search that ended without any usable trial; the command exits with code 1."""


class SearchInterrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM stopped a search or a retraining in order; the command exits with 130.

    The message says how to resume. A KeyboardInterrupt, so that no `except Exception` on the way
    takes it for a trial's failure.
    """
