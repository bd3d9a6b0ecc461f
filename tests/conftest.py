"""What all tests share."""

from hypothesis import settings

# No example is timed: the machine may be busy
settings.register_profile("starprompt", deadline=None, max_examples=50)
settings.load_profile("starprompt")
