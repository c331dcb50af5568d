"""Muon for convolutional networks: an optimizer with orthogonalised matrix updates."""

from typing import Any

import keras
from keras import ops

# Kernels with fewer outputs are too narrow for their singular values to matter.
_NARROWEST = 16
# After so many iterations the Gram matrix is computed anew: errors of its small eigenvalues grow
# twelvefold in each, and GPUs multiply float32 with TF32's ten bits.
_GRAM_ITERATIONS = 3


class Muon(keras.optimizers.Muon):  # type: ignore[misc]
    """Keras' Muon, extended to convolution kernels.

    A kernel (height, width, inputs, outputs) becomes the matrix (height x width x inputs, outputs),
    as in Jordan et al., 2024, "Muon: An optimizer for hidden layers in neural networks". The first
    convolution, depthwise convolutions, the logits, biases and normalisation are updated by AdamW.
    Updates are scaled so that AdamW's learning rates and weight decays fit (Liu et al., 2025).
    """

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

        Each Newton-Schulz iteration multiplies the matrix by a polynomial of its Gram matrix. These
        polynomials commute, so a few iterations need only the small Gram matrix, and the matrix is
        multiplied once by their product. In bfloat16, rounding would give the Gram matrix negative
        eigenvalues, which grow without bound.
        """
        turned = matrix.shape[0] > matrix.shape[1]
        x = ops.cast(ops.transpose(matrix) if turned else matrix, "float32")
        x = x / (ops.norm(x) + 1e-7)
        identity = ops.eye(x.shape[0])
        for done in range(0, self.ns_steps, _GRAM_ITERATIONS):
            last = min(_GRAM_ITERATIONS, self.ns_steps - done) - 1
            gram, product = x @ ops.transpose(x), None
            for iteration in range(last + 1):
                squared = gram @ gram
                polynomial = self.muon_a * identity + self.muon_b * gram + self.muon_c * squared
                product = polynomial if product is None else polynomial @ product
                if iteration < last:
                    gram = polynomial @ gram @ polynomial
            x = product @ x
        return ops.transpose(x) if turned else x
