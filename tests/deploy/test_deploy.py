"""The files in deploy/ are complete, match the command line, and show no password."""

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from search.cli.app import app
from search.engines.ray.resources import WorkerResources

_DEPLOY = Path(__file__).parents[2] / "deploy"
_SLURM = _DEPLOY / "slurm.sh"
_ARGUMENTS = ["--study", "depth_filters", "--data", "my images", "--trials", "3"]
_URL = "postgresql+psycopg://cnn_search@database.example/cnn_search"


@pytest.fixture
def rayjob() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((_DEPLOY / "kuberay-job.yaml").read_text())
    return content


def _pods(rayjob: dict[str, Any]) -> list[dict[str, Any]]:
    cluster = rayjob["spec"]["rayClusterSpec"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    return [group["template"]["spec"] for group in groups]


def _slurm(tmp_path: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Runs the script with an srun that prints the command it gets, one argument per line."""
    srun = tmp_path / "srun"
    srun.write_text("#!/bin/sh\nprintf '%s\\n' \"$@\"\n")
    srun.chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", str(_SLURM), *_ARGUMENTS],
        env={"PATH": path, "SHARED": "/shared", **environment},
        capture_output=True,
        text=True,
    )


def _parsed(command: list[str]) -> dict[str, Any]:
    """Returns the options of a `python -m search.run` command as the command line parses them."""
    assert command[:3] == ["python", "-m", "search.run"]
    root = typer.main.get_command(app)
    run = root.commands["run"]  # type: ignore[attr-defined]
    parameters: dict[str, Any] = run.make_context("run", command[3:]).params
    return parameters


def _srun(result: "subprocess.CompletedProcess[str]") -> list[str]:
    """Returns the command passed to srun, without srun's own options."""
    lines = result.stdout.splitlines()
    return lines[lines.index("python") :]


def test_the_manifest_is_a_rayjob(rayjob: dict[str, Any]) -> None:
    assert (rayjob["apiVersion"], rayjob["kind"]) == ("ray.io/v1", "RayJob")
    assert rayjob["metadata"]["name"]
    cluster = rayjob["spec"]["rayClusterSpec"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", cluster["rayVersion"])
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        # `ray start` takes strings: Kubernetes rejects a bare number.
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
    for group in cluster["workerGroupSpecs"]:
        assert group["groupName"]
        assert 0 <= group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]


def test_every_pod_has_what_a_worker_needs(rayjob: dict[str, Any]) -> None:
    for pod in _pods(rayjob):
        (container,) = pod["containers"]
        assert {"name", "image", "env", "resources", "volumeMounts"} <= set(container)
        (password,) = [entry for entry in container["env"] if entry["name"] == "PGPASSWORD"]
        assert "value" not in password
        assert set(password["valueFrom"]["secretKeyRef"]) == {"name", "key"}
        volumes = {volume["name"] for volume in pod["volumes"]}
        assert {mount["name"] for mount in container["volumeMounts"]} <= volumes


def test_the_manifest_keeps_what_it_writes_on_the_shared_volume(rayjob: dict[str, Any]) -> None:
    command = shlex.split(rayjob["spec"]["entrypoint"])
    (mounted,) = {m["mountPath"] for p in _pods(rayjob) for m in p["containers"][0]["volumeMounts"]}
    for option in ("--data", "--runs-directory", "--artifacts"):
        assert command[command.index(option) + 1].startswith(f"{mounted}/")


def test_the_manifests_command_is_one_that_there_is(rayjob: dict[str, Any]) -> None:
    options = _parsed(shlex.split(rayjob["spec"]["entrypoint"]))
    assert options["study"] == "depth_filters"
    assert options["engine"] == "ray"


def test_the_manifests_workers_need_all_of_its_machines(rayjob: dict[str, Any]) -> None:
    options = _parsed(shlex.split(rayjob["spec"]["entrypoint"]))
    (group,) = rayjob["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    (container,) = group["template"]["spec"]["containers"]
    cpus = float(container["resources"]["limits"]["cpu"])
    on_each = WorkerResources(cpus=options["cpus_each"], gpus=0).fits({"CPU": cpus})
    assert -(-int(options["workers"]) // on_each) == group["maxReplicas"]


def test_no_url_holds_a_password(rayjob: dict[str, Any], tmp_path: Path) -> None:
    for command in (rayjob["spec"]["entrypoint"], _slurm(tmp_path, STORAGE=_URL).stdout):
        assert re.search(r"postgresql\+psycopg://[^:@/\s]+@", command)


def test_the_slurm_script_is_correct_shell() -> None:
    subprocess.run(["bash", "-n", str(_SLURM)], check=True)
    assert os.access(_SLURM, os.X_OK)


def test_the_slurm_script_passes_shellcheck() -> None:
    shellcheck = shutil.which("shellcheck")
    if shellcheck is None:
        pytest.skip("shellcheck is not installed")
    subprocess.run([shellcheck, str(_SLURM)], check=True)


def test_slurm_reads_every_setting_of_the_script() -> None:
    lines = _SLURM.read_text().splitlines()
    settings = [number for number, line in enumerate(lines) if line.startswith("#SBATCH ")]
    first_command = next(i for i, line in enumerate(lines) if line and not line.startswith("#"))
    assert settings, "sbatch takes its settings from the script"
    assert max(settings) < first_command, "sbatch stops reading at the first command"


@pytest.mark.parametrize(("task", "retrains"), [("0", True), ("1", False), ("7", False)])
def test_the_slurm_scripts_command_is_one_that_there_is(
    task: str, retrains: bool, tmp_path: Path
) -> None:
    result = _slurm(tmp_path, STORAGE=_URL, SLURM_ARRAY_TASK_ID=task)
    options = _parsed(_srun(result))
    assert options["data"] == "my images"
    assert options["storage"] == _URL
    assert str(options["runs_directory"]) == "/shared/runs"
    assert options["workers"] == "auto"
    assert options["retrain"] is retrains


@pytest.mark.parametrize("cpus", ["8", "1"])
def test_srun_is_told_the_number_of_cpus(cpus: str, tmp_path: Path) -> None:
    result = _slurm(tmp_path, STORAGE=_URL, SLURM_CPUS_PER_TASK=cpus)
    assert result.stdout.splitlines()[0] == f"--cpus-per-task={cpus}"


def test_the_slurm_script_says_what_is_missing(tmp_path: Path) -> None:
    result = _slurm(tmp_path)
    assert result.returncode != 0
    assert "STORAGE: must be the URL" in result.stderr
