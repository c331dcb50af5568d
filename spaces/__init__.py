"""Search spaces: functions from a trial to a candidate."""

from pathlib import Path

# Older study files import shipped spaces as `spaces.NAME`.
__path__.append(str(Path(__file__).parent / "shipped"))
