"""Network configurations as data, and the one builder that makes Keras models from them.

The names in `__all__` are public: they describe networks, and they are what a block or a head of
your own is made of. Everything else in this package may change without notice.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cnn_blocks.augmentation import Augmentation
    from cnn_blocks.backbones.keras_application import KerasApplication
    from cnn_blocks.backbones.keras_file import KerasFile
    from cnn_blocks.backbones.staged import Stage, Staged
    from cnn_blocks.blocks.bottleneck_residual import BottleneckResidual
    from cnn_blocks.blocks.convnext import Convnext
    from cnn_blocks.blocks.depthwise_separable import DepthwiseSeparable
    from cnn_blocks.blocks.inverted_residual import InvertedResidual
    from cnn_blocks.blocks.plain import Plain
    from cnn_blocks.blocks.preactivation_residual import PreactivationResidual
    from cnn_blocks.blocks.residual import Residual
    from cnn_blocks.blocks.vgg import Vgg
    from cnn_blocks.build import build_model
    from cnn_blocks.config import (
        Activation,
        Backbone,
        Block,
        Head,
        Initializer,
        InputSpec,
        ModelConfig,
        Normalization,
        Reduction,
    )
    from cnn_blocks.errors import InfeasibleError, UserError
    from cnn_blocks.heads.pooled import DenseLayer, Pooled
    from cnn_blocks.layers import (
        activate,
        convolve,
        convolve_depthwise,
        drop_branch,
        halve,
        normalize,
        pool,
        squeeze_and_excite,
    )
    from cnn_blocks.pretrained import Pretrained
    from cnn_blocks.registry import backbone, block, head

__all__ = [
    "Activation",
    "Augmentation",
    "Backbone",
    "Block",
    "BottleneckResidual",
    "Convnext",
    "DenseLayer",
    "DepthwiseSeparable",
    "Head",
    "InfeasibleError",
    "Initializer",
    "InputSpec",
    "InvertedResidual",
    "KerasApplication",
    "KerasFile",
    "ModelConfig",
    "Normalization",
    "Plain",
    "Pooled",
    "PreactivationResidual",
    "Pretrained",
    "Reduction",
    "Residual",
    "Stage",
    "Staged",
    "UserError",
    "Vgg",
    "activate",
    "backbone",
    "block",
    "build_model",
    "convolve",
    "convolve_depthwise",
    "drop_branch",
    "halve",
    "head",
    "normalize",
    "pool",
    "squeeze_and_excite",
]

_MODULES = {
    "Activation": "config",
    "Augmentation": "augmentation",
    "Backbone": "config",
    "Block": "config",
    "BottleneckResidual": "blocks.bottleneck_residual",
    "Convnext": "blocks.convnext",
    "DenseLayer": "heads.pooled",
    "DepthwiseSeparable": "blocks.depthwise_separable",
    "Head": "config",
    "InfeasibleError": "errors",
    "Initializer": "config",
    "InputSpec": "config",
    "InvertedResidual": "blocks.inverted_residual",
    "KerasApplication": "backbones.keras_application",
    "KerasFile": "backbones.keras_file",
    "ModelConfig": "config",
    "Normalization": "config",
    "Plain": "blocks.plain",
    "Pooled": "heads.pooled",
    "PreactivationResidual": "blocks.preactivation_residual",
    "Pretrained": "pretrained",
    "Reduction": "config",
    "Residual": "blocks.residual",
    "Stage": "backbones.staged",
    "Staged": "backbones.staged",
    "UserError": "errors",
    "Vgg": "blocks.vgg",
    "activate": "layers",
    "backbone": "registry",
    "block": "registry",
    "build_model": "build",
    "convolve": "layers",
    "convolve_depthwise": "layers",
    "drop_branch": "layers",
    "halve": "layers",
    "head": "registry",
    "normalize": "layers",
    "pool": "layers",
    "squeeze_and_excite": "layers",
}


def __getattr__(name: str) -> Any:
    # Most of these import Optuna's distributions; the command line must answer without them.
    if name in _MODULES:
        return getattr(importlib.import_module(f"cnn_blocks.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
