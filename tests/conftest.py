"""Settings shared by all tests."""

from hypothesis import settings

# A busy machine must not fail a property for being slow.
settings.register_profile("steady", deadline=None, print_blob=True)
settings.load_profile("steady")
