"""One kind of backbone per file; new files in this folder are discovered automatically."""
