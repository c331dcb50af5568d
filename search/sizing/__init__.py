"""What a training takes of this machine, predicted before it starts."""
