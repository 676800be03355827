import argparse
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.crystals import labelled_crystal
from helpers.networks import dense_batch
from scipy.stats import special_ortho_group

from benchmarks.teacher import derivative_head
from benchmarks.teacher.derivative_form import Polarisation, derivative_tensors
from equivar_jax.config.files import load_config
from equivar_jax.network.model import displace

CONFIG = dataclasses.replace(
    load_config("bm3_deep.py").model,
    channels=2,
    interactions=2,
    edge_hidden=2,
    embedding=4,
    radial_functions=4,
    mean_neighbours=9.0,
    kernel="chunked",
)
NEIGHBOURS = 24
_tensors = jax.jit(derivative_tensors, static_argnums=0)

pytestmark = pytest.mark.slow  # second derivatives take long to compile


@pytest.fixture
def model(float64):
    """A network and random weights in double precision; no charge is zero."""
    network = Polarisation(CONFIG, unit=0.7)
    params = jax.jit(network.init)(jax.random.key(0), graph_of(labelled_crystal()))
    rng = np.random.default_rng(0)
    return network, jax.tree.map(lambda leaf: jnp.asarray(leaf + 0.1 * rng.normal(size=leaf.shape)), params)


def graph_of(atoms):
    """In double precision and one compiled shape, with one padding node."""
    return dense_batch([atoms], 4.0, np.float64, neighbours=NEIGHBOURS, edges=3 * NEIGHBOURS).graph


def test_the_tensors_are_derivatives_of_the_polarisation_with_the_field_first(model):
    """By finite differences: dipoles move with every atom, and every atom carries its shifted charge."""
    network, params = model
    graph = graph_of(labelled_crystal())
    tensors = _tensors(*model, graph)[:3]
    charges = network.apply(params, graph, method="charges")[:3]
    charges -= charges.mean()
    polarisation = jax.jit(lambda u: network.apply(params, displace(graph, u)).sum(axis=0))
    for atom, direction in ((0, 0), (1, 2), (2, 1)):
        step = np.zeros((4, 3))
        step[atom, direction] = 1e-5
        slope = (polarisation(step) - polarisation(-step)) / 2e-5
        slope += charges[atom] * np.eye(3)[direction]
        np.testing.assert_allclose(tensors[atom, :, direction], slope, atol=1e-7)
    # The order of indices shows: transposed tensors would be off by a thousand times the tolerance.
    assert np.abs(tensors - np.swapaxes(tensors, 1, 2)).max() > 1e3 * 1e-7


def test_the_sum_rule_holds_without_being_applied(model):
    atoms = labelled_crystal()
    for charge in (0.0, 1.0):
        atoms.info["charge"] = charge
        tensors = _tensors(*model, graph_of(atoms))[:3]
        np.testing.assert_allclose(tensors.sum(axis=0), charge * np.eye(3), atol=1e-10)
        assert np.abs(tensors).max() > 0.1


@pytest.mark.parametrize("sign", [1.0, -1.0], ids=["rotation", "rotation and inversion"])
def test_equivariance(model, sign):
    atoms = labelled_crystal()
    matrix = sign * special_ortho_group.rvs(3, random_state=1)
    turned = atoms.copy()
    turned.set_cell(atoms.cell.array @ matrix.T, scale_atoms=True)
    expected = np.einsum("ac,bd,ncd->nab", matrix, matrix, _tensors(*model, graph_of(atoms)))
    np.testing.assert_allclose(_tensors(*model, graph_of(turned)), expected, atol=1e-10)


@pytest.mark.slow  # compiles four training steps
def test_the_comparison_trains_every_head(monkeypatch):
    monkeypatch.setattr(derivative_head, "choose_kernel", lambda *_: "chunked")  # no C++ to compile
    config = load_config("bm3_deep.py")
    small = dataclasses.replace(config.model, cutoff=3.0, radial_functions=4, embedding=4)
    monkeypatch.setattr(derivative_head, "load_config", lambda _: dataclasses.replace(config, model=small))
    options = argparse.Namespace(steps=2, channels=2, interactions=1, learning_rate=0.02, seed=0)
    rows = derivative_head.compare_heads([labelled_crystal(seed) for seed in range(3)], 2, options)
    assert [row["head"] for row in rows] == ["direct", "derivative", "direct, equal time"]
    assert [row["steps"] for row in rows[:2]] == [2, 2]
    assert all(np.isfinite([row["training_mae"], row["validation_mae"]]).all() for row in rows)
    assert len(derivative_head.make_table(rows).splitlines()) == 5
