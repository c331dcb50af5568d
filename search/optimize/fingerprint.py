"""The stored identity of a study, and the refusal to resume it with a different one."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from cnn_blocks.errors import UserError
from search.sizing.time_plan import TimePlan
from search.storage.attributes import set_study_attribute, study_attributes
from spaces.probe import space_fingerprint
from studies.study import StudySpec

if TYPE_CHECKING:
    import optuna

    from search.data import Split


@dataclass(frozen=True, kw_only=True)
class StudyIdentity:
    """The settings that must be equal for a study's values to be comparable.

    Each is stored as a user attribute of the same name. `step_unit` is the unit of one step of an
    intermediate value. `split_sha256` covers the indices of all three roles, `data_fingerprint`
    the decoded images, labels and class names.
    """

    space_fingerprint: str
    data_fingerprint: str
    image_shape: str
    fit: str
    metric: str
    epochs: int | None
    step_unit: str
    seed: int
    split_fractions: str
    split_sha256: str


_WORDS = {
    "space_fingerprint": "the search space",
    "data_fingerprint": "the data",
    "image_shape": "the image size",
    "fit": "how images of another shape are fitted",
    "metric": "the metric",
    "epochs": "the epochs of a trial",
    "step_unit": "the step unit of intermediate values",
    "seed": "the seed",
    "split_fractions": "the fractions of the split",
    "split_sha256": "the split",
}


def identify(
    spec: StudySpec, split: "Split", plan: TimePlan, *, metric: str, seed: int
) -> StudyIdentity:
    """Returns the identity of a study on a split; `epochs` is None if the time plan sets them."""
    height, width = split.spec.image_shape[:2]
    return StudyIdentity(
        space_fingerprint=space_fingerprint(
            lambda trial: spec.candidate(trial, plan.task), draws=spec.probes
        ),
        data_fingerprint=split.dataset.fingerprint,
        image_shape=f"{height}x{width}",
        fit=split.dataset.decoding.fit,
        metric=metric,
        epochs=spec.epochs,
        step_unit=step_unit(spec, plan),
        seed=seed,
        split_fractions=", ".join(f"{name} {part:g}" for name, part in split.fractions.items()),
        split_sha256=split.sha256,
    )


def step_unit(spec: StudySpec, plan: TimePlan) -> str:
    """Returns the unit of one step of an intermediate value, in words."""
    if plan.trial_seconds is not None:
        return f"1/{plan.intervals} trial of {plan.trial_seconds:.3g} s"
    return "1 epoch" if spec.reports_per_epoch == 1 else f"1/{spec.reports_per_epoch} epoch"


def refuse_foreign(storage: "optuna.storages.BaseStorage", name: str, direction: str) -> None:
    """Raises UserError if a stored study of that name was not started by this program.

    Writes nothing. An empty study with the right direction passes, because a start that dies right
    after creating the study leaves one behind.
    """
    try:
        study_id = storage.get_study_id_from_name(name)
    except KeyError:
        return
    if "space_fingerprint" in study_attributes(storage, study_id):
        return
    trials = storage.get_n_trials(study_id)
    directions = [found.name.lower() for found in storage.get_study_directions(study_id)]
    if not trials and directions == [direction]:
        return
    raise UserError(
        f"A study can only be resumed by the program that started it; the storage has a study "
        f"{name!r} from another program ({trials} trials, to {' and '.join(directions)}), which "
        f"was not changed. Fix: choose another name with --study-name NEW, or another storage with "
        f"--storage URL."
    )


def remember_or_refuse(study: "optuna.Study", identity: StudyIdentity) -> None:
    """Stores the identity on a new study, or checks it against a stored one.

    Raises UserError that lists each difference with the stored and the received value.
    """
    received = asdict(identity)
    stored = study_attributes(study._storage, study._study_id)
    differences = [
        f"{_WORDS[name]} (stored: {stored[name]}, received: {value})"
        for name, value in received.items()
        if name in stored and stored[name] != value
    ]
    if differences:
        raise UserError(
            f"A study can only be resumed with the settings it was started with; these differ for "
            f"{study.study_name!r}: {'; '.join(differences)}. Fix: run it as before, or start a "
            f"new study with --study-name NEW."
        )
    for name, value in received.items():
        if name not in stored:
            set_study_attribute(study._storage, study._study_id, name, value)
