"""Suggests a classifier head."""

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from cnn_blocks.config import Activation
from cnn_blocks.heads.pooled import DenseLayer, Pooled
from spaces.suggest import Trial, suggest


def suggest_head(
    trial: Trial, *, activation: Activation, most_layers: int = 3, flatten: bool = True
) -> Pooled:
    """Suggests pooling or Flatten, then up to `most_layers` dense layers, each with its own fields.

    Without `flatten` the head always pools, which keeps a frozen backbone's features small.

    Parameters are named "pooling", "head_dropout", "dense_layers", "dense_1_units" and so on.
    """
    poolings = ["average", "max", "average_max", *(["flatten"] if flatten else [])]
    pooling = trial.suggest_categorical("pooling", poolings)
    dropout = trial.suggest_float("head_dropout", 0.0, 0.5)
    count = trial.suggest_int("dense_layers", 0, most_layers)
    layers = tuple(
        suggest(
            trial,
            DenseLayer,
            prefix=f"dense_{index}_",
            units=IntDistribution(32, 512, log=True),
            activation=activation,
            batch_normalization=CategoricalDistribution([False, True]),
            dropout=FloatDistribution(0.0, 0.6),
            l2=FloatDistribution(1e-7, 1e-3, log=True),
        )
        for index in range(1, count + 1)
    )
    return Pooled(pooling=pooling, dropout=dropout, layers=layers)
