"""Errors that the user can fix, and errors that a search avoids by another candidate."""


class UserError(ValueError):
    """Reports bad input: the message states the rule, the value received and the fix."""


class InfeasibleError(UserError):
    """Reports a valid configuration whose network cannot be built or does not fit into memory.

    `constraint` names the violated constraint, for the study's record.
    """

    def __init__(self, message: str, *, constraint: str = "buildable") -> None:
        super().__init__(message)
        self.constraint = constraint
