"""One study: ask, run, tell, until it ends; then the winner."""
