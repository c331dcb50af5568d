"""Loads the images of a run and makes its time plan, or reuses the plan stored with the study."""

import math
import pickle
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cloudpickle

from cnn_blocks.config import InputSpec
from cnn_blocks.errors import UserError
from cnn_blocks.source_files import load_source
from search.optimize.budget import Budget
from search.optimize.time_division import make_plan
from search.optimize.working_size import working_size
from search.sizing.machine import visible_gpus
from search.sizing.machine_speed import measured_speed
from search.sizing.time_plan import DEFAULT_BUDGET_SECONDS, TimePlan
from search.system.runtime import Compute
from spaces.task import Task
from studies.study import StudySpec

if TYPE_CHECKING:
    from search.data import Split


@dataclass(frozen=True, kw_only=True)
class _Request:
    spec: StudySpec
    budget: Budget
    inputs: InputSpec
    images: int
    validation_images: int
    test_images: int
    sized: bool
    compute: Compute


def plan_run(
    spec: StudySpec,
    budget: Budget,
    *,
    known: TimePlan | None = None,
    load: Callable[[tuple[int, int] | None], "Split"],
    sized: bool,
    compute: Compute,
    spent_seconds: Callable[[], float],
    source: str | None = None,
) -> tuple["Split", TimePlan]:
    """Returns the images, loaded at a size that suits the time, and the time plan for them.

    `known` is the plan that the study was started with; it is kept. `load` loads the images at a
    size in pixels (height, width), None for their own size; `sized` means that the user chose it.
    `spent_seconds` returns how much of the budget is spent. `source` is the study's file or module;
    None for a shipped study.
    """
    if known is not None:
        return load(known.image_size), known
    budget = budget.completed_by(spec)
    split = load(None)
    fixed = spec.epochs is not None and (budget.retraining_epochs or not budget.retrain)
    if fixed and budget.seconds is None:
        # All lengths are given in epochs: there is nothing to plan and no speed to measure.
        return split, TimePlan(task=_task(split))
    request = _Request(
        spec=spec,
        budget=budget,
        inputs=split.spec,
        images=len(split.train),
        validation_images=len(split.validation),
        test_images=split.test_images,
        sized=sized,
        compute=compute,
    )
    plan = _answer(request, spent_seconds(), source)
    if plan.image_size is not None:
        split = load(plan.image_size)
    return split, plan


def _task(split: "Split") -> Task:
    spec = split.spec
    return Task(image_shape=spec.image_shape, classes=spec.classes, images=len(split.train))


def _answer(request: _Request, spent_seconds: float, source: str | None) -> TimePlan:
    if not visible_gpus():
        return _plan(request, spent_seconds)
    # In another process: one that has used a GPU keeps its GPU memory, which the workers need.
    question = pickle.dumps((source, cloudpickle.dumps((request, spent_seconds))))
    code = "import sys; from search.optimize.planning import answer; sys.exit(answer())"
    process = subprocess.run(
        [sys.executable, "-c", code], input=question, stdout=subprocess.PIPE, check=False
    )
    if process.returncode:
        raise UserError(
            f"A time plan needs a measurement of this machine's speed; the process that measures "
            f"it exited with code {process.returncode}. Fix: see its messages above."
        )
    plan, problem = pickle.loads(process.stdout)
    if problem is not None:
        raise UserError(problem)
    assert isinstance(plan, TimePlan)
    return plan


def answer() -> int:
    """Reads a pickled request from stdin, makes the plan, and writes it pickled to stdout."""
    source, question = pickle.loads(sys.stdin.buffer.read())
    plan, problem = None, None
    try:
        if source is not None:
            load_source(source)
        request, spent_seconds = pickle.loads(question)
        plan = _plan(request, spent_seconds)
    except UserError as error:
        problem = str(error)
    sys.stdout.buffer.write(pickle.dumps((plan, problem)))
    return 0


def _plan(request: _Request, spent_seconds: float) -> TimePlan:
    budget, inputs = request.budget, request.inputs
    began = time.monotonic()
    speed = measured_speed(request.compute)
    spent_seconds += time.monotonic() - began
    size = None
    if not request.sized:
        usable = (budget.seconds or DEFAULT_BUDGET_SECONDS) - spent_seconds
        size = working_size(
            request.spec,
            inputs,
            images=request.images,
            speed=speed,
            usable_seconds=max(usable, 1.0),
        )
    if size is not None:
        inputs = inputs.model_copy(update={"image_shape": (*size, 3)})
    return make_plan(
        request.spec,
        inputs,
        images=request.images,
        validation_images=request.validation_images,
        test_images=request.test_images,
        speed=speed,
        budget_seconds=budget.seconds,
        spent_seconds=math.ceil(spent_seconds),
        retrain=budget.retrain,
        retraining_seconds=budget.retraining_seconds,
        retraining_epochs=budget.retraining_epochs,
        image_size=size,
    )
