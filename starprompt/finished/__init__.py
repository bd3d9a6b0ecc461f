"""Finished runs: opened as a library, asked about other images, drawn."""
