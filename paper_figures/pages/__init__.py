"""Pages of findings in Markdown."""
