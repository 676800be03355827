"""What the pictures of the site that no command draws have in common: colours and style."""

import functools
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from equivar_jax.figures import COLOURS, STYLE, save_figure

BLUE, ORANGE, GREEN, RED, SKY = COLOURS[:5]


def styled(width: float, height: float, panels: int = 1):
    """Decorate a function that draws into axes, so that it writes a file of its name."""

    def decorate(draw):
        @functools.wraps(draw)
        def make() -> Path:
            with mpl.rc_context(STYLE):
                figure = Figure(figsize=(width, height), layout="constrained")
                axes = figure.subplots(1, panels, squeeze=False)[0]
                draw(*axes)
                save_figure(figure, path := Path(f"{draw.__name__}.png"))
            return path

        return make

    return decorate
