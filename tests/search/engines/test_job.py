"""What a worker is told."""

from pathlib import Path
from types import SimpleNamespace

import pytest

import search.data
from cnn_blocks.errors import UserError
from search.engines.job import WorkerJob


def test_other_images_than_the_studys_are_a_users_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = WorkerJob(
        study_name="tiny",
        storage="sqlite:///studies.db",
        spec=b"",
        source=None,
        data="/shared/images",
        data_fingerprint="one",
        image_size=None,
        fit="crop",
        max_bad_files=0.01,
        metric="accuracy",
        seed=0,
        trials=1,
        checkpoints=tmp_path,
    )
    monkeypatch.setattr(
        search.data, "load_data", lambda *_, **__: SimpleNamespace(fingerprint="two")
    )

    with pytest.raises(UserError, match=r"read the same images; /shared/images on .* differs"):
        job.load_split()
