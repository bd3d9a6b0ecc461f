"""What a run leaves: its record and its files, compared and verified."""
