"""What holds for all tests."""

from hypothesis import settings

# Time is no test: a loaded machine must not fail a property.
settings.register_profile("strongroom", deadline=None)
settings.load_profile("strongroom")
