import pytest

from equivar_jax.cache import code_version


def test_the_version_of_the_code_covers_files_and_folders():
    named = (("structures.py",), ("storage",), ("structures.py", "storage"))
    assert len({code_version(*names) for names in named}) == 3


def test_a_source_that_is_not_there_is_an_error_and_no_stale_key():
    with pytest.raises(FileNotFoundError, match=r"nowhere\.py"):
        code_version("structures.py", "nowhere.py")
