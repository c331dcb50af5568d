"""One classifier head a file; a new file here is discovered by itself."""
