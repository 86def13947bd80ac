"""A plugin of pytest for mutants: one failing example is enough, and the same examples are tried for each mutant."""

import re

from hypothesis import Phase, settings

settings.register_profile(
    "mutants", derandomize=True, database=None, deadline=None, phases=(Phase.explicit, Phase.generate)
)
settings.load_profile("mutants")


def pytest_make_parametrize_id(config, val, argname):
    """Name the cases of a test so that each can be named in a call: text such as "[::1]" is read as a part of a path."""
    return re.sub(r"\W", "_", val) if isinstance(val, str) and re.search(r"\W", val) else None
