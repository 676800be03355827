"""Serve Born effective charges to i-PI, which moves atoms in an electric field: `equivar ipi`.

i-PI 3 asks for each configuration through a socket, and gets tensors and, where the network has the form of a
polarisation, the dipole as extras; with --potential energy, forces and virial, too, otherwise zero for all
three, to be added to those of another driver.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from equivar_jax.config.command_line import OptionParser
from equivar_jax.errors import InputError, plain_messages

if TYPE_CHECKING:
    from equivar_jax.calculators.ipi import Driver

PORT = 31415
"""As in i-PI's examples."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, then answer i-PI until it ends."""
    with plain_messages():
        _serve(_parser().parse_args(arguments))


def _serve(options: argparse.Namespace) -> None:
    """Do what the options say."""
    if options.unix and options.port is not None:
        raise InputError("--unix and --port: a Unix socket has no port; give one of them")
    if not options.wait >= 0:
        raise InputError(f"--wait {options.wait:g}: give seconds, zero or more")
    # Imported here, so that --help does not wait for it.
    from equivar_jax.calculators.ipi import serve
    from equivar_jax.calculators.ipi_socket import PREFIX, connect

    driver = _make_driver(options)
    port = None if options.unix else options.port or PORT
    link = connect(options.address, port, options.wait, options.prefix or PREFIX)
    print(f"connected to i-PI at {link.name}", flush=True)
    served = serve(driver, link)
    if not served.is_finished:
        print(f"i-PI at {link.name} is gone after {served.configurations:,} configurations", file=sys.stderr)
        raise SystemExit(1)
    print(f"i-PI has finished: {served.configurations:,} configurations")


def _make_driver(options: argparse.Namespace) -> "Driver":
    """Load everything, compute the structure once, and print what will be served."""
    from equivar_jax.calculators.born import EquivarCalculator
    from equivar_jax.calculators.ipi import Driver, needed_threshold
    from equivar_jax.calculators.potentials import check_potential, load_potential
    from equivar_jax.io import read_structures
    from equivar_jax.prediction.loading import load
    from equivar_jax.structures import BEC, source

    structures = read_structures(options.structure)
    if len(structures) != 1:
        raise InputError(f"{options.structure}: {len(structures)} structures; give a file with exactly one")
    (atoms,) = structures
    charges = EquivarCalculator(
        load(options.checkpoint, member=options.member), options.skin, options.allow_unseen
    )
    charges.get_property(BEC, atoms)  # refuses, warns and compiles now, and not when i-PI waits
    potential = None if options.potential is None else load_potential(options.potential)
    if potential is not None:
        check_potential(potential, atoms, options.potential)
    driver = Driver(atoms, charges, potential)
    parts = ["Z", *(["dipole"] if charges.why_no_polarisation is None else [])]
    parts += [f"forces of {options.potential}" if potential else "zero energy and forces"]
    print(f"{source(atoms)}: {len(atoms):,} atoms in the order {atoms.symbols}: {', '.join(parts)}")
    if (least := needed_threshold(atoms)) is not None:
        print(
            f"net charge {atoms.info['charge']:g} e: i-PI refuses the tensors unless its <driven_dynamics> "
            f"has <asr_threshold> {least:.3g} </asr_threshold> or more"
        )
    if potential is not None and not driver.has_stress:
        print("no virial: pressures that i-PI prints are not numbers, and barostats do not run")
    return driver


def _parser() -> OptionParser:
    """Make the parser of the options."""
    parser = OptionParser(prog="equivar ipi", description=__doc__)
    add = parser.add_argument
    add(
        "structure", help="the atoms of i-PI's input, in its order; i-PI sends no species. Anything ASE reads"
    )
    add("--checkpoint", help="run directory of the trained model; default: the weights of the package")
    add(
        "--address",
        default="localhost",
        help="i-PI's <address>: a machine or, with --unix, a name (default: localhost)",
    )
    add("--port", type=int, help=f"i-PI's <port> (default: {PORT})")
    add("--unix", action="store_true", help="a Unix socket, <ffsocket mode='unix'>")
    add("--prefix", help="what stands before the name of a Unix socket, i-PI's -S (default: /tmp/ipi_)")
    add("--potential", help="an interatomic potential: sevenn, ..., or module:factory for ASE's calculator")
    add("--member", type=int, help="one network of a committee, by its number from 0: faster")
    add("--skin", type=float, default=1.0, help="of the neighbour list in Å (default: 1.0)")
    add("--wait", type=float, default=60.0, help="seconds for which i-PI may not be there yet (default: 60)")
    add("--allow-unseen", action="store_true", help="only warn about elements never trained on")
    return parser


if __name__ == "__main__":
    main()
