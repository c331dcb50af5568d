"""Heads that are trained on a frozen backbone's features."""
