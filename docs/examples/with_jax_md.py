"""An exported network in jax-md: a crystal in an electric field, in one compiled program.

    equivar export -o model.jaxexport
    pip install jax jax-md flatbuffers
    python with_jax_md.py model.jaxexport --cells 3 --steps 100

jax-md's neighbour list and its velocity Verlet drive the force `F[i, b] = sum_a E[a] Z[i, a, b]` of the
field, which is added to that of a potential. Here this is a spring from every atom of MgO to its site, whose
motion in a weak field is known: `u(t) = (E Z / k) (1 - cos(t sqrt(k / m)))`. The program prints how far it is
from that. Put a potential of your own in the place of `energy`. equivar_jax need not be installed.
"""

import argparse
import sys

import jax
import jax.numpy as jnp
import numpy as np
from jax_md import partition, simulate, space

FS = 0.09822694788
"""A femtosecond in Å sqrt(u / eV): with Å, eV and u as units, time has this one."""
SIDE, MASSES = 4.21, {"Mg": 24.305, "O": 15.999}
"""Lattice constant of MgO in Å, masses in u."""
SPRING = 6.0
"""k in eV/Å²."""
SKIN = 0.5
"""Margin of the neighbour list in Å; the network leaves out what is beyond its cutoff."""


def rock_salt(cells: int) -> tuple[np.ndarray, list[str]]:
    """Return positions in Å and symbols of MgO in a cube of cells x cells x cells conventional cells."""
    corners = np.array([[0, 0, 0], [0, 1, 1], [1, 0, 1], [1, 1, 0]]) / 2
    basis = np.concatenate([corners, corners + np.array([0.5, 0, 0])])
    places = np.stack(np.meshgrid(*[np.arange(cells)] * 3, indexing="ij"), axis=-1).reshape(-1, 1, 3)
    positions = SIDE * (places + basis + 0.1).reshape(-1, 3)  # no atom on a face of the box
    return positions, (["Mg"] * 4 + ["O"] * 4) * cells**3


def run(archive: str, cells: int, steps: int, field: np.ndarray, timestep: float = 1.0) -> dict[str, float]:
    """Run dynamics in a field (V/Å), and compare it with the motion of independent oscillators.

    Returns:
        Largest displacement and largest deviation from the known motion in Å; dipole V P - V P(0) along the
        field in e Å.
    """
    sys.path.insert(0, archive)
    from exported_reader import atomic_numbers, read_exported

    model = read_exported(archive)
    positions, symbols = rock_salt(cells)
    side = cells * SIDE
    if side < 2 * (model.cutoff + SKIN):
        # jax-md takes the nearest image of an atom only, and does not complain.
        raise SystemExit(
            f"a box of {side:.2f} Å is shorter than two cutoffs of {model.cutoff} Å; raise --cells"
        )
    sites, species = jnp.asarray(positions), atomic_numbers(symbols)
    mass = jnp.asarray([MASSES[symbol] for symbol in symbols])
    field = jnp.asarray(field, sites.dtype)
    displacement, shift = space.periodic(side)  # displacement(a, b) = a - b, by the nearest image
    to_neighbours, of_atoms = space.map_neighbor(displacement), jax.vmap(displacement)
    lists = partition.neighbor_list(displacement, side, model.cutoff, SKIN, format=partition.Dense)

    def charges(R, neighbours):
        """Z in e, [atom, field, displacement]; jax-md's table has N where there is no neighbour, as ours."""
        return model.charges(-to_neighbours(R, R[neighbours.idx]), neighbours.idx, species)

    def energy(R):
        """Energy of the springs in eV."""
        return SPRING / 2 * jnp.sum(of_atoms(R, sites) ** 2)

    def force(R, neighbor, **_):
        """Force in eV/Å; the dipole of a system of no net charge has no origin."""
        return -jax.grad(energy)(R) + jnp.einsum("a,iab->ib", field, charges(R, neighbor))

    start, advance = simulate.nve(force, shift, timestep * FS)

    @jax.jit
    def trajectory(state, neighbours):
        def one(carry, _):
            state, neighbours = carry
            before, neighbours = state.position, neighbours.update(state.position)
            state = advance(state, neighbor=neighbours)
            step = of_atoms(state.position, before)
            change = jnp.einsum("iab,ib->a", charges(state.position, neighbours), step)
            return (state, neighbours), change

        return jax.lax.scan(one, (state, neighbours), length=steps)

    neighbours = lists.allocate(sites)
    at_rest = charges(sites, neighbours)
    state = start(jax.random.key(0), sites, kT=0.0, mass=mass, neighbor=neighbours)
    (state, neighbours), changes = trajectory(state, neighbours)
    if neighbours.did_buffer_overflow:
        raise SystemExit(
            "an atom got more neighbours than the list has room for; allocate it anew and repeat"
        )
    moved = of_atoms(state.position, sites)
    phase = steps * timestep * FS * jnp.sqrt(SPRING / mass)[:, None]
    known = jnp.einsum("a,iab->ib", field, at_rest) / SPRING * (1 - jnp.cos(phase))
    return {
        "largest_displacement_A": float(jnp.abs(moved).max()),
        "largest_deviation_A": float(jnp.abs(moved - known).max()),
        "dipole_e_A": float(changes.sum(axis=0) @ field / jnp.linalg.norm(field)),
        "dipole_of_known_motion_e_A": float(
            jnp.einsum("a,iab,ib->", field, at_rest, known) / jnp.linalg.norm(field)
        ),
    }


def main() -> None:
    """Read the command line, run, and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("archive", help="what `equivar export` wrote; it must know Mg and O")
    parser.add_argument("--cells", type=int, default=3, help="cells along each axis (%(default)s)")
    parser.add_argument("--steps", type=int, default=100, help="of 1 fs (%(default)s)")
    parser.add_argument("--field", type=float, nargs=3, default=[0.0, 0.0, 0.01], help="in V/Å")
    options = parser.parse_args()
    for name, value in run(options.archive, options.cells, options.steps, np.array(options.field)).items():
        print(f"{name}: {value:.6g}")


if __name__ == "__main__":
    main()
