"""Sending an experiment to another process."""

import pickle
from pathlib import Path
from types import SimpleNamespace

import pytest

from cnn_blocks.errors import UserError
from search.data import DataSource
from search.trials.experiment import PortableStudy
from studies.study import LoadedStudy, StudySpec, load_study
from tests.support.sessions import make_experiment

STUDY = """
from spaces.candidate import Candidate
from studies.study import StudySpec

def space(trial): ...

study = StudySpec(name="mine", description="Mine.", space=space)
"""


def test_images_that_differ_from_the_studys_raise_a_user_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    experiment = make_experiment(data=DataSource(location="/shared/images"), data_fingerprint="one")
    monkeypatch.setattr(DataSource, "load", lambda _: SimpleNamespace(fingerprint="two"))

    with pytest.raises(UserError, match=r"read the same images; /shared/images on .* differs"):
        experiment.load_split()


def test_a_function_from_the_prompt_is_pickled_by_value() -> None:
    factor = 3
    spec = StudySpec(name="mine", description="Mine.", space=lambda trial: factor)

    arrived = pickle.loads(pickle.dumps(make_experiment(spec=spec)))

    assert arrived.study.load().space(None) == 3
    # Sent on again, as by a supervisor that another process started.
    assert pickle.loads(pickle.dumps(arrived)).study.load().space(None) == 3


def test_a_users_study_file_is_sent_as_text(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(STUDY)
    study = PortableStudy(load_study(file)).with_texts()
    sent = pickle.dumps(study)
    file.unlink()

    assert pickle.loads(sent).load().name == "mine"


def test_in_its_own_process_a_study_is_the_same_object() -> None:
    spec = load_study("quickstart").spec

    assert PortableStudy(LoadedStudy(spec, None)).load() is spec
