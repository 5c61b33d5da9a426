"""Settings of the property tests: no clock decides whether one passes."""

from hypothesis import settings

settings.register_profile("check", deadline=None, max_examples=50)
settings.load_profile("check")
