"""One trial, from suggestion to value, whatever happens to it."""
