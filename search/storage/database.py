"""Optuna's tables in a database, made once."""

import random
import time
from typing import Any, TypeVar

from optuna.storages import RDBStorage
from sqlalchemy import create_engine, inspect
from sqlalchemy import exc as sqlalchemy_errors

_ATTEMPTS = 5
# The last one that Optuna makes.
_LAST_TABLE = "alembic_version"


class Database(RDBStorage):
    """Optuna's database storage, of which a failed opening leaves no connection behind."""

    def __init__(
        self, url: str, *, engine_kwargs: dict[str, Any], skip_table_creation: bool = False
    ) -> None:
        try:
            super().__init__(
                url, engine_kwargs=engine_kwargs, skip_table_creation=skip_table_creation
            )
        except BaseException:
            if hasattr(self, "engine"):
                self.engine.dispose()
            raise


_Opened = TypeVar("_Opened", bound=Database)


def open_database(kind: type[_Opened], url: str, *, engine_kwargs: dict[str, Any]) -> _Opened:
    """Opens a database, and makes Optuna's tables where there are none, as others may at once."""
    for attempt in range(_ATTEMPTS):
        # Optuna adds what is missing in the tables of another version before it looks at the
        # version: it may not, where the tables are.
        engine = create_engine(url, **engine_kwargs)
        try:
            made = inspect(engine).has_table(_LAST_TABLE)
        finally:
            engine.dispose()
        try:
            return kind(url, engine_kwargs=engine_kwargs, skip_table_creation=made)
        except (
            sqlalchemy_errors.IntegrityError,
            sqlalchemy_errors.OperationalError,
            sqlalchemy_errors.ProgrammingError,
        ) as error:
            # Workers that start together make the same tables, and the same row with the version.
            raced = isinstance(error, sqlalchemy_errors.IntegrityError) or "already exists" in str(
                error
            )
            if attempt == _ATTEMPTS - 1 or not raced:
                raise
        time.sleep(random.uniform(0.1, 0.5))
    raise AssertionError("The last attempt returns or raises.")
