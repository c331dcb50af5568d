"""The charts of a report: each function turns facts into one inline SVG picture."""
