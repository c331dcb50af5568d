"""Muon for convolutional networks: an optimizer with orthogonalised matrix updates."""

from typing import Any

import keras
from keras import ops

# Kernels with fewer outputs are too narrow for their singular values to matter.
_NARROWEST = 16


class Muon(keras.optimizers.Muon):  # type: ignore[misc]
    """Keras' Muon, extended to convolution kernels.

    A kernel (height, width, inputs, outputs) becomes the matrix (height x width x inputs, outputs),
    as in Jordan et al., 2024, "Muon: An optimizer for hidden layers in neural networks". The first
    convolution, depthwise convolutions, the logits, biases and normalisation are updated by AdamW.
    Updates are scaled so that AdamW's learning rates and weight decays fit (Liu et al., 2025). With
    `matrix_dtype` "bfloat16" matrices are orthogonalised in that precision.
    """

    def __init__(self, *arguments: Any, matrix_dtype: str = "float32", **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.matrix_dtype = matrix_dtype

    def _should_use_adamw(self, variable: Any) -> bool:
        shape = tuple(variable.shape)
        if len(shape) not in (2, 4) or "logits" in variable.path:
            return True
        return len(shape) == 4 and (shape[2] <= 3 or shape[3] < _NARROWEST)

    def _muon_update_step(self, gradient: Any, variable: Any, lr: Any, m: Any) -> None:
        self.assign_add(m, (gradient - m) * (1.0 - self.momentum))
        direction = gradient + self.momentum * (m - gradient) if self.nesterov else m
        matrix = ops.reshape(direction, (-1, variable.shape[-1]))
        update = ops.cast(self._orthogonalize(matrix), variable.dtype)
        rows, columns = matrix.shape
        scale = ops.cast(lr, variable.dtype) * (self.rms_rate * max(rows, columns) ** 0.5)
        self.assign_sub(variable, ops.reshape(update * scale, variable.shape))

    def _orthogonalize(self, matrix: Any) -> Any:
        """Returns an approximation of the nearest matrix whose singular values are all 1.

        The norm is computed in float32; the iterations tolerate less precision.
        """
        turned = matrix.shape[0] > matrix.shape[1]
        x = ops.transpose(matrix) if turned else matrix
        x = ops.cast(x / (ops.norm(x) + 1e-7), self.matrix_dtype)
        a, b, c = self.muon_a, self.muon_b, self.muon_c
        for _ in range(self.ns_steps):
            squared = x @ ops.transpose(x)
            x = a * x + (b * squared + c * (squared @ squared)) @ x
        return ops.transpose(x) if turned else x

    def get_config(self) -> dict[str, Any]:
        """Returns the configuration, from which Keras creates an equal optimizer."""
        return {**super().get_config(), "matrix_dtype": self.matrix_dtype}
