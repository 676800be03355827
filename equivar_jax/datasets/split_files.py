"""Read given splits from a file: the lists of structures to train and to validate on.

A JSON file has two lists, `{"training": [...], "validation": [...]}`, like the `split.json` of a run. A
folder holds such a `split.json`, or two files of integers, one whose name begins with "train" and one whose
name begins with "val" (.txt: integers between white space; .npy: an array). Other lists, such as that of a
test part, are not used.

A structure is named by its source ("my.extxyz, frame 3"), or, if all are from one file, by an integer: the
number of its frame in the file, from 0. Since frames are counted in the file, setting aside some of them does
not change the others' numbers.
"""

import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int

from equivar_jax.errors import InputError

_FRAME_OF_FILE = re.compile(r"(.*), frame ([0-9]+)", re.DOTALL)
_PREFIXES = ("train", "val")


def file_and_frame(source: str) -> tuple[str, int | None]:
    """Return file and frame number of "my.extxyz, frame 3"; without a number, the source and None."""
    match = _FRAME_OF_FILE.fullmatch(source)
    return (match[1], int(match[2])) if match else (source, None)


def read_parts(
    sources: Sequence[str], path: Path
) -> tuple[Int[np.ndarray, " training"], Int[np.ndarray, " validation"]]:
    """Return the places of the structures that a split file names for training and for validation.

    Args:
        sources: Where each structure came from, such as "my.extxyz, frame 3".
        path: The file, or a folder with one.

    Returns:
        Places in `sources` for training and for validation, each in rising order.

    Raises:
        InputError: the file does not exist or is not a split file, a structure is named twice or is not in
            the data, or integers do not say which structures they mean.
    """
    training, validation = _read_lists(path)
    listed = [*training, *validation]
    if repeated := [name for name, count in Counter(listed).items() if count > 1]:
        both = "in both parts" if repeated[0] in set(training) & set(validation) else "twice in one part"
        raise InputError(
            f"{path}: {_quote(repeated[0])} is {both} ({len(repeated)} such names); name a structure once"
        )
    names: Sequence[str | int] = sources
    if listed and isinstance(listed[0], int):
        names = _frames_of_one_file(sources, path)
    places = {name: place for place, name in enumerate(names)}
    if len(places) < len(names):
        name = next(name for name, count in Counter(names).items() if count > 1)
        raise InputError(f"{path}: two structures of the data are {_quote(name)}; read each file only once")
    if absent := [name for name in listed if name not in places]:
        raise InputError(
            f"{path}: {len(absent)} of the {len(listed)} structures named there are not in the data, "
            f"{_quote(absent[0])} is one (the data begin with {_quote(names[0])}); "
            "give the data it was made for, or remove the names"
        )
    train, validate = (sorted(places[name] for name in part) for part in (training, validation))
    return np.array(train, dtype=np.int64), np.array(validate, dtype=np.int64)


def _frames_of_one_file(sources: Sequence[str], path: Path) -> list[int]:
    """Return the frame number of each structure, if all are from one file."""
    files, frames = zip(*map(file_and_frame, sources), strict=True)
    numbers = [frame for frame in frames if frame is not None]
    if len(set(files)) > 1 or len(numbers) < len(frames):
        raise InputError(
            f"{path}: integers count the frames of one file, but the data are {sources[0]!r} to "
            f'{sources[-1]!r}; name the structures by such texts, as "split.json" of a run does'
        )
    return numbers


def _quote(name: str | int) -> str:
    """Return a name in the form in which messages show it."""
    return f"frame {name}" if isinstance(name, int) else repr(name)


_Names = list[str] | list[int]


def _read_lists(path: Path) -> tuple[_Names, _Names]:
    """Read the training and the validation list of a file or folder."""
    try:
        path = path / "split.json" if (path / "split.json").is_file() else path
        if path.is_dir():
            files = [file for file in sorted(path.iterdir()) if file.suffix in (".txt", ".npy")]
            lists = [(file.stem, _read_integers(file)) for file in files if file.stem.startswith(_PREFIXES)]
        else:
            content = json.loads(path.read_text(encoding="utf-8"))
            lists = list(content.items()) if isinstance(content, dict) else []
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror or error}); check --data.split_path"
        ) from None
    except ValueError as error:  # not JSON, or not UTF-8
        raise InputError(
            f"{path}: not a JSON file ({error}); give a split.json or a folder with lists"
        ) from None
    found = [[names for name, names in lists if name.startswith(prefix)] for prefix in _PREFIXES]
    if [len(part) for part in found] != [1, 1]:
        there = ", ".join(name for name, _ in lists) or "none"
        raise InputError(
            f"{path}: one list train... and one val... are needed, found {there}; "
            'write {"training": [...], "validation": [...]}, or train.txt and val.txt in a folder'
        )
    training, validation = found[0][0], found[1][0]
    if not (isinstance(training, list) and isinstance(validation, list)):
        raise InputError(f"{path}: the two parts must be lists; write [...] of sources or integers")
    if len(kinds := {type(name) for name in [*training, *validation]}) > 1 or not kinds <= {str, int}:
        those = ", ".join(sorted(kind.__name__ for kind in kinds))
        raise InputError(f"{path}: the lists hold {those}; write either sources or integers, not both")
    return training, validation


def _read_integers(path: Path) -> list[int]:
    """Read the integers of a text or NumPy file."""
    try:
        if path.suffix == ".npy":
            array = np.load(path, allow_pickle=False)
            if array.ndim != 1 or array.dtype.kind not in "iu":
                raise ValueError(f"an array of shape {array.shape} and type {array.dtype}")
            return array.tolist()
        return [int(word) for word in path.read_text(encoding="utf-8").split()]
    except (ValueError, EOFError) as error:
        raise InputError(f"{path}: not a list of integers ({error}); write frame numbers") from None
