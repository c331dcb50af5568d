"""What a notebook does: everything from `import search`, nothing from a command line."""

from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.pruners import MedianPruner
from optuna.samplers import RandomSampler
from rich.console import Console
from sklearn.datasets import load_digits

import search
from cnn_blocks import ModelConfig, Plain, Pooled
from search.progress import choice
from spaces import Candidate, TrainingConfig, Trial, staged


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CNN_SEARCH_CACHE", str(tmp_path / "cache"))


def my_space(trial: Trial) -> Candidate:
    """Few filters or many."""
    backbone = staged(
        Plain(),
        filters=[trial.suggest_int("filters", 4, 16)],
        depth=1,
        reduction="max",
        place="first",
        dropout=[0.0],
    )
    return Candidate(
        model=ModelConfig(backbone=backbone, head=Pooled()),
        training=TrainingConfig(batch_size=64, optimizer="adam", learning_rate=0.01),
    )


def test_arrays_and_a_function_lead_to_a_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    images, labels = load_digits(return_X_y=True)
    images = images.reshape(-1, 8, 8)
    asked: list[int] = []

    class Watched(RandomSampler):
        def before_trial(self, study: optuna.Study, trial: Any) -> None:
            asked.append(trial.number)
            super().before_trial(study, trial)

    # A terminal without a cursor, whose lines stay readable.
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr(choice, "Console", lambda: Console(force_terminal=True))
    pruner = MedianPruner(n_startup_trials=1)

    result = search.run_study(
        my_space,
        data=((images[:1400], labels[:1400]), (images[1400:], labels[1400:])),
        trials=2,
        budget=search.Budget(retraining_epochs=3),
        epochs=2,
        sampler=Watched(seed=1),
        pruner=pruner,
        storage=optuna.storages.InMemoryStorage(),
        places=tmp_path,
    )

    assert asked == [0, 1]
    assert result.study.pruner is pruner
    assert result.study.study_name == "my_space"
    assert [trial.state.name for trial in result.study.trials] == ["COMPLETE", "PRUNED"]
    assert result.metrics["test"]["accuracy"] > 0.3
    assert result.model.predict(np.zeros((1, 8, 8, 3), np.uint8), verbose=0).shape == (1, 10)
    assert (result.directory / "confusion_matrix.png").is_file()
    assert "my_space" in capsys.readouterr().out

    opened = search.open_run(result.directory)

    assert opened.metrics == result.metrics
    assert result.output is not None
    assert opened.configuration == result.output.configuration
    with pytest.raises(search.UserError, match="A finished run is a folder"):
        search.open_run(tmp_path)


def test_workers_need_a_storage_that_they_can_open(tmp_path: Path) -> None:
    with pytest.raises(search.UserError, match=r"an? InMemoryStorage, which has none.*workers=0"):
        search.run_study(
            my_space,
            data="digits",
            workers=1,
            storage=optuna.storages.InMemoryStorage(),
            places=tmp_path,
        )


def test_no_exported_name_hides_a_module_or_a_command(repository: Path) -> None:
    from search.cli.app import app

    modules = {path.stem for path in (repository / "search").iterdir()}
    commands = {command.name for command in app.registered_commands}
    commands |= {group.name for group in app.registered_groups}

    assert not set(search.__all__) & (modules | commands)


def test_progress_is_only_shown_in_a_terminal_and_in_a_notebook(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    consoles = {
        "terminal": Console(force_terminal=True),
        "notebook": Console(force_jupyter=True),
        "pipe": Console(force_terminal=False, force_jupyter=False),
    }
    shown = {}
    for name, console in consoles.items():
        monkeypatch.setattr(choice, "Console", lambda console=console: console)
        with choice.chosen_progress("auto") as progress:
            shown[name] = type(progress).__name__

    assert shown == {"terminal": "LiveProgress", "notebook": "PlainProgress", "pipe": "Progress"}
    mine = search.Progress()
    with choice.chosen_progress(mine) as progress:
        assert progress is mine
