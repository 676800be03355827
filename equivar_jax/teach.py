"""Teach a fast network about one material: `equivar teach --data mine.extxyz`.

A committee whose tensors are derivatives of a polarisation learns most from few frames. It labels many
more, which are made from them, and a network that gives tensors directly, several times faster, learns from
all. Both are kept: the folder is the fast network's, and `FOLDER/committee` knows the uncertainty.
Interrupted, the same command continues.
"""

import argparse
import re
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from equivar_jax.config.command_line import OptionParser, expand_data_option, named_settings, override
from equivar_jax.config.teaching import Teaching, check_teaching, teaching_from
from equivar_jax.errors import plain_messages


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, teach, and report on both networks."""
    parser = OptionParser(prog="equivar teach", add_help=False, allow_abbrev=False)
    parser.add_argument("--config")
    parser.add_argument("--run-dir")
    parser.add_argument("--data")
    description = (
        "--data FILE (short for --data.path FILE), --config FILE_OR_NAME, --run-dir FOLDER, and any setting "
        "below; those of the network are for the committee and the fast network alike. Frames of one "
        "material, labelled, go in; see --teach.* for how long it trains and which frames it makes."
    )
    with plain_messages():
        options, settings = parser.parse_known_args(arguments)
        settings = expand_data_option(options.data, settings)
        others = ("config", "run-dir", "data")
        teaching = override(teaching_from(options.config), settings, parser.prog, description, others)
        check_teaching(teaching, named_settings(settings))
        _teach(options, teaching)


def _teach(options: argparse.Namespace, teaching: Teaching) -> None:
    """Begin or continue."""
    # Imported here, so that neither --help nor a complaint about the command line waits for it.
    from equivar_jax.runtime import use_compilation_cache
    from equivar_jax.teaching import teach

    use_compilation_cache()
    folder = Path(options.run_dir) if options.run_dir else _usual_folder(str(teaching.data.path))
    try:
        interrupted = teach(teaching, folder)
    except KeyboardInterrupt:  # between two trainings; during one, training saves the run and returns
        interrupted = signal.SIGINT
    if interrupted is not None:
        print(f"{interrupted.name}: the same command continues the teaching in {folder}", file=sys.stderr)
        raise SystemExit(128 + interrupted)


def _usual_folder(path: str) -> Path:
    """Return the folder of a teaching from these data, the same whenever it is asked for."""
    name = re.sub(r"[^\w-]+", "-", Path(path).name.partition(".")[0]).strip("-")
    return Path("runs") / f"teach-{name or 'frames'}"


if __name__ == "__main__":
    main()
