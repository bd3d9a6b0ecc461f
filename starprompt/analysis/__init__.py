"""What is measured from records: significance, ablations, failure modes, choices of prompts."""
