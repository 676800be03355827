"""How many examples a property test takes: few by default, all with `-m slow`."""

from typing import Any

from hypothesis import settings

ALL, FEW = "all examples", "few examples"
settings.register_profile(ALL, max_examples=100, deadline=None)
settings.register_profile(FEW, max_examples=25, deadline=None)


def examples(number: int, **more: Any) -> settings:
    """Settings of a property test: `number` examples with `-m slow`, a quarter of them by default."""
    if settings.get_current_profile_name() == FEW:
        number = max(number // 4, 2)
    return settings(max_examples=number, deadline=None, **more)
