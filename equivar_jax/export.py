"""Write a network for programs that have JAX alone: `equivar export --checkpoint RUN -o model.jaxexport`.

The file is a zip archive with what `jax.export` makes of the network, weights included, for any number of
atoms and neighbours; `metadata.json` with elements, cutoff, units and the order of indices; and
`exported_reader.py`, which reads it and builds its inputs with JAX and NumPy. Nothing of equivar_jax is
needed to run it.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from equivar_jax.config.command_line import OptionParser
from equivar_jax.errors import InputError, plain_messages

MEMBERS = ("mean", "each")


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, write the archive, and say what it holds."""
    with plain_messages():
        options = _parser().parse_args(arguments)
        output = Path(options.output)
        if not output.parent.is_dir():
            raise InputError(f"{output}: there is no folder {output.parent}; make it, or choose another -o")
        _export(options, output)


def _parser() -> OptionParser:
    """Make the parser of the options."""
    parser = OptionParser(prog="equivar export", description=__doc__)
    add = parser.add_argument
    add("--checkpoint", help="run directory of a network or committee; default: the weights of the package")
    add("-o", "--output", required=True, metavar="FILE", help="the archive, such as model.jaxexport")
    add(
        "--platforms",
        nargs="+",
        default=["cpu", "cuda"],
        metavar="NAME",
        help="JAX platforms it shall run on, which need not be here (default: cpu cuda)",
    )
    add("--member", type=int, metavar="K", help="one member of a committee, counted from 0")
    add("--members", choices=MEMBERS, default="mean", help="of a committee (default: %(default)s)")
    add("--dtype", choices=("float32", "float64"), default="float32", help="precision (default: %(default)s)")
    add("--kernel", default="chunked", help="chunked is the only one that can be exported")
    return parser


def _export(options: argparse.Namespace, output: Path) -> None:
    """Do what the options say."""
    from equivar_jax.prediction.loading import load  # so that --help does not wait for it

    predictor = load(options.checkpoint, options.dtype, member=options.member)
    path = predictor.export(output, options.platforms, members=options.members, kernel=options.kernel)
    what = "1 network"
    if predictor.members > 1:
        what = f"{'the mean of' if options.members == 'mean' else 'each of'} {predictor.members} networks"
    print(
        f"{path}: {what} in {options.dtype} for {', '.join(options.platforms)}, "
        f"{path.stat().st_size / 1e6:.1f} MB; cutoff {predictor.config.cutoff:g} Å; "
        "exported_reader.py inside reads it"
    )


if __name__ == "__main__":
    main()
