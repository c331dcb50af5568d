"""Recognises lost connections to a storage server."""

import sys
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, event
from sqlalchemy import exc as sqlalchemy_errors
from sqlalchemy.engine import ExceptionContext

# PostgreSQL error codes that are worth a retry: connection exceptions, transactions rolled back
# because of a conflict, a server that shuts down or starts up, too many connections.
_PASSING_SQL = ("08", "40", "57P", "53300")
_PASSING_GRPC = ("UNAVAILABLE", "CANCELLED", "DEADLINE_EXCEEDED")


class ConnectionLostError(Exception):
    """The database did not answer; the operation may or may not have been carried out."""


@dataclass(frozen=True)
class LostConnection:
    """Why a server gave no answer; `passing` is True if a retry may succeed."""

    reason: str
    passing: bool


def report_lost_connections(engine: Engine) -> None:
    """Makes an engine raise ConnectionLostError for errors that are worth a retry.

    Optuna does not catch this exception. It would treat the database libraries' own errors as
    invalid data, and would retry the creation of a trial up to five times.
    """

    @event.listens_for(engine, "handle_error")
    def handle(context: ExceptionContext) -> None:
        error = context.sqlalchemy_exception
        # A failed ping makes the pool reconnect; it must not raise here.
        if not context.is_pre_ping and error is not None and passes(error):
            raise ConnectionLostError(one_line(error)) from error


def lost_connection(error: Exception) -> LostConnection | None:
    """Returns why a server did not answer; None if it answered, even with an error."""
    if isinstance(error, ConnectionLostError):
        return LostConnection(str(error), passing=True)
    # If grpc was never imported, the error cannot be one of its own.
    grpc: Any = sys.modules.get("grpc")
    if grpc is None or not isinstance(error, grpc.RpcError):
        return None
    failed: Any = error
    code = failed.code().name
    return LostConnection(one_line(f"{code}: {failed.details()}"), passing=code in _PASSING_GRPC)


def passes(error: Exception) -> bool:
    """Returns whether a database error is worth a retry."""
    if not isinstance(error, sqlalchemy_errors.DBAPIError):
        return False
    if error.connection_invalidated:
        return True
    code = getattr(error.orig, "sqlstate", None)
    if code is None:
        # Without a code, no server has answered.
        return isinstance(error, sqlalchemy_errors.OperationalError)
    return str(code).startswith(_PASSING_SQL)


def one_line(error: BaseException | str) -> str:
    """Returns a database driver's message without SQLAlchemy's statement and parameters."""
    return " ".join(str(getattr(error, "orig", None) or error).split())
