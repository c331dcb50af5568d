"""Muon's step against a computation in NumPy, and its state."""

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def make(**options: Any) -> Any:
    from search.training.muon import Muon

    return Muon(learning_rate=0.1, weight_decay=None, **options)


def variable(shape: tuple[int, ...], name: str) -> Any:
    import keras

    values = np.random.default_rng(0).normal(size=shape)
    return keras.Variable(values.astype(np.float32), name=name)


def orthogonalized(matrix: Array, optimizer: Any) -> Array:
    """The Newton-Schulz iteration of Jordan et al., 2024."""
    turned = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if turned else matrix
    x = x / np.linalg.norm(x)
    for _ in range(optimizer.ns_steps):
        squared = x @ x.T
        x = (
            optimizer.muon_a * x
            + optimizer.muon_b * squared @ x
            + optimizer.muon_c * squared @ squared @ x
        )
    return x.T if turned else x


def test_two_steps_of_a_convolution_are_those_of_its_matrix() -> None:
    optimizer, kernel = make(), variable((3, 3, 16, 16), "kernel")
    optimizer.build([kernel])
    expected = np.asarray(kernel.numpy(), np.float64).reshape(144, 16)
    momentum = np.zeros((144, 16))

    for seed in (1, 2):
        gradient = np.random.default_rng(seed).normal(size=(3, 3, 16, 16)).astype(np.float32)
        optimizer.apply([gradient], [kernel])
        matrix = gradient.reshape(144, 16).astype(np.float64)
        momentum += (matrix - momentum) * (1 - optimizer.momentum)
        direction = matrix + optimizer.momentum * (momentum - matrix)
        rate = 0.1 * optimizer.rms_rate * 144**0.5
        expected -= rate * orthogonalized(direction, optimizer)

    np.testing.assert_allclose(kernel.numpy().reshape(144, 16), expected, atol=1e-4)


def test_the_first_convolution_and_biases_are_not_orthogonalised() -> None:
    optimizer = make()

    assert optimizer._should_use_adamw(variable((3, 3, 3, 32), "first"))
    assert optimizer._should_use_adamw(variable((3, 3, 32, 1), "depthwise"))
    assert optimizer._should_use_adamw(variable((32,), "bias"))
    assert optimizer._should_use_adamw(variable((32, 10), "logits"))
    assert not optimizer._should_use_adamw(variable((3, 3, 16, 32), "second"))


def test_a_restored_state_takes_the_same_step() -> None:
    gradient = np.random.default_rng(1).normal(size=(3, 3, 16, 16)).astype(np.float32)
    first, kernel = make(), variable((3, 3, 16, 16), "kernel")
    first.build([kernel])
    first.apply([gradient], [kernel])
    stored: dict[str, Any] = {}
    first.save_own_variables(stored)

    second, again = type(first).from_config(first.get_config()), variable((3, 3, 16, 16), "kernel")
    second.build([again])
    again.assign(kernel)
    second.load_own_variables(stored)
    for optimizer, trained in ((first, kernel), (second, again)):
        optimizer.apply([gradient], [trained])

    np.testing.assert_array_equal(kernel.numpy(), again.numpy())
