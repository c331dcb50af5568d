"""`python -m search.list`: lists studies, spaces, blocks, heads, backbones, data or recipes."""

from search.cli.app import main

if __name__ == "__main__":
    main("list")
