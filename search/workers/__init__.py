"""How many worker processes a machine gets, and with what: measured once, and kept."""
