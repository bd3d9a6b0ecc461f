"""The tables, one kind per file."""
