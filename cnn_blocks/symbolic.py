"""Builds networks only for their shapes."""

import collections
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_values() -> Iterator[None]:
    """Creates variables with a shape and an initialiser, but without values, inside the block.

    Networks built inside can be described and copied, but not run.
    """
    import keras
    from keras.src.backend.common import global_state

    # Keras keeps a list of variables without values, and would initialise them later.
    pending = list(global_state.get_global_attribute("uninitialized_variables", []))
    try:
        with keras.StatelessScope(initialize_variables=False):
            yield
    finally:
        global_state.set_global_attribute("uninitialized_variables", pending)


@contextmanager
def names_from_the_start() -> Iterator[None]:
    """Resets Keras' automatic layer names inside the block, so that names are reproducible."""
    from keras.src.backend.common import global_state

    before = global_state.get_global_attribute("object_name_uids")
    global_state.set_global_attribute("object_name_uids", collections.defaultdict(int))
    try:
        yield
    finally:
        global_state.set_global_attribute("object_name_uids", before)
