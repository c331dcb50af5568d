"""The shipped studies, one per file."""
