"""The studies that come along, one a file."""
