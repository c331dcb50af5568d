"""Run it with

    python -m search.run --study quickstart

Expect: 98 to 100% on the digits' 269 test images, in about a minute on 2 CPU cores.
"""

from spaces.quickstart import quickstart
from studies.study import StudySpec

study = StudySpec(
    name="quickstart",
    description="Stages, filters, activation, pooling, dropout and learning rate of tiny networks.",
    space=quickstart,
    fixes="SGD under one-cycle, batches of 64, crops padded by 2, label smoothing 0.05.",
    expected="98 to 100% on the digits' 269 test images, in about a minute on 2 CPU cores.",
    data="digits",
    trials=10,
    epochs=5,
    retrain_epochs=15,
    # Over before a worker process would have started.
    workers=0,
)
