"""The start of Keras: which messages reach the screen."""

import os

import pytest

from search.system.runtime import startup_chatter_held

CHATTER = b"""WARNING: All log messages before absl::InitializeLog() is called are written to STDERR
I0000 00:00:1795854238.332889   22079 port.cc:153] oneDNN custom operations are on.
E0000 00:00:1795854242.627332   22079 cuda_platform.cc:52] failed call to cuInit: INTERNAL
2026-01-01 10:00:00.123456: I tensorflow/core/util/port.cc:113] oneDNN custom operations are on.
To enable the following instructions: AVX2 AVX512F FMA, in other operations, rebuild TensorFlow.
"""


def test_start_up_chatter_is_held_back_and_nothing_else(capfd: pytest.CaptureFixture[str]) -> None:
    with startup_chatter_held():
        os.write(2, CHATTER + b"a warning of one's own\n")

    assert capfd.readouterr().err == "a warning of one's own\n"


def test_where_the_start_fails_all_is_shown(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ImportError), startup_chatter_held():
        os.write(2, CHATTER)
        raise ImportError

    assert capfd.readouterr().err == CHATTER.decode()
