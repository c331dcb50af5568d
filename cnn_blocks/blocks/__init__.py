"""One searchable block a file; a new file here is discovered by itself."""
