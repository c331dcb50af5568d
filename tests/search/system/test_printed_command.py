"""Commands printed for the user to paste into a shell."""

import subprocess

import pytest

from search.system.printed_command import printed_command


@pytest.mark.parametrize("word", ["a b", "$HOME", "it's", 'say "so"', "`date`", "a\\b", "~", "*"])
def test_the_shell_sees_the_words(word: str) -> None:
    echoed = subprocess.run(
        ["sh", "-c", printed_command("printf", "%s", word)], capture_output=True, text=True
    )

    assert echoed.stdout == word


def test_a_plain_command_stays_readable() -> None:
    command = printed_command("optuna-dashboard", "sqlite:///runs/studies.db")

    assert command == "optuna-dashboard sqlite:///runs/studies.db"
