"""Runs one study: plans it, asks for, runs and tells trials until it ends, and picks the winner."""
