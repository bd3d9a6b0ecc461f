"""Competitors: one method per file."""
