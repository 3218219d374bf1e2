"""Settings shared by all tests."""

import signal

from hypothesis import settings

# A busy machine must not fail a property for being slow.
settings.register_profile("steady", deadline=None, print_blob=True)
settings.load_profile("steady")

# A shell starts what it puts in the background with SIGINT ignored, and an ignored signal stays
# ignored in every child; the tests of Ctrl-C need it whoever runs them.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
