"""Compiles the C++ kernels into the package, for a wheel: `python -m equivar_jax.kernels.prebuild`.

Run it in a source tree, with the compiler and the jaxlib that the wheel is for, then `python -m build
--wheel`: the wheel gets a platform tag, and a library for each instruction set of `compiler.LEVELS`. Whoever
installs it needs no compiler; where no library fits, the kernels are compiled at first use, as from a source
distribution. Without this step a wheel is for every platform and has none.
"""

import platform
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from equivar_jax.kernels import compiler
from equivar_jax.kernels.compiler import LEVELS, Name, compile_library, find_compiler, source_key

STATIC = ("-static-libstdc++", "-static-libgcc")
"""So that the libraries need no newer C++ runtime than a machine has."""
MACHINES = ("x86_64", "amd64")


def prebuild(
    names: tuple[Name, ...] = get_args(Name), levels: tuple[str, ...] = tuple(LEVELS)
) -> Iterator[Path]:
    """Compile the libraries for this kind of machine, and yield their files.

    Args:
        names: The libraries.
        levels: The instruction sets.

    Raises:
        NotCompiledError: There is no compiler.
        subprocess.SubprocessError: It fails.
        OSError: The machine is of another kind than the instruction sets.
    """
    if platform.machine().lower() not in MACHINES:
        raise OSError(f"the instruction sets {', '.join(levels)} are not those of {platform.machine()}")
    for name in names:
        for level in levels:
            path = compiler.prebuilt_path(name, source_key(name), level)
            compile_library(find_compiler(), name, path, (f"-march={level}", *STATIC))
            yield path


def main() -> None:
    """Compile all, and say where they are."""
    for path in prebuild():
        print(path)


if __name__ == "__main__":
    main()
