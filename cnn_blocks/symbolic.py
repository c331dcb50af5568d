"""Networks made for their shapes alone."""

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
