"""What all pictures share: colours, style, and the way to a file. No display, no global state is needed."""

import os
from pathlib import Path
from typing import Any

from matplotlib.backend_bases import FigureCanvasBase
from matplotlib.figure import Figure

from equivar_jax.errors import InputError

# Okabe and Ito's colours, told apart with every kind of colour vision; the most frequent element comes first.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#000000")

# Print-sized text, and vector files whose text stays text.
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
    """Write the picture in the format of its suffix."""
    _check_suffix(path)
    try:
        figure.savefig(path, dpi=_DOTS_PER_INCH)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error}); check the folder") from None


def check_picture(path: str | os.PathLike[str]) -> None:
    """Refuse before a long calculation what `save_figure` would refuse after it.

    Raises:
        InputError: no suffix of a picture, a folder of this name, or no folder to write it into.
    """
    _check_suffix(path)
    path = Path(path)
    if path.is_dir() or not path.parent.is_dir() or not os.access(path.parent, os.W_OK | os.X_OK):
        raise InputError(
            f"{path}: cannot be written; name a file in a folder that is there and can be written to"
        )


def is_picture(path: str | os.PathLike[str]) -> bool:
    """Whether the suffix of a file names a format that `save_figure` writes."""
    return Path(path).suffix.lower().removeprefix(".") in FigureCanvasBase.get_supported_filetypes()


def _check_suffix(path: str | os.PathLike[str]) -> None:
    if not is_picture(path):
        possible = ", ".join(sorted(FigureCanvasBase.get_supported_filetypes()))
        raise InputError(f"{path}: no picture format of this suffix; use one of {possible}")
