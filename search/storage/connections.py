"""What a lost connection to a storage's server looks like."""

import sys
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, event
from sqlalchemy import exc as sqlalchemy_errors
from sqlalchemy.engine import ExceptionContext

# What a later attempt can mend, by PostgreSQL's error codes: connection exceptions, transactions
# rolled back for a conflict, a server that shuts down or starts up, too many connections.
_PASSING_SQL = ("08", "40", "57P", "53300")
_PASSING_GRPC = ("UNAVAILABLE", "CANCELLED", "DEADLINE_EXCEEDED")


class ConnectionLostError(Exception):
    """The database did not answer: the operation may have taken place or not."""


@dataclass(frozen=True)
class LostConnection:
    """Why a server gave no answer; `passing` where a later attempt may get one."""

    reason: str
    passing: bool


def report_lost_connections(engine: Engine) -> None:
    """Makes an engine raise ConnectionLostError for what a later attempt can mend.

    Optuna lets it through. It would take the database libraries' own errors for invalid data, and
    creates a trial up to five times after them.
    """

    @event.listens_for(engine, "handle_error")
    def handle(context: ExceptionContext) -> None:
        error = context.sqlalchemy_exception
        # A failed ping is how the pool learns to connect again.
        if not context.is_pre_ping and error is not None and passes(error):
            raise ConnectionLostError(one_line(error)) from error


def lost_connection(error: Exception) -> LostConnection | None:
    """Returns how a server failed to answer; None for an answer, be it an error."""
    if isinstance(error, ConnectionLostError):
        return LostConnection(str(error), passing=True)
    # Nothing raises it where it was never imported.
    grpc: Any = sys.modules.get("grpc")
    if grpc is None or not isinstance(error, grpc.RpcError):
        return None
    failed: Any = error
    code = failed.code().name
    return LostConnection(one_line(f"{code}: {failed.details()}"), passing=code in _PASSING_GRPC)


def passes(error: Exception) -> bool:
    """Whether a database's error is one that a later attempt can mend."""
    if not isinstance(error, sqlalchemy_errors.DBAPIError):
        return False
    if error.connection_invalidated:
        return True
    code = getattr(error.orig, "sqlstate", None)
    if code is None:
        # No server has answered.
        return isinstance(error, sqlalchemy_errors.OperationalError)
    return str(code).startswith(_PASSING_SQL)


def one_line(error: BaseException | str) -> str:
    """Returns what a database's driver says, without SQLAlchemy's statement and parameters."""
    return " ".join(str(getattr(error, "orig", None) or error).split())
