"""The command lines of the tasks of `equivar response`.

They are apart from the tasks, so that `--help` need not wait for what a task imports.
"""

from pathlib import Path
from typing import Literal, get_args

from equivar_jax.config.command_line import OptionParser
from equivar_jax.config.schema import FirstIndex

Window = Literal["gaussian", "hann"]
"""What the correlation function of a trajectory is multiplied by before its Fourier transform."""
Correction = Literal["harmonic", "none"]
"""What corrects the absorption of classical dynamics for quantum mechanics."""
WaveForm = Literal["triangle", "sine", "steps"]
"""How the field of a loop changes: linearly, as a sine, or in steps to the values of the triangle."""
CellMotion = Literal["fixed", "relax", "move"]
"""What the cell does in a loop: that of the file, or relaxed before the field acts, or free in it, too."""
Ranking = Literal["anomaly", "uncertainty", "epsilon"]
"""By what a screening sorts crystals."""
FORCE_FILES = ("FORCE_CONSTANTS", "force_constants.hdf5", "FORCE_SETS")
"""Files of force constants or forces, in the order in which phonopy looks for them."""

LARGEST_FORCE, RELAXATION_STEPS = 1e-3, 500
"""When a relaxation by a potential stops, in eV/Å, and after how many steps it gives up."""
SHORTEST, DISPLACEMENT = 7.5, 0.01
"""Shortest lattice vector of a supercell for force constants, and length of a displacement in it, in Å."""
EXAMPLE_POINTS, POINTS = 150, 25
"""Points in a quarter of a loop unless given, of model BaTiO3 and of a crystal with a potential."""

_ALLOW_UNSEEN = "only warn about elements never trained on"
_HYSTERESIS = """\
P-E loop of a crystal in an alternating field: of model BaTiO3 (--example, or --checkpoint alone), or of any
crystal with an interatomic potential. With --potential there are error bars from several runs, a table beside
the picture, and an interrupted run goes on with the same command."""
_LO_TO = "LO-TO splitting from predicted tensors: phonopy's BORN and YAML files, and the bands."
_DIELECTRIC = """\
Dielectric tensor of a crystal whose ions are free to move, from Born charges and phonons at Gamma.
The command prints the contribution of each mode, the static tensor, and the longitudinal modes; it writes all
of these as JSON, and draws the dielectric function and the reflectivity."""
_CRYSTAL = """\
From a crystal structure to spectra: relaxation and phonons by a potential, Born charges and the electronic
dielectric tensor by the network; then bands with LO-TO splitting, modes, static dielectric tensor, infrared
spectrum, thermal properties, with a report. After an interruption the same command goes on where it was."""
_SCREEN = """\
Screening of many crystals: charges, anomaly, eps_inf, uncertainty, domain and metallicity, one row each.
It needs no forces. An interrupted screening goes on with the same command."""
_INFRARED = """\
Infrared spectrum of a crystal or molecule: from molecular dynamics, from phonons at Gamma, or both.
A trajectory includes the anharmonicity of the dynamics. With --potential the trajectories are made here, at
each --temperature, and the spectra have error bars. Phonons give lines, which are drawn with the resolution
of the spectrum of the trajectory. For a crystal the spectrum is the absorption coefficient times the
refractive index; for a structure that is not periodic in all directions it is the molar absorption."""


def polarisation_options() -> OptionParser:
    """Make the parser of `equivar response polarisation`."""
    parser = OptionParser(
        prog="equivar response polarisation",
        description="Change of polarisation along a trajectory: that of a network that gives one, else "
        "the integral of Born effective charges.",
    )
    add = parser.add_argument
    add("path", nargs="?", help="trajectory: extxyz, .traj, anything ASE reads")
    add("--checkpoint", help="run directory of a trained model")
    add("--example", action="store_true", help="reversal of the polarisation of model BaTiO3")
    add(
        "--closure",
        action="store_true",
        help="integrate Born charges around the closed path, too: zero for derivatives of a polarisation",
    )
    add(
        "-o",
        "--output",
        default="polarisation.csv",
        help="table; a picture and a .json file go beside it",
    )
    add("--allow-unseen", action="store_true", help="only warn about unknown elements")
    return parser


def hysteresis_options() -> OptionParser:
    """Make the parser of `equivar response hysteresis`."""
    parser = OptionParser(
        prog="equivar response hysteresis",
        description=_HYSTERESIS,
    )
    add = parser.add_argument
    add("structure", nargs="?", help="one crystal, any structure file; with --potential")
    add("--example", action="store_true", help="model BaTiO3 with fixed Born charges")
    add("--checkpoint", help="run directory of a trained model, whose charges act instead")
    add("-o", "--output", default="hysteresis.png", help="picture; the numbers go to a .json file beside it")
    add(
        "--amplitude",
        type=float,
        help="largest field in kV/cm; the example's default is 1.5 times its coercive field",
    )
    points = f"points in each quarter of the cycle (example {EXAMPLE_POINTS}, else {POINTS})"
    add("--points", type=int, help=points)
    add("--repeat", type=int, default=1, help="cells along each axis (%(default)s)")
    add("--temperature", type=float, default=0.0, help="in K; at 0 atoms relax in each field (%(default)s)")
    add("--period", type=float, default=20.0, help="of the field in ps, at a --temperature (%(default)s)")
    add("--seed", type=int, default=0, help="of velocities and thermostat (%(default)s)")
    add("--allow-unseen", action="store_true", help=_ALLOW_UNSEEN)
    _add_potential_option(parser)
    _add_driving_options(parser)
    return parser


def infrared_options() -> OptionParser:
    """Make the parser of `equivar response infrared`."""
    parser = OptionParser(prog="equivar response infrared", description=_INFRARED)
    add = parser.add_argument
    add(
        "trajectory",
        nargs="?",
        help="frames with velocities, or with positions only; with --potential one structure",
    )
    add("--timestep", type=float, help="time between frames in fs; with --potential that of the dynamics")
    add(
        "--temperature",
        type=float,
        nargs="+",
        metavar="T",
        help="in K; of a file by default that of the velocities; with --potential 300, or several",
    )
    _add_potential_option(parser)
    _add_dynamics_options(parser)
    add("--phonons", type=Path, metavar="YAML", help="phonopy_params.yaml, or as phonopy writes it")
    add("--molecule", action="store_true", help="one molecule in a box: no rotations, absorption per mole")
    _add_phonon_options(parser)
    add(
        "--every",
        type=int,
        default=1,
        help="compute charges for every EVERY-th frame only, interpolate between",
    )
    add("--resolution", type=float, default=10.0, help="width of a sharp line in cm^-1; default: %(default)s")
    add("--window", choices=get_args(Window), default="gaussian", help="default: %(default)s")
    add("--correction", choices=get_args(Correction), default="harmonic", help="for quantum mechanics")
    add("-o", "--output", type=Path, default=Path("infrared.png"), help="default: %(default)s")
    return parser


def born_options() -> OptionParser:
    """Make the parser of `equivar response born`."""
    parser = OptionParser(prog="equivar response born", description=_LO_TO)
    add = parser.add_argument
    add("structure", nargs="?", help="one crystal: any structure file, or a phonopy YAML file")
    add("--checkpoint", help="run directory of the trained model; default: the weights of the package")
    _add_epsilon_option(parser)
    add(
        "-o",
        "--output",
        nargs="+",
        metavar="FILE",
        help="files to write; the name tells what: BORN (default), a phonopy .yaml with everything, "
        "ALAMODE's BORNINFO, TDEP's infile.lotosplitting, ShengBTE's CONTROL, i-PI's BEC, or a picture of "
        "the bands such as bands.png (default of --example), which needs a phonopy YAML file with forces as "
        "the structure",
    )
    add("--allow-unseen", action="store_true", help=_ALLOW_UNSEEN)
    add("--example", action="store_true", help="a model of NaCl: no structure, no checkpoint")
    return parser


def dielectric_options() -> OptionParser:
    """Make the parser of `equivar response dielectric`."""
    parser = OptionParser(prog="equivar response dielectric", description=_DIELECTRIC)
    add = parser.add_argument
    add("phonons", nargs="?", type=Path, help="phonopy_params.yaml, or as phonopy writes it")
    _add_phonon_options(parser)
    _add_epsilon_option(parser)
    add(
        "--linewidth",
        type=float,
        default=10.0,
        help="width of all lines in the picture in cm^-1; default: 10",
    )
    add("-o", "--output", type=Path, default=Path("dielectric.png"), help="picture; default: %(default)s")
    return parser


def crystal_options() -> OptionParser:
    """Make the parser of `equivar response crystal`."""
    parser = OptionParser(prog="equivar response crystal", description=_CRYSTAL)
    add = parser.add_argument
    add("structure", nargs="?", help="one crystal in any structure file; or a phonopy YAML file with forces")
    _add_potential_option(parser)
    add("--no-relax", dest="relax", action="store_false", help="take the structure as it is")
    add("--fixed-cell", action="store_true", help="relax the atoms only")
    add(
        "--largest-force",
        type=float,
        default=LARGEST_FORCE,
        help="when relaxed, in eV/Å (default %(default)s)",
    )
    add(
        "--steps", type=int, default=RELAXATION_STEPS, help="of the relaxation, at most (default %(default)s)"
    )
    add(
        "--shortest",
        type=float,
        default=SHORTEST,
        help="shortest lattice vector of the supercell in Å (default %(default)s)",
    )
    add("--displacement", type=float, default=DISPLACEMENT, help="of an atom, in Å (default %(default)s)")
    add(
        "--follow",
        action="store_true",
        help="displace an unstable crystal along its softest mode, relax again, until it is stable",
    )
    add("--force-constants", type=Path, help=f"of a phonopy file: {', '.join(FORCE_FILES)}")
    add("--checkpoint", help="run directory of the trained model; default: the weights of the package")
    add("--born", type=Path, help="phonopy's BORN with charges and eps_inf, in the place of the network's")
    _add_first_index_option(parser)
    _add_epsilon_option(parser)
    add("--allow-unseen", action="store_true", help=_ALLOW_UNSEEN)
    add("--insulator", action="store_true", help="it has a gap, although its composition is that of a metal")
    add("--linewidth", type=float, default=10.0, help="of spectra, in cm^-1 (default %(default)s)")
    add("-o", "--output", default="crystal", help="folder (default: %(default)s)")
    add("--example", action="store_true", help="MgO of springs: no structure, no potential, no network")
    return parser


def dynamics_options() -> OptionParser:
    """Make the parser of `equivar response dynamics`."""
    parser = OptionParser(
        prog="equivar response dynamics",
        description="Molecular dynamics of a crystal of springs in a pulse of the electric field.",
        epilog="Your own crystal and potential: equivar_jax.response.dynamics.simulate, in Python.",
    )
    add = parser.add_argument
    add("--example", action="store_true", help="SrTiO3 of springs; needed, see below")
    add(
        "--checkpoint",
        help="run directory of a trained model (of a committee the first member); else fixed charges",
    )
    add("--cells", type=int, default=10, help="along each edge (default 10: 5,000 atoms)")
    add("--temperature", type=float, default=300.0, help="in K (default 300)")
    add("--field", type=float, default=0.01, help="peak in V/Å (default 0.01, 1 MV/cm)")
    add("--steps", type=int, default=1000, help="(default 1000)")
    add("--timestep", type=float, default=1.0, help="in fs (default 1)")
    add("--charges-every", type=int, default=5, help="steps between charges, and between records (default 5)")
    add("-o", "--output", default="dynamics.png", help="picture: .png, .pdf, .svg")
    return parser


def screen_options() -> OptionParser:
    """Make the parser of `equivar response screen`."""
    parser = OptionParser(prog="equivar response screen", description=_SCREEN)
    add = parser.add_argument
    add("inputs", nargs="*", help="structure files (anything ASE reads), folders, patterns")
    add("--checkpoint", help="run directory of the trained model; default: the weights of the package")
    add(
        "--rank",
        choices=get_args(Ranking),
        help="by the largest charge over its nominal one (default), its uncertainty, or eps_inf",
    )
    add("-o", "--output", default="screen", metavar="FOLDER", help="default: %(default)s")
    add("--allow-unseen", action="store_true", help=_ALLOW_UNSEEN)
    add("--restart", action="store_true", help="begin anew instead of resuming an interrupted run")
    add("--example", action="store_true", help="on some prototypes, without a file")
    return parser


def _add_potential_option(parser: OptionParser) -> None:
    """Add the option `--potential`, whose value `calculators.load_potential` takes."""
    parser.add_argument(
        "--potential",
        metavar="NAME",
        help="interatomic potential that gives the forces: chgnet, sevenn, mace, nequix, orb, mattersim, "
        "upet (install its package first), or your own ASE calculator as module:factory",
    )


def _add_driving_options(parser: OptionParser) -> None:
    """Add the options of loops that `polarisation.from_potential` makes with a potential."""
    group = parser.add_argument_group("with --potential")
    add = group.add_argument
    add(
        "--direction",
        type=float,
        nargs=3,
        default=[0.0, 0.0, 1.0],
        metavar=("X", "Y", "Z"),
        help="of the field, Cartesian (default: 0 0 1)",
    )
    add("--wave-form", choices=get_args(WaveForm), default="triangle", help="default: %(default)s")
    add("--cycles", type=int, default=1, help="full cycles; the last one is measured (%(default)s)")
    add("--runs", type=int, default=2, help="with other random numbers, for error bars (%(default)s)")
    add(
        "--cell",
        choices=get_args(CellMotion),
        default="fixed",
        help="fixed: as in the file; relax: relaxed with the atoms before the field acts; move: free in the "
        "field, too, under the stress of the potential alone (default: fixed)",
    )
    add("--timestep", type=float, help="in fs (default 1, with hydrogen 0.5)")
    add("--friction", type=float, default=5.0, help="of the thermostat in 1/ps (%(default)s)")
    add("--largest-force", type=float, default=2e-3, help="at 0 K, when relaxed, in eV/Å (%(default)s)")
    add("--rattle", type=float, default=0.01, help="at 0 K, of the atoms at the start, in Å (%(default)s)")


def _add_dynamics_options(parser: OptionParser) -> None:
    """Add the options of the trajectories that `optics.trajectory` makes with a potential."""
    group = parser.add_argument_group("with --potential")
    add = group.add_argument
    add(
        "--supercell",
        type=int,
        nargs="+",
        metavar="N",
        help="cells along each axis, one number or three (default: the least with vectors of 10 Å)",
    )
    add("--trajectories", type=int, default=4, help="independent ones at each temperature (%(default)s)")
    add("--equilibration", type=float, default=1.0, help="of each with a thermostat, in ps (%(default)s)")
    add("--seed", type=int, default=0, help="of velocities and thermostat (%(default)s)")


def _add_phonon_options(parser: OptionParser) -> None:
    """Add the options that `phonons.gamma_input.phonons_of` reads, apart from the phonopy file itself."""
    add = parser.add_argument
    add("--force-constants", type=Path, help=f"phonopy's {', '.join(FORCE_FILES)}, if not in the YAML file")
    add(
        "--checkpoint",
        help="run directory of the model that gives Born effective charges; default: those of the file, else "
        "the weights of the package",
    )
    _add_first_index_option(parser)
    add("--example", action="store_true", help="a model crystal, CaMgO2 of springs")


def _add_first_index_option(parser: OptionParser) -> None:
    """Add the option `--first-index` of charges in files of phonopy."""
    parser.add_argument(
        "--first-index",
        choices=get_args(FirstIndex),
        help="what the first index of the charges in the YAML file or the BORN beside it is; default: "
        "field, as phonopy has it; a BORN written by abipy 1.0.0 has the displacement first",
    )


def _add_epsilon_option(parser: OptionParser) -> None:
    """Add the option `--epsilon-inf`, whose numbers `phonons.choose_epsilon_inf` takes."""
    parser.add_argument(
        "--epsilon-inf",
        type=float,
        nargs="+",
        metavar="NUMBER",
        help="electronic dielectric tensor: 1, 3 (diagonal), 6 (xx yy zz yz xz xy) or 9 numbers; by default "
        "info['epsilon_inf'] of the structure or that of the phonopy file, else that of the network, if it "
        "was trained to give one",
    )
