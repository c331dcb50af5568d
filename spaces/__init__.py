"""Where to look: functions from a trial to a candidate."""

from pathlib import Path

# Study files from before there was a room for them import shipped spaces as `spaces.NAME`.
__path__.append(str(Path(__file__).parent / "shipped"))
