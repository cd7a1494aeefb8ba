"""Profiles of the property tests: HYPOTHESIS_PROFILE=thorough looks twenty times as long."""

import os

from hypothesis import HealthCheck, settings

# The machine may be shared, so how long one example takes says nothing.
settings.register_profile(
    "quick", max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("thorough", settings.get_profile("quick"), max_examples=1600)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))
