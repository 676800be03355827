"""What all pictures share: colours, style, and writing to a file.

Nothing here needs a display or changes the global state of matplotlib.
"""

import os
from pathlib import Path
from typing import Any

from matplotlib.backend_bases import FigureCanvasBase
from matplotlib.figure import Figure

from equivar_jax.errors import InputError

# Okabe and Ito's colours, which can be told apart with every kind of colour vision. Plots by element give the
# first colour to the most frequent element.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#000000")

# Text of the size of print; text stays text in vector files.
STYLE: dict[Any, Any] = {
    "font.size": 9.0,
    "axes.labelsize": 10.0,
    "axes.titlesize": 10.0,
    "figure.titlesize": 11.0,
    "legend.fontsize": 7.5,
    "axes.linewidth": 0.8,
    "xtick.direction": "in",
    "ytick.direction": "in",
    "xtick.top": True,
    "ytick.right": True,
    "legend.title_fontsize": 8.0,
    "legend.frameon": False,
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
}
_DOTS_PER_INCH = 200


def save_figure(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write a figure to a file, in the format that the suffix of the file names.

    The file appears complete or not at all, whatever ends the process.

    Raises:
        InputError: The suffix names no picture format, or the file cannot be written.
    """
    _check_suffix(path)
    whole = Path(os.path.realpath(path))
    partial = whole.with_name(f".{whole.stem}.part{whole.suffix}")
    try:
        figure.savefig(partial, dpi=_DOTS_PER_INCH)
        partial.replace(whole)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error}); check the folder") from None
    finally:
        partial.unlink(missing_ok=True)


def check_picture(path: str | os.PathLike[str]) -> None:
    """Check that `save_figure` can write to a path, so that a long calculation need not fail at its end.

    Raises:
        InputError: The suffix names no picture format, the path is a folder, or its folder does not exist or
            cannot be written to.
    """
    _check_suffix(path)
    path = Path(path)
    if path.is_dir() or not path.parent.is_dir() or not os.access(path.parent, os.W_OK | os.X_OK):
        raise InputError(
            f"{path}: cannot be written; name a file in a folder that exists and can be written to"
        )


def is_picture(path: str | os.PathLike[str]) -> bool:
    """Return whether the suffix of a file names a format that `save_figure` writes."""
    return Path(path).suffix.lower().removeprefix(".") in FigureCanvasBase.get_supported_filetypes()


def _check_suffix(path: str | os.PathLike[str]) -> None:
    if not is_picture(path):
        possible = ", ".join(sorted(FigureCanvasBase.get_supported_filetypes()))
        raise InputError(f"{path}: this suffix names no picture format; use one of {possible}")
