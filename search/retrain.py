"""`python -m search.retrain`: trains, evaluates and exports a configuration."""

from search.cli.app import main

if __name__ == "__main__":
    main("retrain")
