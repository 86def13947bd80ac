"""What holds for all tests: a busy machine makes no property test fail."""

from hypothesis import settings

if settings.get_current_profile_name() == "default":  # not where CI or a plugin has chosen another one
    settings.register_profile("unhurried", settings.get_profile("default"), deadline=None)
    settings.load_profile("unhurried")
