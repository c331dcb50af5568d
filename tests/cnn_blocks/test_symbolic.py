"""Networks without values, and layer names that do not depend on earlier layers."""

from cnn_blocks.symbolic import names_from_the_start, without_values


def test_nothing_is_allocated_and_nothing_is_left_behind() -> None:
    from keras import layers
    from keras.src.backend.common import global_state

    with without_values():
        layer = layers.Dense(10**6)
        layer.build((None, 10**6))  # 4 TB
        with without_values():
            layers.Dense(10**6).build((None, 10**6))

    assert layer.count_params() == 10**12 + 10**6
    assert not global_state.get_global_attribute("uninitialized_variables", [])
    real = layers.Dense(1)
    real.build((None, 1))
    assert real.get_weights()[0].shape == (1, 1)


def test_names_repeat_inside_and_go_on_outside() -> None:
    from keras import layers

    outside = layers.Dense(1).name
    with names_from_the_start():
        first = layers.Dense(1).name
    with names_from_the_start():
        second = layers.Dense(1).name

    assert first == second == "dense"
    assert layers.Dense(1).name not in (outside, first)
