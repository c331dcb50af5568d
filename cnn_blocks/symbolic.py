"""Networks made for their shapes alone."""

import collections
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_values() -> Iterator[None]:
    """Lets variables be made that hold a shape and an initialiser, but no values.

    Networks made inside can be described and copied, not used.
    """
    import keras
    from keras.src.backend.common import global_state

    # Keras keeps a list of variables without values and would give them values at the next
    # occasion.
    pending = list(global_state.get_global_attribute("uninitialized_variables", []))
    try:
        with keras.StatelessScope(initialize_variables=False):
            yield
    finally:
        global_state.set_global_attribute("uninitialized_variables", pending)


@contextmanager
def names_from_the_start() -> Iterator[None]:
    """Lets the same code name its layers the same, whatever was named before."""
    from keras.src.backend.common import global_state

    before = global_state.get_global_attribute("object_name_uids")
    global_state.set_global_attribute("object_name_uids", collections.defaultdict(int))
    try:
        yield
    finally:
        global_state.set_global_attribute("object_name_uids", before)
