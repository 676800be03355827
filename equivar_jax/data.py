"""Check data before training: `equivar data check FILE ...`."""

import dataclasses
import sys
from collections.abc import Sequence
from typing import get_args, get_type_hints

from equivar_jax.config.command_line import OptionParser
from equivar_jax.config.schema import Config, DataConfig, FirstIndex, HygieneConfig, check_config
from equivar_jax.errors import InputError, plain_messages

_CHECK = """\
Check files before learning from them: `equivar data check FILE`. The command prints for each file and rule
how many structures the rule objects to, and the worst of them. It writes every finding to `set_aside.csv` and
draws the measured values in `hygiene.png`."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command `check`, which says what training would set aside, and why."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    with plain_messages():
        if given[:1] in (["-h"], ["--help"]):
            given = ["check", "--help"]
        if given[:1] != ["check"]:
            raise InputError("the only command is check: equivar data check FILE ... (--help explains)")
        options = _parser().parse_args(given[1:])
        config = HygieneConfig(**{name: getattr(options, name) for name in _tolerances()})
        check_config(Config(data=DataConfig(hygiene=config)))

        from equivar_jax.hygiene.command import run  # only now, so that --help does not wait for it

        run(options, config)


def _parser() -> OptionParser:
    """Make the parser of the arguments: the files, how to read them, where to write, and every tolerance."""
    parser = OptionParser(prog="equivar data check", description=_CHECK)
    parser.add_argument("files", nargs="+", metavar="FILE", help="file, folder or glob with labels")
    parser.add_argument("--key", help="column of the tensors, if it has an unusual name")
    parser.add_argument(
        "--first-index",
        choices=get_args(FirstIndex),
        help="what the first index of a stored tensor is, where the format leaves it open",
    )
    parser.add_argument(
        "--output", default=".", help="folder for set_aside.csv and hygiene.png; default: this one"
    )
    defaults = HygieneConfig()
    for name, kind in _tolerances().items():
        default = getattr(defaults, name)
        option = f"--{name.replace('_', '-')}"
        where = f"see --data.hygiene.{name} of equivar_jax.train"
        if kind is bool:
            parser.add_argument(option, action="store_true", help=where)
        else:
            parser.add_argument(option, type=kind, default=default, help=f"{where}; default: {default}")
    return parser


def _tolerances() -> dict[str, type]:
    """Return name -> type of every setting of hygiene except `enabled`.

    `enabled` has no option, because this command always checks.
    """
    hints = get_type_hints(HygieneConfig)
    names = [setting.name for setting in dataclasses.fields(HygieneConfig)]
    return {name: hints[name] for name in names if name != "enabled"}


if __name__ == "__main__":
    main()
