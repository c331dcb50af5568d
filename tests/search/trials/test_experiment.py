"""An experiment on its way to another process."""

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


def test_other_images_than_the_studys_are_a_users_error(monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = make_experiment(data=DataSource(location="/shared/images"), data_fingerprint="one")
    monkeypatch.setattr(DataSource, "load", lambda _: SimpleNamespace(fingerprint="two"))

    with pytest.raises(UserError, match=r"read the same images; /shared/images on .* differs"):
        experiment.load_split()


def test_a_function_of_a_prompt_travels_by_value() -> None:
    factor = 3
    spec = StudySpec(name="mine", description="Mine.", space=lambda trial: factor)

    arrived = pickle.loads(pickle.dumps(make_experiment(spec=spec)))

    assert arrived.study.load().space(None) == 3
    # Sent on, as by a supervisor that was started by another process.
    assert pickle.loads(pickle.dumps(arrived)).study.load().space(None) == 3


def test_a_file_of_ones_own_travels_with_its_text_where_it_is_not_there(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(STUDY)
    study = PortableStudy(load_study(file)).with_texts()
    sent = pickle.dumps(study)
    file.unlink()

    assert pickle.loads(sent).load().name == "mine"


def test_in_its_own_process_a_study_stays_the_same_object() -> None:
    spec = load_study("quickstart").spec

    assert PortableStudy(LoadedStudy(spec, None)).load() is spec
