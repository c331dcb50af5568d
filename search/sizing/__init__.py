"""What a training takes of this machine, known before it begins."""
