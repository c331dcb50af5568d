"""A really trained winner for the exports' tests: exact GELU, standardized and mirrored images."""

import shutil
from pathlib import Path

import pytest
from PIL import Image

from search.data import DataSource, split_data
from search.results.configuration_file import BestConfiguration
from search.results.plan import Retraining
from search.results.retraining import finish_run
from search.system.runtime import Compute
from spaces.candidate import Candidate

IMAGES_A_CLASS = 40
CONFIGURATION = BestConfiguration(
    study="tiny",
    trial=4,
    metric="accuracy",
    value=0.9,
    seed=1,
    epochs=12,
    candidate=Candidate.model_validate(
        {
            "model": {
                "preprocessing": "standardize",
                "mirror": True,
                "backbone": {
                    "kind": "staged",
                    "stages": [
                        {"block": {"kind": "plain", "filters": filters, "activation": "gelu"}}
                        for filters in (8, 16)
                    ],
                },
                "head": {"kind": "pooled", "pooling": "flatten"},
            },
            "training": {"learning_rate": 0.01, "batch_size": 32},
        }
    ),
)


@pytest.fixture(scope="session")
def cache_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for decoded images."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def cache(cache_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps decoded images there."""
    monkeypatch.setenv("CNN_SEARCH_CACHE", str(cache_directory))


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty handwritten digits a class, as image files in class folders."""
    from sklearn.datasets import load_digits

    folder = tmp_path_factory.mktemp("data") / "photos"
    images, labels = load_digits(return_X_y=True)
    for digit in range(10):
        (folder / f"digit {digit}").mkdir(parents=True)
        for number, row in enumerate(images[labels == digit][:IMAGES_A_CLASS]):
            picture = Image.fromarray((row.reshape(8, 8) * 15).astype("uint8"))
            picture.resize((16, 16)).save(folder / f"digit {digit}" / f"{number:02}.png")
    return folder


@pytest.fixture(scope="session")
def finished_run(
    cache_directory: Path, photos: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The folder of a finished run on these photos. Tests leave it as it is."""
    directory = tmp_path_factory.mktemp("runs") / "tiny"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CNN_SEARCH_CACHE", str(cache_directory))
        split = split_data(DataSource(location=str(photos)).load(), seed=1)
        finish_run(
            Retraining(
                configuration=CONFIGURATION, split=split, compute=Compute(precision="float32")
            ),
            directory,
        )
    return directory


@pytest.fixture
def run(finished_run: Path, tmp_path: Path) -> Path:
    """A copy of it, which a test may write to."""
    return Path(shutil.copytree(finished_run, tmp_path / "run"))
