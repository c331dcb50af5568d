"""`python -m search.storage`: checks, backs up, copies and serves the storage of studies."""

from search.cli.app import main

if __name__ == "__main__":
    main("storage")
