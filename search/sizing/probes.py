"""The small networks that measure a machine's speed."""

from cnn_blocks.blocks.plain import Plain
from cnn_blocks.config import InputSpec, ModelConfig
from cnn_blocks.heads.pooled import Pooled
from search.sizing.coefficients import Group
from spaces.candidate import Candidate, TrainingConfig
from spaces.stages import staged


def probe(group: Group) -> tuple[Candidate, InputSpec]:
    """Returns a network whose time is mostly one group of costs, and its input specification."""
    if group == "overhead":
        return _probe(Plain(), filters=[4, 4], depth=2, side=8, batch_size=8)
    if group == "memory":
        block = Plain(activation="gelu")
        return _probe(block, filters=[16], depth=1, side=32, batch_size=64)
    block = Plain(normalization="none")
    return _probe(block, filters=[64, 128], depth=1, side=16, batch_size=32)


def _probe(
    block: Plain, *, filters: list[int], depth: int, side: int, batch_size: int
) -> tuple[Candidate, InputSpec]:
    backbone = staged(
        block,
        filters=filters,
        depth=depth,
        reduction="none",
        place="first",
        dropout=[0.0] * len(filters),
    )
    candidate = Candidate(
        model=ModelConfig(backbone=backbone, head=Pooled()),
        training=TrainingConfig(batch_size=batch_size),
    )
    return candidate, InputSpec(image_shape=(side, side, 3), class_names=tuple("0123456789"))
