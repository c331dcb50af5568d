"""Run it with

    python -m search.run --study hand_made --data cifar10 --warm-start recipes

Expect: A search that starts from the published hand-made networks and tries to beat them.
"""

from spaces.shipped.hand_made import hand_made
from studies import StudySpec

study = StudySpec(
    name="hand_made",
    description="What varies between the published hand-made networks, stage by stage; training.",
    space=hand_made,
    fixes="3x3 convolutions, activation before normalisation, one activation for all layers.",
    expected="A search that starts from the published hand-made networks and tries to beat them.",
    class_weights=None,  # the space searches them
    trials=60,
)
