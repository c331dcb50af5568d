"""What a worker is told."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from cnn_blocks.errors import UserError
from search.data import DataSource
from search.engines.job import WorkerJob


def test_other_images_than_the_studys_are_a_users_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = WorkerJob(
        study_name="tiny",
        storage="sqlite:///studies.db",
        spec=b"",
        source=None,
        data=DataSource(location="/shared/images"),
        data_fingerprint="one",
        metric="accuracy",
        seed=0,
        trials=1,
        checkpoints=tmp_path,
    )
    monkeypatch.setattr(DataSource, "load", lambda _: SimpleNamespace(fingerprint="two"))

    with pytest.raises(UserError, match=r"read the same images; /shared/images on .* differs"):
        job.load_split()
