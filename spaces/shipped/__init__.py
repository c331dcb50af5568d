"""The spaces that come along: one function a file, named like it."""
