"""A GPU rounds factors of a matrix product to TF32 (10 bits) unless the highest precision is asked for."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.crystals import labelled_crystal
from helpers.networks import dense_batch
from jax.extend import core

from equivar_jax.config.files import load_config
from equivar_jax.kernels.multilinear import _compute, multilinear_p
from equivar_jax.network.compiled import weight_shapes
from equivar_jax.network.forms import make_network
from equivar_jax.network.model import Equivar, born_effective_charges, displace

SMALL = {"channels": 2, "interactions": 2, "embedding": 4, "radial_functions": 4, "mean_neighbours": 9.0}


def products(jaxpr):
    """Precision of every matrix product in a program and in the programs that it calls."""
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            yield equation.params["precision"]
        if equation.primitive is multilinear_p:  # XLA gets the program of the kernel
            arguments = [jax.ShapeDtypeStruct(var.aval.shape, var.aval.dtype) for var in equation.invars]
            compute = functools.partial(_compute, **equation.params)
            yield from products(jax.make_jaxpr(compute)(*arguments).jaxpr)
        for inner in jax.tree.leaves(equation.params, is_leaf=is_program):
            if is_program(inner):
                yield from products(getattr(inner, "jaxpr", inner))


def is_program(value):
    return isinstance(value, core.Jaxpr | core.ClosedJaxpr)


HIGHEST = (jax.lax.Precision.HIGHEST,) * 2


def small(name, kernel, **changed):
    """A config's network with few weights, and a graph for it."""
    config = load_config(name).model
    config = dataclasses.replace(config, **SMALL, kernel=kernel, edge_hidden=2 if config.edge_hidden else 0)
    return dataclasses.replace(config, **changed), dense_batch([labelled_crystal()], 4.0, np.float32).graph


@pytest.mark.parametrize("kernel", ["chunked", "reference"])
@pytest.mark.parametrize("name", ["bm1", "bm3", "bm3_deep"])
def test_no_matrix_product_may_be_rounded(name, kernel):
    config, graph = small(name, kernel)
    model = Equivar(config)
    params = {"params": jax.eval_shape(model.init, jax.random.key(0), graph)["params"]}
    still = jax.ShapeDtypeStruct((len(graph.nodes["species"]), 3), jnp.float32)

    def total(params, u):
        return jnp.sum(born_effective_charges(model, params, displace(graph, u)) ** 2)

    found = list(products(jax.make_jaxpr(jax.grad(total, (0, 1)))(params, still).jaxpr))
    assert len(found) > 10
    assert set(found) == {HIGHEST}


def test_nor_with_the_dielectric_readout_nor_in_derivatives_of_a_polarisation():
    config, graph = small("bm3_deep", "chunked", dielectric=True)
    model = Equivar(config)
    polarisation = make_network(dataclasses.replace(config, dielectric=False, form="polarisation"))
    params = jax.eval_shape(model.init, jax.random.key(0), graph)
    both = jax.make_jaxpr(lambda p: model.apply(p, graph, method="with_dielectric"))(params)
    weights = weight_shapes(polarisation.config)
    params = jax.tree.map(jnp.zeros, weights, is_leaf=lambda leaf: isinstance(leaf, tuple))
    slope = jax.grad(lambda p: jnp.sum(polarisation.apply(p, graph) ** 2))
    for program in (both, jax.make_jaxpr(slope)(params)):
        assert set(products(program.jaxpr)) == {HIGHEST}
