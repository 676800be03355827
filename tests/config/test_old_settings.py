import json

import pytest

from equivar_jax.config.files import load_config
from equivar_jax.config.old_settings import RETIRED, read_config
from equivar_jax.config.schema import Config
from equivar_jax.config.settings import from_dict, to_dict
from equivar_jax.errors import InputError


def old(**train):
    """The settings of `bm3.py` as an earlier version wrote them."""
    values = json.loads(json.dumps(to_dict(load_config("bm3.py"))))
    values["train"] |= {"loss": "l1", "huber_delta": 0.02, "sum_rule_in_loss": False, **train}
    return values


@pytest.mark.parametrize("unused", [0.02, 0.5])
def test_what_changed_nothing_is_forgotten(unused):
    values = old(huber_delta=unused)
    assert set(RETIRED) <= set(values["train"])
    assert read_config(values, "RUN") == load_config("bm3.py")
    assert set(RETIRED) <= set(values["train"])  # the argument stays as it was
    with pytest.raises(InputError, match="unknown setting 'loss'"):
        from_dict(Config, values)


@pytest.mark.parametrize(("name", "value"), [("loss", "huber"), ("sum_rule_in_loss", True)])
def test_what_was_turned_on_is_refused_by_name(name, value):
    with pytest.raises(InputError, match=rf"RUN: train.{name} is {value!r}, which is no longer there"):
        read_config(old(**{name: value}), "RUN")


def test_settings_of_this_version_are_read_as_they_are_and_unknown_ones_refused():
    config = load_config("bm3_deep.py")
    assert read_config(to_dict(config), "RUN") == config
    with pytest.raises(InputError, match="unknown setting 'epoch'; did you mean 'epochs'"):
        read_config(old(epoch=3), "RUN")
