"""Results and checkpoints in real folders, and in an S3 server over HTTP."""

import importlib.util
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.artifacts import download_artifact, get_all_artifact_meta

from cnn_blocks.errors import UserError
from search.storage import open_storage, quiet_optuna
from search.storage.artifacts import Artifacts, artifacts_of, keep_results, open_artifacts
from search.training.checkpoint import Checkpoint
from search.trials.shared_checkpoints import SharedCheckpoints
from tests.support.server_process import server_process

_SECONDS = 60
_FILES = {"metrics.json": b"{}", "model.keras": os.urandom(200_000), "best_config.yaml": b"a: 1"}


@pytest.fixture
def study(tmp_path: Path) -> optuna.Study:
    with quiet_optuna():
        storage = open_storage(f"sqlite:///{tmp_path / 'studies.db'}")
        return optuna.create_study(storage=storage, study_name="tiny")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A finished run's folder, including files that are not results."""
    directory = tmp_path / "run_1"
    (directory / "checkpoints").mkdir(parents=True)
    for name, content in {**_FILES, "retraining.json": b"{}", ".model.1.keras": b"half"}.items():
        (directory / name).write_bytes(content)
    return directory


@pytest.fixture(scope="module")
def s3_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    for needed in ("boto3", "moto", "flask"):
        if importlib.util.find_spec(needed) is None:
            pytest.skip(f"no S3 server: {needed} is not installed")
    log = tmp_path_factory.mktemp("s3") / "server.log"
    with server_process([Path(sys.executable).with_name("moto_server")], log) as address:
        yield address


@pytest.fixture
def s3(s3_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The location of an empty bucket; environment variables name its server."""
    import boto3

    for name, value in {
        "AWS_ENDPOINT_URL_S3": s3_address,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": str(tmp_path / "none"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    bucket = f"bucket-{time.monotonic_ns()}"
    boto3.client("s3").create_bucket(Bucket=bucket)
    return f"s3://{bucket}"


Locate = Callable[[str], str]


@pytest.fixture(params=["folder", "s3"])
def locate(request: pytest.FixtureRequest, tmp_path: Path) -> Locate:
    """Returns locations for artifacts, in a folder or in S3."""
    if request.param == "folder":
        return lambda name: str(tmp_path / "shared" / name)
    bucket = request.getfixturevalue("s3")
    return lambda name: f"{bucket}/{name}"


def _content(artifacts: Artifacts, study: optuna.Study) -> dict[str, bytes]:
    found = {}
    for artifact in artifacts_of(study):
        with artifacts.store.open_reader(artifact.artifact_id) as file:
            found[artifact.filename] = file.read()
    return found


def test_the_results_of_a_run_are_kept_once(
    study: optuna.Study, run: Path, locate: Locate, tmp_path: Path
) -> None:
    artifacts = open_artifacts(locate("results"))
    names = keep_results(study, run, artifacts)
    assert names == ["run_1_best_config.yaml", "run_1_model.keras", "run_1_metrics.json"]
    assert _content(artifacts, study) == {f"run_1_{k}": v for k, v in _FILES.items()}
    before = get_all_artifact_meta(study)
    assert keep_results(study, run, artifacts) == names
    assert get_all_artifact_meta(study) == before
    # Optuna's own function finds them if there is no prefix.
    model = next(a for a in before if a.filename.endswith(".keras"))
    fetched = tmp_path / "fetched.keras"
    download_artifact(
        artifact_store=artifacts.store, file_path=str(fetched), artifact_id=model.artifact_id
    )
    assert fetched.read_bytes() == _FILES["model.keras"]


def test_a_file_that_changed_replaces_the_earlier_one(
    study: optuna.Study, run: Path, locate: Locate
) -> None:
    artifacts = open_artifacts(locate("results"))
    keep_results(study, run, artifacts)
    old = {a.filename: a.artifact_id for a in artifacts_of(study)}
    (run / "metrics.json").write_bytes(b'{"accuracy": 1}')
    keep_results(study, run, artifacts)
    content = _content(artifacts, study)
    assert content["run_1_metrics.json"] == b'{"accuracy": 1}'
    assert len(content) == len(artifacts_of(study)) == 3
    with pytest.raises(optuna.artifacts.exceptions.ArtifactNotFound):
        artifacts.store.open_reader(old["run_1_metrics.json"])


def test_a_file_that_was_lost_is_kept_again(study: optuna.Study, run: Path, locate: Locate) -> None:
    artifacts = open_artifacts(locate("results"))
    keep_results(study, run, artifacts)
    artifacts.store.remove(artifacts_of(study)[0].artifact_id)
    keep_results(study, run, artifacts)
    assert len(_content(artifacts, study)) == 3


def test_a_store_that_fails_leaves_no_note_without_its_file(
    study: optuna.Study, run: Path, tmp_path: Path
) -> None:
    artifacts = open_artifacts(tmp_path / "shared")
    (tmp_path / "shared").rmdir()
    (tmp_path / "shared").write_text("a file where the folder was")
    with pytest.raises(UserError, match="could not be copied"):
        keep_results(study, run, artifacts)
    assert get_all_artifact_meta(study) == []


def test_two_runs_of_a_study_stand_beside_each_other(
    study: optuna.Study, run: Path, tmp_path: Path
) -> None:
    artifacts = open_artifacts(tmp_path / "shared")
    keep_results(study, run, artifacts)
    keep_results(study, run.rename(tmp_path / "run_2"), artifacts)
    names = {a.filename for a in artifacts_of(study)}
    assert {"run_1_metrics.json", "run_2_metrics.json"} < names
    assert len(names) == 6


def test_the_dashboard_serves_and_deletes_what_is_kept(
    study: optuna.Study, run: Path, tmp_path: Path
) -> None:
    shared = tmp_path / "shared"
    artifacts = open_artifacts(shared)
    keep_results(study, run, artifacts)
    model = next(a for a in artifacts_of(study) if a.filename.endswith(".keras"))
    command: list[str | Path] = [
        Path(sys.executable).with_name("optuna-dashboard"),
        f"sqlite:///{tmp_path / 'studies.db'}",
        "--artifact-dir",
        shared,
    ]
    with server_process(command, tmp_path / "dashboard.log") as address:
        path = f"{study._study_id}/{model.artifact_id}"
        with urllib.request.urlopen(f"{address}/artifacts/{path}", timeout=_SECONDS) as answer:
            assert answer.read() == _FILES["model.keras"]
        delete = urllib.request.Request(f"{address}/api/artifacts/{path}", method="DELETE")
        urllib.request.urlopen(delete, timeout=_SECONDS).close()
    assert len(artifacts_of(study)) == 2
    keep_results(study, run, artifacts)
    assert len(_content(artifacts, study)) == 3


def test_a_place_below_a_prefix_keeps_to_itself(study: optuna.Study, run: Path, s3: str) -> None:
    import boto3

    keep_results(study, run, open_artifacts(f"{s3}/team/one"))
    listing = boto3.client("s3").list_objects_v2(Bucket=s3.removeprefix("s3://"))
    keys = [item["Key"] for item in listing["Contents"]]
    assert sorted(keys) == sorted(f"team/one/{a.artifact_id}" for a in artifacts_of(study))


@pytest.mark.parametrize("location", ["", "gs://bucket", "s3:/bucket", "s3://", "https://x/y"])
def test_a_location_of_another_kind_is_refused(location: str) -> None:
    with pytest.raises(UserError, match="stored in a folder or below s3://BUCKET/PREFIX"):
        open_artifacts(location)


def test_a_place_that_cannot_be_used_is_refused(tmp_path: Path, s3: str) -> None:
    (tmp_path / "file").write_text("no folder")
    for location in (tmp_path / "file", "/proc/artifacts", f"{s3}-missing", "s3://A_b!"):
        with pytest.raises(UserError, match="files can be written, read and removed"):
            open_artifacts(location)


@pytest.mark.parametrize("address", ["http://127.0.0.1:9", "no address"])
def test_an_address_that_nobody_answers_is_refused(
    s3: str, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", address)
    with pytest.raises(UserError, match=address):
        open_artifacts(s3)


def test_missing_boto3_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(UserError, match=r"pip install boto3"):
        open_artifacts("s3://bucket")


def _write_checkpoint(folder: Path, epoch: int) -> None:
    weights = [np.full((100, 100), epoch, np.float32)]
    Checkpoint(folder, identity="one").write({"epoch": epoch}, {"weights": weights})


def _read_epoch(folder: Path) -> int | None:
    found = Checkpoint(folder, identity="one").read()
    return None if found is None else int(found[0]["epoch"])


def test_a_checkpoint_goes_on_on_another_machine(locate: Locate, tmp_path: Path) -> None:
    warnings: list[str] = []
    here, there = tmp_path / "here" / "trial_3", tmp_path / "there" / "trial_4"
    ours = SharedCheckpoints(open_artifacts(locate("all")), warn=warnings.append)
    theirs = SharedCheckpoints(open_artifacts(locate("all"), check=False), warn=warnings.append)
    assert not ours.push(here, "tiny/trial_3")
    assert not theirs.pull("tiny/trial_3", there)
    assert not there.exists()
    for epoch in (1, 2):
        _write_checkpoint(here, epoch)
        assert ours.push(here, "tiny/trial_3")
    assert theirs.pull("tiny/trial_3", there)
    assert _read_epoch(there) == 2
    assert [path.name for path in there.iterdir()] == ["checkpoint.npz"]

    # A machine's local checkpoint is at least as new as the one it sent.
    _write_checkpoint(there, 5)
    assert theirs.pull("tiny/trial_3", there)
    assert _read_epoch(there) == 5

    ours.remove("tiny/trial_3")
    ours.remove("tiny/trial_3")
    assert not theirs.pull("tiny/trial_3", tmp_path / "elsewhere")
    assert ours.push(here, "tiny/trial_3"), "removed, so it is sent again"
    assert theirs.pull("tiny/trial_3", tmp_path / "elsewhere")
    assert warnings == []


def test_a_store_that_fails_warns_once_and_stops_nothing(tmp_path: Path) -> None:
    warnings: list[str] = []
    shared, here = tmp_path / "shared", tmp_path / "trial_0"
    checkpoints = SharedCheckpoints(open_artifacts(shared), warn=warnings.append)
    shared.rmdir()
    shared.write_text("a file where the folder was")
    _write_checkpoint(here, 1)
    assert not checkpoints.push(here, "trial_0")
    assert not checkpoints.push(here, "trial_0")
    assert not checkpoints.pull("trial_0", tmp_path / "other")
    checkpoints.remove("trial_0")
    assert len(warnings) == 1
    assert str(shared) in warnings[0]
    shared.unlink()
    assert checkpoints.push(here, "trial_0")
    assert checkpoints.pull("trial_0", tmp_path / "other")
    shared.rename(tmp_path / "away")
    shared.write_text("again")
    _write_checkpoint(here, 2)
    assert not checkpoints.push(here, "trial_0")
    assert len(warnings) == 2


def test_an_s3_server_that_goes_away_warns(
    s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warnings: list[str] = []
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    checkpoints = SharedCheckpoints(open_artifacts(s3, check=False), warn=warnings.append)
    _write_checkpoint(tmp_path / "trial_0", 1)
    assert not checkpoints.push(tmp_path / "trial_0", "trial_0")
    assert not checkpoints.pull("trial_0", tmp_path / "other")
    assert not (tmp_path / "other" / "checkpoint.npz").exists()
    assert len(warnings) == 1


def test_a_process_killed_while_it_writes_leaves_no_half_file(tmp_path: Path) -> None:
    shared, here = tmp_path / "shared", tmp_path / "trial_0"
    code = (
        "import sys; from pathlib import Path\n"
        "from search.storage.artifacts import open_artifacts\n"
        "class Slow:\n"
        "    first = True\n"
        "    def read(self, size=-1):\n"
        "        if self.first: self.first = False; return b'half'\n"
        "        print('writing', flush=True); import time; time.sleep(600)\n"
        "open_artifacts(sys.argv[1]).store.write('checkpoints/trial_0.npz', Slow())\n"
    )
    root = Path(__file__).parents[3]
    with subprocess.Popen(
        [sys.executable, "-c", code, str(shared)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(root)},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"writing\n"
        process.kill()
    checkpoints = SharedCheckpoints(open_artifacts(shared), warn=pytest.fail)
    assert not checkpoints.pull("trial_0", tmp_path / "other")
    checkpoints.remove("trial_0")
    assert list((shared / "checkpoints").iterdir()) == []
    _write_checkpoint(here, 1)
    assert checkpoints.push(here, "trial_0")
    assert checkpoints.pull("trial_0", tmp_path / "other")
    assert _read_epoch(tmp_path / "other") == 1
