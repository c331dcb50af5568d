"""One kind of backbone a file; a new file here is discovered by itself."""
