"""The shipped spaces: one function per file, named like the file."""
