"""What replaces past images: class mixtures, statistics, buffers, ridge sums."""
