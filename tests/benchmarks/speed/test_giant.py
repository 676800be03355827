"""One structure on many devices: the benchmark plans the memory that the tables need."""

import dataclasses

from helpers.networks import DEEP, random_params

from benchmarks.speed import giant
from equivar_jax.network.model import Equivar


def test_the_memory_of_a_row_is_that_of_two_tables():
    model = Equivar(dataclasses.replace(DEEP, kernel="chunked"))
    small, large = (
        giant.plan_memory(model, random_params(DEEP), atoms, 0.0, 1) for atoms in (8192, 3 * 8192)
    )
    more = large["interaction_bytes"] - small["interaction_bytes"]
    # Components after one and after two interactions, 16 channels, 4 bytes.
    assert more == 2 * 8192 * (9 + 12) * 16 * 4


def test_a_halo_is_counted_with_its_padding():
    found = giant.measure_halo(3.0, 6, 4)
    assert found["own"] == 6**3 * 8 / 4
    assert found["halo"] <= found["halo_rows_with_padding"] < 2 * found["halo"]
