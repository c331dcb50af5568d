"""Run it with

    python -m search.run --study hand_made --data cifar10 --warm-start recipes

Expect: The published hand-made networks are the first trials, and have to be beaten.
"""

from spaces.shipped.hand_made import hand_made
from studies import StudySpec

study = StudySpec(
    name="hand_made",
    description="What the published hand-made networks vary, stage by stage, and their training.",
    space=hand_made,
    fixes="3x3 convolutions, the activation in front of the normalisation, one activation.",
    expected="The published hand-made networks are the first trials, and have to be beaten.",
    class_weights=None,  # the space searches them
    trials=60,
)
