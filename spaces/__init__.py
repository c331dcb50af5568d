"""Where to look: functions from a trial to a candidate."""
