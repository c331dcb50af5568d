"""The engine with worker processes on this machine."""
