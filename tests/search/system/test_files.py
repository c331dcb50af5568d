"""Text files can hold every name."""

import json
from pathlib import Path

from search.system.files import write_text


def test_bytes_of_names_that_are_not_utf8_come_back_from_json(tmp_path: Path) -> None:
    content = {"source": "caf\udce9", "class": "\u732b"}
    write_text(tmp_path / "names.json", json.dumps(content, ensure_ascii=False))

    text = (tmp_path / "names.json").read_text("utf-8")
    assert text == '{"source": "caf\\udce9", "class": "\u732b"}'
    assert json.loads(text) == content
