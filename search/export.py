"""`python -m search.export`: writes a study's best configuration into a file."""

from search.cli.app import main

if __name__ == "__main__":
    main("export")
