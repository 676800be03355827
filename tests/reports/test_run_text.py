import dataclasses
import re

import numpy as np
from helpers.crystals import labelled_crystal, titanate

from equivar_jax.config import load_config
from equivar_jax.io import write_structures
from equivar_jax.reports.run_text import announce_run
from equivar_jax.structures import labels_of, with_born_effective_charges
from equivar_jax.training import start_run


def test_it_counts_what_is_left_out_and_what_is_frozen(tmp_path, capsys):
    charged = labelled_crystal(9)
    charged = with_born_effective_charges(charged, labels_of(charged) + np.eye(3))
    path = tmp_path / "mine.extxyz"
    write_structures(path, [*(labelled_crystal(seed) for seed in range(5)), charged, titanate()])
    config = load_config("test")
    config = dataclasses.replace(
        config,
        data=dataclasses.replace(config.data, path=str(path)),
        train=dataclasses.replace(config.train, freeze="elements"),
    )
    announce_run(start_run(config, tmp_path / "run"))
    told = dict(re.findall(r"^ *(\w[\w ]*\w)  (\S.*)$", capsys.readouterr().out, re.MULTILINE))
    assert told["skipped"] == "1 without Born effective charges"
    assert told["set aside"] == f"1 sum rule; see {tmp_path / 'run' / 'set_aside.csv'}"
    assert re.fullmatch(r"[\d,]+, of which [\d,]+ are trained", told["parameters"])
