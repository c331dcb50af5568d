"""`python -m search COMMAND`: every command of the console script."""

from search.cli.app import main

if __name__ == "__main__":
    main(program="python -m search")
