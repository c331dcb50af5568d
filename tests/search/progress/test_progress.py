"""The display of progress: one plain line per event in a log, live lines on a terminal."""

import io
from collections.abc import Callable

import pytest
from rich.console import Console

from search.progress.choice import make_progress
from search.progress.events import (
    Progress,
    RetrainingAdvanced,
    RetrainingFinished,
    RetrainingStarted,
    SearchFinished,
    SearchStarted,
    TrialAdvanced,
    TrialFinished,
    TrialStarted,
    TrialState,
)
from search.progress.live import LiveProgress
from search.progress.plain import PlainProgress
from search.progress.tally import Tally
from search.progress.words import describe_metrics, duration, metric_words


class Clock:
    """A clock that advances only on request."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def _play(progress: Progress, wait: Callable[[float], None]) -> None:
    """Plays a resumed search: two finished trials, one trial per outcome, the retraining."""
    endings: list[tuple[TrialState, float | None, str | None]] = [
        ("complete", 0.61, None),
        ("pruned", None, "below the median\nat epoch 2"),
        ("infeasible", None, "needs 90 GiB [of memory]"),
        ("failed", None, "the loss became NaN"),
        ("interrupted", None, "Ctrl-C"),
    ]
    with progress:
        progress.handle(
            SearchStarted(
                study_name="depth_filters",
                trials=8,
                complete=2,
                pruned=0,
                failed=0,
                best_value=0.5,
                best_trial=1,
                metric="accuracy",
                budget_seconds=600.0,
            )
        )
        progress.note("12 images stand in both train and test")
        for number, (state, value, reason) in enumerate(endings, start=2):
            progress.handle(TrialStarted(number=number, summary=f"candidate {number}", epochs=2))
            wait(1.0)
            progress.handle(
                TrialAdvanced(
                    number=number, epoch=1.0, epochs=2, metrics={"loss": 1.5, "val_accuracy": 0.4}
                )
            )
            wait(1.0)
            progress.handle(
                TrialFinished(
                    number=number,
                    state=state,
                    value=value,
                    reason=reason,
                    seconds=2.0,
                    best_value=0.61,
                    best_trial=2,
                )
            )
        progress.warning("three files could not be read")
        progress.handle(SearchFinished(best_value=0.61, best_trial=2))
        progress.handle(RetrainingStarted(epochs=2, images=42500, summary="candidate 2"))
        for epoch in (0.5, 1.0, 1.5, 2.0):
            wait(1.0)
            progress.handle(RetrainingAdvanced(epoch=epoch, epochs=2, metrics={"loss": 0.5}))
        progress.handle(RetrainingFinished(seconds=4.0))


def _console(*, terminal: bool, width: int = 100, colors: bool = False) -> Console:
    return Console(
        file=io.StringIO(),
        force_terminal=terminal,
        width=width,
        height=40,
        color_system="standard" if colors else None,
        no_color=not colors,
    )


def _output(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def _ended(number: int, *, best_value: float, best_trial: int) -> TrialFinished:
    return TrialFinished(
        number=number,
        state="complete",
        value=0.3,
        reason=None,
        seconds=2.0,
        best_value=best_value,
        best_trial=best_trial,
    )


def test_the_silent_one_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    _play(Progress(), lambda seconds: None)

    assert capsys.readouterr() == ("", "")


def test_plain_progress_prints_one_line_per_event() -> None:
    clock, console = Clock(), _console(terminal=False, width=40)

    def wait(seconds: float) -> None:
        clock.now += seconds

    _play(PlainProgress(console, clock=clock), wait)

    assert _output(console).splitlines() == [
        "search depth_filters: 8 trials, at most 10 min 00 s, by accuracy; resumed: "
        "2 done, 0 pruned, 0 failed, 0 running, best accuracy 0.5000 (trial 1)",
        "12 images stand in both train and test",
        "trial 2 started, 2 epochs: candidate 2",
        "trial 2 complete 0.6100 in 2.0 s; best accuracy 0.6100 (trial 2); "
        "3 done, 0 pruned, 0 failed, 0 running; about 10 s left",
        "trial 3 started, 2 epochs: candidate 3",
        "trial 3 pruned (below the median at epoch 2) in 2.0 s; best accuracy 0.6100 (trial 2); "
        "3 done, 1 pruned, 0 failed, 0 running; about 8.0 s left",
        "trial 4 started, 2 epochs: candidate 4",
        "trial 4 infeasible (needs 90 GiB [of memory]) in 2.0 s; best accuracy 0.6100 (trial 2); "
        "3 done, 1 pruned, 1 infeasible, 0 failed, 0 running; about 6.0 s left",
        "trial 5 started, 2 epochs: candidate 5",
        "trial 5 failed (the loss became NaN) in 2.0 s; best accuracy 0.6100 (trial 2); "
        "3 done, 1 pruned, 1 infeasible, 1 failed, 0 running; about 4.0 s left",
        "trial 6 started, 2 epochs: candidate 6",
        "trial 6 interrupted (Ctrl-C) in 2.0 s; best accuracy 0.6100 (trial 2); "
        "3 done, 1 pruned, 1 infeasible, 1 failed, 0 running; about 5.0 s left",
        "warning: three files could not be read",
        "search finished: 3 done, 1 pruned, 1 infeasible, 1 failed; best accuracy 0.6100 (trial 2)",
        "retraining, 2 epochs on 42,500 images: candidate 2",
        "retraining epoch 1.5/2: loss 0.5000",
        "retraining epoch 2/2: loss 0.5000",
        "retraining finished in 4.0 s",
    ]


def test_a_long_trial_gives_signs_of_life_in_a_log() -> None:
    clock, console = Clock(), _console(terminal=False)
    progress = PlainProgress(console, clock=clock, interval=15.0)
    progress.handle(TrialStarted(number=0, summary="large", epochs=4))
    for step in range(1, 9):
        clock.now += 10.0
        progress.handle(TrialAdvanced(number=0, epoch=step / 2, epochs=4, metrics={"loss": 1.0}))

    lines = _output(console).splitlines()
    assert lines[1:] == [f"trial 0 epoch {epoch}/4: loss 1.0000" for epoch in (1, 2, 3, 4)]


def test_lengths_in_steps_are_rounded_and_said_when_they_are_known() -> None:
    clock, console = Clock(), _console(terminal=False)
    progress = PlainProgress(console, clock=clock, interval=15.0)
    progress.handle(TrialStarted(number=0, summary="timed", epochs=0))
    clock.now += 20.0
    progress.handle(
        TrialAdvanced(number=0, epoch=1.234567, epochs=17.391304, metrics={"loss": 1.0})
    )
    progress.handle(RetrainingStarted(epochs=0, images=1, summary="timed"))

    assert _output(console).splitlines() == [
        "trial 0 started: timed",
        "trial 0 epoch 1.23/17.39: loss 1.0000",
        "retraining on 1 image: timed",
    ]


def test_short_epochs_of_a_retraining_are_a_line_every_few_seconds() -> None:
    clock, console = Clock(), _console(terminal=False)
    progress = PlainProgress(console, clock=clock)
    progress.handle(RetrainingStarted(epochs=1600, images=361, summary="a head"))
    for epoch in range(1, 1601):
        clock.now += 0.03
        progress.handle(RetrainingAdvanced(epoch=epoch, epochs=1600, metrics={"loss": 1.0}))

    lines = _output(console).splitlines()
    assert len(lines) < 30  # of 48 seconds
    assert lines[-1] == "retraining epoch 1600/1600: loss 1.0000"


def test_live_progress_shows_the_whole_standing() -> None:
    clock, console = Clock(), _console(terminal=True)
    progress = LiveProgress(console, clock=clock)
    seen: list[str] = []

    def wait(seconds: float) -> None:
        clock.now += seconds
        with console.capture() as capture:
            console.print(progress.render())
        seen.append(capture.get())

    _play(progress, wait)

    first_trial, retraining = seen[1], seen[-1]
    for text in (
        "depth_filters",
        "2 of 8: 2 done, 0 pruned, 0 failed, 1 running",
        "accuracy 0.5000 (trial 1)",
        "2.0 s, about 9 min 58 s left",
        "trial 2 candidate 2",
        "epoch 1.0 of 2: loss 1.5000, validation accuracy 0.4000",
    ):
        assert text in first_trial
    assert "6 of 8: 3 done, 1 pruned, 1 infeasible, 1 failed" in retraining
    assert "accuracy 0.6100 (trial 2)" in retraining
    assert "42,500 images: candidate 2" in retraining
    assert "epoch 1.5 of 2: loss 0.5000" in retraining
    assert "trial 6" not in retraining


def test_live_progress_keeps_messages_and_gives_the_cursor_back() -> None:
    console = _console(terminal=True)

    _play(LiveProgress(console), lambda seconds: None)

    output = _output(console)
    assert "12 images stand in both train and test" in output
    assert "warning: trial 5 failed: the loss became NaN" in output
    assert output.rindex("\x1b[?25h") > output.rindex("\x1b[?25l")


def test_live_progress_gives_the_cursor_back_after_an_error() -> None:
    console = _console(terminal=True)

    with pytest.raises(KeyboardInterrupt), LiveProgress(console):
        raise KeyboardInterrupt

    output = _output(console)
    assert output.rindex("\x1b[?25h") > output.rindex("\x1b[?25l")


def test_the_terminal_can_be_restored_from_a_signal_handler() -> None:
    console = _console(terminal=True)
    progress = LiveProgress(console)
    with progress:
        progress.restore_terminal()
        output = _output(console)

    assert output.rindex("\x1b[?25h") > output.rindex("\x1b[?25l")


def test_colors_only_where_wanted() -> None:
    plain, colored = _console(terminal=True), _console(terminal=True, colors=True)
    for console in (plain, colored):
        _play(LiveProgress(console), lambda seconds: None)

    assert "\x1b[33m" in _output(colored)  # the yellow of a warning
    assert "\x1b[33m" not in _output(plain)


@pytest.mark.parametrize("width", [20, 38, 60, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    console = _console(terminal=True, width=width)
    progress = LiveProgress(console)
    _play(progress, lambda seconds: None)
    progress.handle(TrialStarted(number=9, summary="plain 32-64-128, gelu, " * 6, epochs=3))

    with console.capture() as capture:
        console.print(progress.render())
    lines = capture.get().splitlines()
    assert max(map(len, lines)) <= width
    assert sum("gelu" in line for line in lines) >= 1


def test_the_console_decides_which_one() -> None:
    assert isinstance(make_progress(_console(terminal=True)), LiveProgress)
    assert isinstance(make_progress(_console(terminal=False)), PlainProgress)


def test_time_left_is_bounded_by_trials_and_budget() -> None:
    clock = Clock()

    def tally(trials: int | None, budget: float | None) -> Tally:
        search = SearchStarted(
            study_name="tiny", metric="loss", trials=trials, budget_seconds=budget, complete=4
        )
        return Tally(search, clock=clock)

    by_trials, by_budget, by_both, unknown = (
        tally(10, None),
        tally(None, 60),
        tally(10, 30),
        tally(9, None),
    )
    for each in (by_trials, by_budget, by_both):
        each.start(4)
    clock.now += 10.0
    for each in (by_trials, by_budget, by_both):
        each.finish(_ended(4, best_value=0.3, best_trial=4))

    assert by_trials.remaining == pytest.approx(50.0)  # five more of ten seconds
    assert by_budget.remaining == pytest.approx(50.0)
    assert by_both.remaining == pytest.approx(20.0)
    assert unknown.remaining is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.6, "1 min 00 s"),
        (185, "3 min 05 s"),
        (3599.7, "1 h 00 min"),
        (5400, "1 h 30 min"),
        (360000, "100 h 00 min"),
    ],
)
def test_durations_are_said_like_a_person_does(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("metric", "words"),
    [
        ("accuracy", "accuracy"),
        ("macro_f1", "macro F1"),
        ("val_balanced_accuracy", "validation balanced accuracy"),
    ],
)
def test_metrics_are_named_in_words(metric: str, words: str) -> None:
    assert metric_words(metric) == words


def test_the_best_trial_of_a_joined_search_may_be_another_process() -> None:
    console = _console(terminal=False)
    progress = PlainProgress(console)
    progress.handle(
        SearchStarted(study_name="joined", trials=3, metric="accuracy", budget_seconds=None)
    )
    progress.handle(_ended(1, best_value=0.7, best_trial=0))
    progress.handle(SearchFinished(best_value=0.8, best_trial=2))

    ended, finished = _output(console).splitlines()[1:]
    assert "best accuracy 0.7000 (trial 0)" in ended
    assert "best accuracy 0.8000 (trial 2)" in finished


def test_a_loss_of_nothing_has_no_sign() -> None:
    assert describe_metrics({"loss": -0.0, "val_loss": -1e-9}) == (
        "loss 0.0000, validation loss 0.0000"
    )


def test_names_in_notes_can_neither_break_lines_nor_steer_the_terminal() -> None:
    for progress_of, terminal in ((PlainProgress, False), (LiveProgress, True)):
        console = _console(terminal=terminal)
        progress_of(console).warning("cat\x1b[2J\udce9.png\nis damaged")

        assert _output(console) == "warning: cat\\x1b[2J\\xe9.png is damaged\n"


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_a_terminal_that_lacks_letters(encoding: str) -> None:
    # Strict: unencodable characters raise.
    terminal = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    console = Console(file=terminal, force_terminal=True, width=30, height=40)
    progress = LiveProgress(console)
    with progress:
        progress.handle(
            SearchStarted(study_name="s" * 60, trials=3, metric="accuracy", budget_seconds=None)
        )
        progress.handle(TrialStarted(number=0, summary="a" * 90, epochs=3))
        progress.handle(TrialAdvanced(number=0, epoch=1.2, epochs=3, metrics={"loss": 1.0}))
