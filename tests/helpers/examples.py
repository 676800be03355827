"""What is tested by default, and what with `-m slow` only."""

from typing import Any

import pytest
from hypothesis import settings

ALL, FEW = "all examples", "few examples"
settings.register_profile(ALL, max_examples=100, deadline=None)
settings.register_profile(FEW, max_examples=25, deadline=None)


def examples(number: int, **more: Any) -> settings:
    """Settings of a property test: `number` examples with `-m slow`, a quarter of them by default."""
    if settings.get_current_profile_name() == FEW:
        number = max(number // 4, 2)
    return settings(max_examples=number, deadline=None, **more)


def slow(*values: Any) -> Any:
    """Parameters of a test that are taken with `-m slow` only."""
    return pytest.param(*values, marks=pytest.mark.slow)
