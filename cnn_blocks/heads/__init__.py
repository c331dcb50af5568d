"""One classifier head per file; new files in this folder are discovered automatically."""
