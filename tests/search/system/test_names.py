"""External names can be shown, decoded and stored whatever they contain."""

import pytest

from search.system.names import decoded, is_text, shown, spreadsheet_cell, without_passwords


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("caf\u00e9 \u732b", "caf\u00e9 \u732b"),
        ("caf\udce9", r"caf\xe9"),
        ("a\nb\tc\x1b[31m\0", r"a\nb\tc\x1b[31m\x00"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("\ud800", r"\ud800"),
    ],
)
def test_shown(name: str, text: str) -> None:
    assert shown(name) == text


def test_bytes_that_an_ascii_file_system_does_not_know_are_utf8() -> None:
    assert decoded("caf\udcc3\udca9") == "caf\u00e9"
    assert decoded("caf\udce9") == "caf\udce9"
    assert decoded("\ud800") == "\ud800"


def test_text_is_what_utf8_can_hold() -> None:
    assert is_text("caf\u00e9")
    assert not is_text("caf\udce9")


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("=cmd()", "'=cmd()"),
        ("@sum", "'@sum"),
        ("-cat", "'-cat"),
        ("+1e", "'+1e"),
        ("-1.5e3", "-1.5e3"),
        ("cat=dog", "cat=dog"),
        (-3, -3),
        (None, None),
    ],
)
def test_no_cell_is_a_formula(value: object, cell: object) -> None:
    assert spreadsheet_cell(value) == cell


def test_a_password_of_a_url_is_not_shown() -> None:
    line = "search run --storage postgresql+psycopg://me:secret@host/studies --data photos:new"

    assert without_passwords(line) == line.replace("secret", "***")
