"""The regularisation space: dropout, its schedule, L2 and decoupled weight decay."""

from cnn_blocks.heads.pooled import Pooled
from spaces.candidate import Candidate
from spaces.reference import reference_model, reference_training
from spaces.suggest import Trial


def dropout_l2(trial: Trial) -> Candidate:
    """Suggests how the reference network is regularised."""
    model = reference_model(
        dropout=trial.suggest_float("dropout", 0.0, 0.5),
        dropout_schedule=trial.suggest_categorical("dropout_schedule", ["constant", "rising"]),
        l2=trial.suggest_float("l2", 1e-7, 1e-3, log=True),
        head=Pooled(pooling="max", dropout=trial.suggest_float("head_dropout", 0.0, 0.5)),
    )
    training = reference_training(
        weight_decay=trial.suggest_float("weight_decay", 1e-5, 1e-2, log=True),
        label_smoothing=trial.suggest_float("label_smoothing", 0.0, 0.2),
    )
    return Candidate(model=model, training=training)
