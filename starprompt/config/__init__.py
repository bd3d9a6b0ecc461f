"""What a run is: experiments, methods, thresholds; nothing here imports torch."""
