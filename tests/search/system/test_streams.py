"""Consoles and logs with any encoding accept every name."""

import io
import sys

import pytest

from search.system.streams import escape_unencodable


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_what_an_encoding_lacks_is_escaped(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding=encoding))
    monkeypatch.setattr(sys, "stderr", None)  # as under pythonw

    escape_unencodable()
    print("caf\u00e9 \u732b \udce9", flush=True)

    expected = "caf\u00e9 \u732b \udce9".encode(encoding, "backslashreplace")
    assert written.getvalue().strip() == expected
