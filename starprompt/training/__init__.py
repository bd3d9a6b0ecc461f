"""From a configuration to a finished run: training, tuning, checks of a method."""
