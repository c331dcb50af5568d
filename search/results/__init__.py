"""From the winner to the files of a run."""
