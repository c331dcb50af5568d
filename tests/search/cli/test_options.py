"""Parsing of option values."""

import pytest

from cnn_blocks.errors import UserError
from search.cli.options import (
    parse_bytes,
    parse_duration,
    parse_image_size,
    parse_share,
    parse_workers,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90.0),
        ("40m", 2400.0),
        ("2h", 7200.0),
        ("1h30m", 5400.0),
        ("1H 30M 5s", 5405.0),
        ("0.5h", 1800.0),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text, option="--budget") == seconds


@pytest.mark.parametrize("text", ["", "40", "m", "-5m", "40 minutes", "1m1m", "0s", "1e3s", "5d"])
def test_a_bad_duration_names_option_value_and_examples(text: str) -> None:
    with pytest.raises(UserError, match=r"^--budget .*40m, 90s or 1h30m") as error:
        parse_duration(text, option="--budget")

    assert repr(text) in str(error.value)


@pytest.mark.parametrize(
    ("text", "size"), [("96", 96), ("96x128", (96, 128)), (" 32X32 ", (32, 32))]
)
def test_image_sizes(text: str, size: int | tuple[int, int]) -> None:
    assert parse_image_size(text, option="--image-size") == size


@pytest.mark.parametrize("text", ["", "0", "-4", "96x", "x96", "96x0", "96.5", "big", "1x2x3"])
def test_a_bad_image_size_names_option_and_value(text: str) -> None:
    with pytest.raises(UserError, match=r"^--image-size") as error:
        parse_image_size(text, option="--image-size")

    assert repr(text) in str(error.value)


@pytest.mark.parametrize(("text", "share"), [("2%", 0.02), ("0.02", 0.02), ("0", 0.0), ("100%", 1)])
def test_shares(text: str, share: float) -> None:
    assert parse_share(text, option="--max-bad-files") == pytest.approx(share)


@pytest.mark.parametrize("text", ["", "%", "-1%", "2", "101%", "nan", "a lot"])
def test_a_bad_share_names_option_and_value(text: str) -> None:
    with pytest.raises(UserError, match=r"^--max-bad-files") as error:
        parse_share(text, option="--max-bad-files")

    assert repr(text) in str(error.value)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("4096", 4096),
        ("500M", 500 * 2**20),
        ("20G", 20 * 2**30),
        ("1.5 GiB", 3 * 2**29),
        ("2tb", 2 * 2**40),
    ],
)
def test_sizes_in_bytes(text: str, size: int) -> None:
    assert parse_bytes(text, option="--cache-limit") == size


@pytest.mark.parametrize("text", ["", "G", "-1G", "5 boxes", "1e9", "1G1M"])
def test_a_bad_size_names_option_and_value(text: str) -> None:
    with pytest.raises(UserError, match=r"^--cache-limit .*500M or 20G") as error:
        parse_bytes(text, option="--cache-limit")

    assert repr(text) in str(error.value)


@pytest.mark.parametrize(("text", "wanted"), [("auto", "auto"), ("0", 0), ("12", 12)])
def test_workers(text: str, wanted: int | str) -> None:
    assert parse_workers(text, option="--workers") == wanted


@pytest.mark.parametrize("text", ["", "-1", "two", "1.5", "٣"])
def test_other_workers_are_refused(text: str) -> None:
    with pytest.raises(UserError, match="--workers must be a number of processes"):
        parse_workers(text, option="--workers")
