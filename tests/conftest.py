"""What all tests share."""

import sys
from pathlib import Path

from hypothesis import settings

# Helpers beside the tests are imported by their bare names, whether or not this folder is a package
sys.path.insert(0, str(Path(__file__).parent))

# No example is timed: the machine may be busy
settings.register_profile("starprompt", deadline=None, max_examples=50)
settings.load_profile("starprompt")
