"""From arrays in memory to predictions, cell by cell: paste it into a notebook, or run it.

    python examples/arrays.py

Expect: a network for handwritten digits, and its predictions for five of them, in half a minute.
"""

# %% Imports.
from sklearn.datasets import load_digits

import search
from cnn_blocks import ModelConfig, Plain, Pooled
from spaces import Candidate, TrainingConfig, growing_filters, staged

# %% The images: uint8, (number, height, width) or (number, height, width, 3); a label for each.
images, labels = load_digits(return_X_y=True)
images = (images.reshape(-1, 8, 8) * (255 / 16)).astype("uint8")
images = images.repeat(2, axis=1).repeat(2, axis=2)  # 16x16 pixels
new_images, images, labels = images[:5], images[5:], labels[5:]


# %% The search space: a function from an Optuna trial to a network and its training.
def two_stages(trial):
    backbone = staged(
        Plain(activation=trial.suggest_categorical("activation", ["relu", "silu"])),
        filters=growing_filters(trial.suggest_int("filters", 8, 24, step=8), 2.0, 2),
        depth=1,
        reduction="max",
        place="first",
        dropout=[0.0, 0.0],
    )
    rate = trial.suggest_float("learning_rate", 1e-3, 3e-2, log=True)
    return Candidate(
        model=ModelConfig(backbone=backbone, head=Pooled()),
        training=TrainingConfig(batch_size=32, learning_rate=rate),
    )


# %% Search, train the winner, and test it once on images that were held out.
result = search.run_study(two_stages, data=(images, labels), budget=30)
print(f"accuracy on the test images: {result.metrics['test']['accuracy']:.1%}")
print(f"files: {result.directory}")

# %% Predict: the model takes uint8 RGB images and gives a probability for each class.
probabilities = result.model.predict(new_images[..., None].repeat(3, axis=-1), verbose=0)
print("predicted:", probabilities.argmax(axis=1))
