"""The errors that a person can mend, and the one that a search can avoid."""


class UserError(ValueError):
    """Reports bad input: the message states the rule, the value received and the fix."""


class InfeasibleError(UserError):
    """Reports a legal configuration whose network cannot be built or held in memory.

    `constraint` names what was violated, for the study's record.
    """

    def __init__(self, message: str, *, constraint: str = "buildable") -> None:
        super().__init__(message)
        self.constraint = constraint
