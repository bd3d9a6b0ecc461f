"""What all tests share: hypothesis measures no time, because the machine may be busy."""

from hypothesis import settings

settings.register_profile("starprompt", deadline=None, max_examples=50)
settings.load_profile("starprompt")
