"""`python -m search.list`: lists studies, spaces, blocks, heads or data."""

from search.cli import main

if __name__ == "__main__":
    main("list")
