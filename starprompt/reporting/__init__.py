"""From finished runs to what `paper_figures` draws."""
