"""Shards: the part of a sweep that one of n processes does, such as a task of an array job.

Shard k of n has the frames whose `owner` it is. The rule needs no knowledge of what other files hold, so no
shard counts or reads what belongs to the others. Frames are dealt in rounds of n, each shard getting one of a
round; the order in a round is shuffled by a checksum, so that a period in the input (a small cell and a large
one in turn) does not give all large ones to one shard.
"""

import functools
import os
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from equivar_jax.errors import InputError
from equivar_jax.io.files import format_suffix, output_suffix
from equivar_jax.io.formats import passes_over_frames

SINGLE = (".born", ".bec", ".borninfo", ".lotosplitting", ".control")
"""Formats of output that hold one structure, and so no shard of many."""
_WORD = re.compile(r"([0-9]{1,6})/([0-9]{1,6})")
_FILE = re.compile(r"\.shard-([0-9]{3,6})-of-([0-9]{3,6})")
_TASKS = (
    ("OMPI_COMM_WORLD_RANK", ("OMPI_COMM_WORLD_SIZE",)),
    ("PMI_RANK", ("PMI_SIZE",)),
    ("SLURM_PROCID", ("SLURM_STEP_NUM_TASKS", "SLURM_NTASKS")),
)
"""Variables of the number of a task and of how many there are; the first that is there counts. Open MPI and
MPICH come before SLURM, because all tasks that `mpirun` starts in a batch script inherit the script's
SLURM_PROCID."""


class Shard(NamedTuple):
    """One of the parts of a sweep."""

    number: int
    """From 1 to `total`."""
    total: int

    def __str__(self) -> str:
        return f"{self.number}/{self.total}"

    def owns(self, file: int, frame: int) -> bool:
        """Return whether a frame is of this shard.

        Args:
            file: Index of the file in the list of input files.
            frame: Number of the frame in the file, counted from 0.
        """
        return owner(file, frame, self.total) == self.number

    def frames_of(self, file: int, path: Path) -> Callable[[int], bool] | None:
        """Return which frames of a file are of this shard, or None if it need not open the file.

        Files whose reader cannot pass over frames belong to one shard as a whole.
        """
        if passes_over_frames(path):
            return functools.partial(self.owns, file)
        return (lambda _: True) if self.owns(file, 0) else None

    def output_of(self, output: Path) -> Path:
        """Return the name of the output of this shard: `out.shard-003-of-016.csv` for `out.csv`.

        Raises:
            InputError: the format of the output holds one structure only.
        """
        if output_suffix(output) in SINGLE:
            raise InputError(f"{output}: holds one structure, which has no shards; leave out --shard")
        stem, ending = _split_name(output)
        return output.with_name(f"{stem}.shard-{self.number:03d}-of-{self.total:03d}{ending}")


def owner(file: int, frame: int, count: int) -> int:
    """Return the number of the shard, from 1 to `count`, that a frame belongs to.

    For one file, frames r n to r n + n - 1 belong to n different shards, for every r; so do the frames of one
    number in n files whose indices begin with a multiple of n.
    """
    shuffled = zlib.crc32(f"{file // count},{frame // count}".encode())
    return (file + frame + shuffled) % count + 1


def parse_shard(word: str, environment: Mapping[str, str] | None = None) -> Shard:
    """Make a shard of what the user says: "3/16", or "auto" to take it from the launcher of this process.

    With "auto" the task of a SLURM array job (SLURM_ARRAY_TASK_ID, _COUNT, _MIN and _STEP) is a shard; so is
    the task of `mpirun` or `srun` (see `_TASKS`). If both are there, the tasks of an element of the array
    divide what belongs to it.

    Args:
        word: What was given.
        environment: Variables of the environment, those of this process by default.

    Raises:
        InputError: it is none of these, or the variables that "auto" needs are missing or contradict each
            other.
    """
    if word == "auto":
        return _from_launcher(os.environ if environment is None else environment)
    match = _WORD.fullmatch(word)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise InputError(f"--shard {word}: expected k/n with k from 1 to n, such as 3/16, or auto")
    return Shard(int(match[1]), int(match[2]))


def _from_launcher(environment: Mapping[str, str]) -> Shard:
    """Find the shard of this process in the variables of its launcher."""
    array, task = _array_element(environment), _task(environment)
    if array is None and task is None:
        names = ["SLURM_ARRAY_TASK_ID", *(name for name, _ in _TASKS)]
        raise InputError(
            f"--shard auto: none of {', '.join(names)} is in the environment; start it as a task of an array "
            "job, by srun or by mpirun, or give k/n"
        )
    outer, inner = array or Shard(1, 1), task or Shard(1, 1)
    return Shard((outer.number - 1) * inner.total + inner.number, outer.total * inner.total)


def _array_element(environment: Mapping[str, str]) -> Shard | None:
    """Return the element of a SLURM array job as a shard, or None outside of one."""
    if "SLURM_ARRAY_TASK_ID" not in environment:
        return None
    names = ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT")
    task, count = (_whole(environment, name) for name in names)
    lowest = _whole(environment, "SLURM_ARRAY_TASK_MIN", 0)
    step = max(1, _whole(environment, "SLURM_ARRAY_TASK_STEP", 1))
    number, rest = divmod(task - lowest, step)
    if rest or not 0 <= number < count:
        raise InputError(
            f"--shard auto: task {task} of an array job of {count} tasks from {lowest} in steps of {step}; "
            "give an array without gaps, such as --array=1-16, or --shard k/n"
        )
    return Shard(number + 1, count)


def _task(environment: Mapping[str, str]) -> Shard | None:
    """Return the task of a launcher of parallel programs as a shard, or None outside of one."""
    for rank, sizes in _TASKS:
        size = next((name for name in sizes if name in environment), None)
        if rank in environment and size is not None:
            number, count = _whole(environment, rank), _whole(environment, size)
            if not 0 <= number < count:
                raise InputError(f"--shard auto: {rank}={number} with {size}={count}; give --shard k/n")
            return Shard(number + 1, count)
    return None


def _whole(environment: Mapping[str, str], name: str, default: int | None = None) -> int:
    """Return a variable of the environment as a number."""
    text = environment.get(name, "" if default is None else str(default))
    if not text.isascii() or not text.isdigit():
        raise InputError(f"--shard auto: {name}={text!r} is no whole number; give --shard k/n")
    return int(text)


def shards_of(output: Path) -> dict[Shard, Path]:
    """Return the shards of an output of which there is a file, by the names of their outputs."""
    found = {}
    for path in sorted(output.parent.glob("*.shard-*")):
        if (shard := shard_of_name(path.name, output)) is not None:
            found[shard] = shard.output_of(output)
    return found


def shard_of_name(name: str, output: Path) -> Shard | None:
    """Return the shard whose output, or a file beside that output, has this name; None for other files."""
    stem, ending = _split_name(output)
    match = _FILE.match(name, len(stem)) if name.startswith(stem) else None
    if match is None or not name.startswith(ending, match.end()):
        return None
    shard = Shard(int(match[1]), int(match[2]))
    return shard if 1 <= shard.number <= shard.total else None


def without_shards(files: Sequence[Path], output: Path) -> list[Path]:
    """Leave out of a list of files what belongs to the shards of an output."""
    folder = output.parent.resolve()
    return [
        path for path in files if shard_of_name(path.name, output) is None or path.parent.resolve() != folder
    ]


def _split_name(output: Path) -> tuple[str, str]:
    """Split the name of an output before the suffix of its format: "out" and ".csv.gz" for "out.csv.gz"."""
    suffix = format_suffix(output)
    at = output.name.lower().rindex(suffix)
    return output.name[:at], output.name[at:]
