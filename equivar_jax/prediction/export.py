"""Networks as serialised StableHLO: `jax.export` of the pure function, with the weights inside.

An archive is a zip file with one entry for each function, `metadata.json`, and the source of
`exported_reader`, which says what goes in and comes out. A program that has JAX alone can run it, on each of
the platforms that it was lowered for, with any number of atoms and neighbours: sizes are symbols.

The neighbours come as a table [atom, neighbour], so that no edge has to be sorted. The kernel is "chunked":
that in C++ is a custom call, a name that only a process which has loaded equivar_jax knows.
"""

import contextlib
import dataclasses
import json
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import jraph
import numpy as np
from ase.data import chemical_symbols
from jax import export
from jaxtyping import Array, Float, Int

from equivar_jax import __version__
from equivar_jax.errors import InputError
from equivar_jax.io.files import complete_file
from equivar_jax.network.core import Core
from equivar_jax.network.forms import make_network
from equivar_jax.network.polarisation import Polarisation
from equivar_jax.network.tensor import apply_sum_rule
from equivar_jax.prediction import exported_reader
from equivar_jax.prediction.trained_model import TrainedModel

Members = Literal["mean", "each"]
"""What is exported of a committee: the mean of its members, or each of them, on a leading axis."""
PLATFORMS = ("cpu", "cuda")
"""What an archive is lowered for, unless something else is asked for; no GPU is needed to do so."""
KNOWN_PLATFORMS = ("cpu", "cuda", "rocm", "tpu")
FORMAT = 1
"""Version of the form of archives."""
VJP_ORDER = 1
"""How many times in succession a function that was read back can be differentiated, backwards."""

_INPUTS = {
    "vectors": "{dtype} [N, K, 3], Å: from each atom to its neighbours; anything finite where there is none",
    "neighbours": "int32 [N, K]: number of the neighbouring atom; N where there is none",
    "species": "int32 [N]: atomic numbers; 0 is padding, after the atoms",
    "charge": "{dtype} [], e: net charge of the cell",
}
_AXIS = "M members, "


def export_predictor(
    predictor: TrainedModel,
    path: str | Path,
    platforms: Sequence[str] = PLATFORMS,
    *,
    members: str = "mean",
    kernel: str = "chunked",
) -> Path:
    """Write the functions of a network or committee to an archive; see `Predictor.export`."""
    if kernel != "chunked":
        raise InputError(
            f"kernel {kernel!r} cannot be exported: the C++ kernel is a custom call, whose name only a "
            "process that has loaded equivar_jax knows; leave kernel='chunked', which is StableHLO alone"
            if kernel in ("native", "auto")
            else f"kernel {kernel!r} cannot be exported; leave kernel='chunked'"
        )
    if members not in get_args(Members):
        raise InputError(f"members={members!r}; give 'mean' or 'each', or export model.member(number)")
    if not platforms:
        raise InputError("platforms=(): name at least one, such as 'cpu' or 'cuda'")
    if unknown := [name for name in platforms if name not in KNOWN_PLATFORMS]:  # JAX would take any word
        raise InputError(f"platform {unknown[0]!r}: choose of {', '.join(KNOWN_PLATFORMS)}")
    _require_flatbuffers()
    path = Path(path)
    with jax.enable_x64(predictor.dtype == np.float64), _without_source_locations():
        functions = {
            name: _serialise(predictor, name, platforms, members) for name in _functions_of(predictor.network)
        }
    metadata = describe(predictor, functions, platforms, members)
    with complete_file(path) as partial, zipfile.ZipFile(partial, "w") as archive:
        archive.writestr("metadata.json", json.dumps(metadata, indent=1) + "\n")
        reader = Path(exported_reader.__file__)
        archive.writestr(reader.name, reader.read_text(encoding="utf-8"))
        for name, (_, serialised) in functions.items():
            archive.writestr(f"{name}.bin", serialised)
    return path


def describe(
    predictor: TrainedModel,
    functions: dict[str, tuple[export.Exported, bytearray]],
    platforms: Sequence[str],
    members: str,
) -> dict[str, Any]:
    """Make the metadata of an archive: what goes in, what comes out, what the network knows."""
    axis = _AXIS if predictor.members > 1 and members == "each" else ""
    dtype = predictor.dtype.name
    outputs = {
        "charges": [f"{dtype} [{axis}N, 3, 3], e: atom, field direction, displacement direction"],
        "dipoles": [f"{dtype} [{axis}N, 3], e Å: dipoles mu", f"{dtype} [{axis}N], e: charges q"],
    }
    return {
        "format": "equivar_jax export",
        "format_version": FORMAT,
        "written_by": f"equivar_jax {__version__}",
        "jax_version": jax.__version__,
        "calling_convention_version": functions["charges"][0].calling_convention_version,
        "platforms": list(platforms),
        "dtype": dtype,
        "form": predictor.config.form,
        "members": predictor.members,
        "output_of_members": members if predictor.members > 1 else "one network",
        "elements": [chemical_symbols[number] for number in predictor.metadata.elements],
        "cutoff_A": predictor.config.cutoff,
        "continuous_at_cutoff": predictor.config.envelope,
        "vjp_order": VJP_ORDER,
        "sum_rule": "applied: the sum over the atoms is the net charge times the identity, to rounding",
        "inputs": {name: words.format(dtype=dtype) for name, words in _INPUTS.items()},
        "functions": {
            name: {"file": f"{name}.bin", "inputs": list(_INPUTS), "outputs": outputs[name]}
            for name in functions
        },
    }


def _functions_of(network: Core) -> tuple[str, ...]:
    return ("charges", "dipoles") if isinstance(network, Polarisation) else ("charges",)


def _serialise(
    predictor: TrainedModel, name: str, platforms: Sequence[str], members: str
) -> tuple[export.Exported, bytearray]:
    """Lower one function for all platforms with symbols for the sizes, and serialise it."""
    network = make_network(dataclasses.replace(predictor.config, kernel="chunked"))
    function = {"charges": _charges, "dipoles": _dipoles}[name]
    weights = jax.tree.map(jnp.asarray, predictor.weights)

    def of_members(vectors, neighbours, species, charge):
        graph, is_atom = graph_of_table(vectors, neighbours, species, charge, predictor.config.cutoff)
        # XLA would work for half a minute on what it can compute of constants.
        own = jax.lax.optimization_barrier(weights)
        if predictor.members == 1:
            return function(network, own, graph, is_atom)
        each = jax.lax.map(lambda one: function(network, one, graph, is_atom), own)
        return each if members == "each" else jax.tree.map(lambda leaf: leaf.mean(axis=0), each)

    atoms, width = export.symbolic_shape("n, k")
    dtype = predictor.dtype
    inputs = (
        jax.ShapeDtypeStruct((atoms, width, 3), dtype),
        jax.ShapeDtypeStruct((atoms, width), np.int32),
        jax.ShapeDtypeStruct((atoms,), np.int32),
        jax.ShapeDtypeStruct((), dtype),
    )
    try:
        found = export.export(jax.jit(of_members), platforms=platforms)(*inputs)
    except (NotImplementedError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"platforms {', '.join(platforms)}: JAX cannot lower the network: {reason}"
        ) from error
    return found, found.serialize(vjp_order=VJP_ORDER)


def graph_of_table(
    vectors: Float[Array, "atoms width 3"],
    neighbours: Int[Array, "atoms width"],
    species: Int[Array, " atoms"],
    charge: Float[Array, ""],
    cutoff: float,
) -> tuple[jraph.GraphsTuple, Array]:
    """Make the graph that networks read from a table of neighbours; sizes may be symbols.

    Args:
        vectors: From each atom to its neighbours in Å.
        neighbours: Numbers of the neighbours; outside 0 to N - 1 where there is none.
        species: Atomic numbers; 0 is padding, after the atoms.
        charge: Net charge of the cell in e.
        cutoff: Neighbours that are farther, in Å, are left out, so that a list may have a skin.

    Returns:
        The graph, with a second one for the padding, and which of the atoms are real.
    """
    atoms, width = neighbours.shape
    number = jnp.arange(atoms, dtype=jnp.int32)
    is_edge = (neighbours >= 0) & (neighbours < atoms) & (jnp.sum(vectors**2, axis=-1) < cutoff**2)
    is_atom = species > 0
    real = jnp.sum(is_atom, dtype=jnp.int32)
    flat = (atoms * width,)
    anything = jnp.asarray([1.0, 0.0, 0.0], vectors.dtype)
    graph = jraph.GraphsTuple(
        nodes={
            "species": species,
            "first_edge": number * width,
            "neighbours": jnp.full((atoms,), width, jnp.int32),
            "slots": jnp.where(
                is_edge, jnp.arange(atoms * width, dtype=jnp.int32).reshape(atoms, width), atoms * width
            ),
        },
        edges={"vectors": jnp.where(is_edge[:, :, None], vectors, anything).reshape(*flat, 3)},
        senders=jnp.where(is_edge, neighbours, 0).reshape(flat),
        receivers=jnp.broadcast_to(number[:, None], (atoms, width)).reshape(flat),
        n_node=jnp.stack([real, atoms - real]),
        n_edge=jnp.asarray([atoms * width, 0], jnp.int32),
        globals={"charge": jnp.stack([charge, jnp.zeros_like(charge)])},
    )
    return graph, is_atom


def _charges(network: Core, weights: dict, graph: jraph.GraphsTuple, is_atom: Array) -> Array:
    """Compute tensors that obey the sum rule; zero for padding."""
    raw = jnp.where(is_atom[:, None, None], network.apply(weights, graph), 0.0)
    assert graph.globals is not None
    return jnp.where(is_atom[:, None, None], apply_sum_rule(raw, graph.n_node, graph.globals["charge"]), 0.0)


def _dipoles(network: Core, weights: dict, graph: jraph.GraphsTuple, is_atom: Array) -> tuple[Array, Array]:
    """Compute dipoles and charges of the atoms of a network in the form of a polarisation."""
    dipoles, charges = (network.apply(weights, graph, method=name) for name in ("dipoles", "charges"))
    return jnp.where(is_atom[:, None], dipoles, 0.0), jnp.where(is_atom, charges, 0.0)


@contextlib.contextmanager
def _without_source_locations() -> Iterator[None]:
    """Keep the paths of this machine's files, which JAX notes for its messages, out of what it lowers."""
    name = "jax_traceback_in_locations_limit"
    before = getattr(jax.config, name)
    jax.config.update(name, 0)
    try:
        yield
    finally:
        jax.config.update(name, before)


def _require_flatbuffers() -> None:
    """Refuse to begin if JAX cannot serialise."""
    try:
        import flatbuffers  # noqa: F401
    except ModuleNotFoundError:
        raise InputError(
            "JAX needs the package flatbuffers to write and to read exported functions; "
            'pip install flatbuffers, or pip install "equivar_jax[export]"'
        ) from None
