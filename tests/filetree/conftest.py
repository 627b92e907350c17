"""The machine that runs the tests may be busy: no example fails for being slow."""

from hypothesis import settings

settings.register_profile("busy machine", deadline=None)
settings.load_profile("busy machine")
