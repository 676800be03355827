"""One structure on many devices: each has a brick of it, and receives the features of atoms around it.

Every device computes the interactions of its own atoms, a few thousand at a time, as `layerwise` does. Before
each interaction but the first, whose features follow from the elements, the devices exchange the features of
those atoms that are neighbours of atoms elsewhere. What does not depend on the number of atoms is on every
device.

A device holds two tables of features, of own atoms and halo, and the edges of one piece. The whole graph is
in the memory of the host.
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ase import Atoms
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float

from equivar_jax.graphs.batch import prefetch
from equivar_jax.graphs.graph import AnyGraph
from equivar_jax.kernels import needs_slots
from equivar_jax.network.core import Core
from equivar_jax.network.features import Features
from equivar_jax.network.plan import live_irreps
from equivar_jax.prediction.distances import Known, distances
from equivar_jax.prediction.giant.bricks import divide
from equivar_jax.prediction.giant.exchange import Exchange
from equivar_jax.prediction.giant.regions import Regions, divide_graph
from equivar_jax.prediction.layerwise import NODES_AT_ONCE
from equivar_jax.progress import ProgressBar

AXIS = "devices"
"""Name of the axis along which everything that belongs to atoms is divided."""
_DIVIDED, _SAME = PartitionSpec(AXIS), PartitionSpec()


class Placed(NamedTuple):
    """A structure divided among devices, with what stays there while a network runs."""

    regions: Regions
    mesh: Mesh
    species: Array
    """Atomic numbers [device, row]."""
    send: Array
    """Rows that are sent [device, row], in the order of the rounds."""
    dtype: np.dtype
    """Precision of the computation."""

    def put(self, make: Callable[[int], Any]) -> Any:
        """Make arrays for each device of this process, and join them along a leading axis."""
        sharding = NamedSharding(self.mesh, _DIVIDED)
        return _put(self.mesh, sharding, make)

    def staged(self, bar: ProgressBar) -> Iterator[tuple[int, Any]]:
        """Yield the first row of each piece and its graph; the host makes the next one meanwhile."""
        regions = self.regions

        def make(piece: int) -> Any:
            return self.put(lambda device: regions.graph_of(device, piece, self.dtype))

        for piece, graph in enumerate(prefetch(make, range(regions.pieces), ahead=1)):
            yield piece * regions.nodes, graph
            bar.update(sum(len(regions.atoms_of(device, piece)) for device in range(self.mesh.size)))


def place(
    model: Core,
    dtype: np.dtype,
    atoms: Atoms,
    graph: AnyGraph,
    devices: Sequence[jax.Device],
    nodes_at_once: int = NODES_AT_ONCE,
) -> Placed:
    """Divide a structure among devices.

    Args:
        model: The network, for its kernel.
        dtype: Precision of the computation.
        atoms: The structure.
        graph: Its graph, as `equivar_jax.graphs.graph.find_neighbours` makes it.
        devices: The devices.
        nodes_at_once: Atoms of a device in one piece.
    """
    slots = needs_slots(model.config.kernel, model.config.channels, dtype)
    regions = divide_graph(graph, divide(atoms, len(devices)), len(devices), nodes_at_once, slots)
    mesh = Mesh(np.array(devices), (AXIS,))
    sharding = NamedSharding(mesh, _DIVIDED)
    species, send = (
        _put(mesh, sharding, make) for make in (regions.species, lambda device: regions.send[device])
    )
    return Placed(regions, mesh, species, send, dtype)


def tensors_on_devices(
    model: Core,
    params: dict,
    placed: Placed,
    progress: bool = False,
    known: Known | None = None,
) -> tuple[Float[np.ndarray, "atoms 3 3"], Float[np.ndarray, " atoms"] | None]:
    """Compute the Born effective charges of one structure before the sum rule, as `model.apply` gives them.

    Args:
        model: The network, of the direct form.
        params: Its weights.
        placed: The structure.
        progress: Show a progress bar.
        known: Features of its training data.

    Returns:
        float64 (N, 3, 3) in e, [atom, field direction, displacement direction], and the distance of the
        features of each atom from the known ones, if there are any.
    """
    regions, mesh, layers = placed.regions, placed.mesh, model.config.interactions
    params, known = jax.device_put((params, known), NamedSharding(mesh, _SAME))
    atoms = len(regions.counts)
    tensors, far = np.empty((atoms, 3, 3)), np.empty(0 if known is None else atoms)
    with ProgressBar(total=layers * atoms, unit="atom", unit_scale=True, disable=not progress) as bar:
        table = _embed(model, mesh, params, placed.species, placed.dtype)
        for layer in range(layers - 1):
            following = _zeros(mesh, regions.rows, *_shape_after(model, layer), placed.dtype)
            for start, graph in placed.staged(bar):
                following = _interact_into(
                    model, mesh, layer, following, params, table, placed.species, start, graph
                )
                following.block_until_ready()  # else graphs of pieces would pile up on the devices
            del table  # its memory is needed
            table = _exchange(mesh, regions.exchange, regions.own_rows, following, placed.send)
        for start, graph in placed.staged(bar):
            found = _read_out(model, mesh, params, table, placed.species, start, graph, known)
            for target, rows_of_devices in zip((tensors, far), found, strict=False):
                for device, rows in _fetched(rows_of_devices):
                    own = regions.atoms_of(device, start // regions.nodes)
                    target[own] = rows[: len(own)]
    return tensors, None if known is None else far


def _put(mesh: Mesh, sharding: NamedSharding, make: Callable[[int], Any]) -> Any:
    """Make arrays for each device of this process, and join them along a leading axis."""
    here = jax.process_index()
    made = {
        number: (device, make(number))
        for number, device in enumerate(mesh.devices.flat)
        if device.process_index == here
    }

    def join(*leaves: np.ndarray) -> Array:
        parts = [
            jax.device_put(leaf[None], device)
            for leaf, (device, _) in zip(leaves, made.values(), strict=True)
        ]
        shape = (mesh.size, *leaves[0].shape)
        return jax.make_array_from_single_device_arrays(shape, sharding, parts)

    return jax.tree.map(join, *(arrays for _, arrays in made.values()))


def _fetched(rows: Array) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the number of each device and what it has computed, as all processes then know it."""
    if not rows.is_fully_addressable:
        from jax.experimental.multihost_utils import process_allgather

        yield from enumerate(np.asarray(process_allgather(rows, tiled=True)))
        return
    for shard in rows.addressable_shards:
        yield shard.index[0].start or 0, np.asarray(shard.data)[0]


def _shape_after(model: Core, layer: int) -> tuple[int, int]:
    """Return components and channels of the features after an interaction."""
    return sum(ir.dim for ir in live_irreps(model.config, layer + 1)), model.config.channels


def _divided(mesh: Mesh, function: Callable, divided: int) -> Callable:
    """Make a function of what belongs to one device into one of arrays with a leading axis of devices.

    Args:
        mesh: The devices.
        function: Its first arguments are divided among the devices, the others are the same everywhere.
        divided: Number of the first arguments.
    """

    def on_device(own: tuple, same: tuple) -> Any:
        own = jax.tree.map(lambda array: array[0], own)
        return jax.tree.map(lambda array: array[None], function(*own, *same))

    mapped = jax.shard_map(
        on_device, mesh=mesh, in_specs=(_DIVIDED, _SAME), out_specs=_DIVIDED, check_vma=False
    )
    return lambda *arguments: mapped(arguments[:divided], arguments[divided:])


@functools.partial(jax.jit, static_argnums=(0, 1, 4))
def _embed(model: Core, mesh: Mesh, params: dict, species: Array, dtype: np.dtype) -> Array:
    """Compute the features of all rows before the first interaction: [device, row, component, channel]."""

    def embed(species: Array, params: dict) -> Array:
        return model.apply(params, species, dtype, method="embed_species").array

    return _divided(mesh, embed, 1)(species, params)


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3, 4))
def _zeros(mesh: Mesh, rows: int, components: int, channels: int, dtype: np.dtype) -> Array:
    """Make an empty table."""
    shape = (mesh.size, rows, components, channels)
    return jax.lax.with_sharding_constraint(jnp.zeros(shape, dtype), NamedSharding(mesh, _DIVIDED))


def _interact(model: Core, layer: int, table, species, graph, start, params):
    """Compute one interaction for the atoms of one piece of one device."""
    irreps = live_irreps(model.config, layer)
    graph = graph._replace(nodes={**graph.nodes, "species": species})
    size = len(graph.nodes["neighbours"])
    own = jax.lax.dynamic_slice_in_dim(table, start, size)
    own_species = jax.lax.dynamic_slice_in_dim(species, start, size)
    edges = model.apply(params, graph, method="embed_edges")
    features = Features(irreps, table), Features(irreps, own)
    return model.apply(params, layer, *features, edges, own_species, method="interact"), own_species


@functools.partial(jax.jit, static_argnums=(0, 1, 2), donate_argnums=3)
def _interact_into(
    model: Core, mesh: Mesh, layer: int, following: Array, params, table, species, start, graph
) -> Array:
    """Compute one interaction for one piece on each device, and write it to the next table."""

    def interact(following, table, species, graph, start, params):
        new, _ = _interact(model, layer, table, species, graph, start, params)
        return jax.lax.dynamic_update_slice_in_dim(following, new.array, start, 0)

    return _divided(mesh, interact, 4)(following, table, species, graph, start, params)


@functools.partial(jax.jit, static_argnums=(0, 1, 2), donate_argnums=3)
def _exchange(mesh: Mesh, exchange: Exchange, own_rows: int, table: Array, send: Array) -> Array:
    """Send the rows that other devices read, and write those that come to the end of the table."""

    def swap(table: Array, send: Array) -> Array:
        for pairs, size, start in zip(exchange.rounds, exchange.sizes, exchange.starts(), strict=True):
            rows = table[jax.lax.slice_in_dim(send, start, start + size)]
            received = jax.lax.ppermute(rows, AXIS, pairs)
            table = jax.lax.dynamic_update_slice_in_dim(table, received, own_rows + start, 0)
        return table

    return _divided(mesh, swap, 2)(table, send)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _read_out(model: Core, mesh: Mesh, params, table, species, start, graph, known):
    """Compute the last interaction for one piece on each device, its tensors, and distances."""

    def read_out(table, species, graph, start, params, known):
        layers = model.config.interactions
        new, own = _interact(model, layers - 1, table, species, graph, start, params)
        tensors = model.apply(params, new, own, method="read_out")
        return (tensors,) if known is None else (tensors, distances(new, own, known))

    return _divided(mesh, read_out, 3)(table, species, graph, start, params, known)
