"""Studies whose second candidate misbehaves."""

_ONCE = """def space(trial):
    import pathlib, time
    flag = pathlib.Path(__file__).with_name("happened")
    if getattr(trial, "number", 0) == 1 and not flag.exists():
        flag.touch()
        {what}
"""


def with_mishap(study: str, what: str) -> str:
    """Returns a study's text in which trial 1 runs `what`, once, before it draws its candidate."""
    return study.replace("def space(trial):\n", _ONCE.format(what=what))
