"""One searchable block per file; new files in this folder are discovered automatically."""
