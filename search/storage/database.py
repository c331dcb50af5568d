"""Opens a database and creates Optuna's tables in it once."""

import random
import time
from typing import Any, TypeVar

from optuna.storages import RDBStorage
from sqlalchemy import create_engine, inspect
from sqlalchemy import exc as sqlalchemy_errors

_ATTEMPTS = 5
# The last table that Optuna creates.
_LAST_TABLE = "alembic_version"


class Database(RDBStorage):
    """Optuna's RDB storage, which closes its connections if opening fails."""

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
    """Opens a database and creates missing Optuna tables; other processes may do so in parallel."""
    for attempt in range(_ATTEMPTS):
        # Optuna adds missing tables before it checks the version, and so would change a database of
        # another version. Existing tables are therefore left alone.
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
            # Workers that start together create the same tables and the same version row.
            raced = isinstance(error, sqlalchemy_errors.IntegrityError) or "already exists" in str(
                error
            )
            if attempt == _ATTEMPTS - 1 or not raced:
                raise
        time.sleep(random.uniform(0.1, 0.5))
    raise AssertionError("The last attempt returns or raises.")
