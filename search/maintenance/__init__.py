"""Looking after stored studies: check, backup, copy, serve."""
