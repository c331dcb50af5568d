"""`python -m search.run`: searches, then retrains, evaluates and exports the winner."""

from search.cli.app import main

if __name__ == "__main__":
    main("run")
