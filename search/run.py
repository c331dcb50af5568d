"""`python -m search.run`: searches, then retrains, evaluates and exports the winner."""

from search.cli import main

if __name__ == "__main__":
    main("run")
