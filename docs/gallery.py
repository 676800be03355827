"""Make the pictures of the site: `python docs/gallery.py [NAME ...]`.

Each comes from an example or a tutorial that a reader can run, or is drawn here; nothing needs a network, and
a file only that of BaTiO3, which takes DFPT frames where `EQUIVAR_DATA` names their folder. They are kept
small (a palette of 128 colours) in `docs/pictures`.
"""

import contextlib
import importlib
import os
import re
import runpy
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from PIL import Image

DOCS = Path(__file__).resolve().parent
PICTURES = DOCS / "pictures"
sys.path.insert(0, str(DOCS / "making"))
WIDTH = 1100
"""Largest width in pixels."""


class Picture(NamedTuple):
    """A picture of the gallery."""

    caption: str
    page: str
    """Where it belongs, below `docs`."""
    make: Callable[[], Path]
    """Makes it in the folder in which it runs, and returns its file."""


def command(words: str, file: str) -> Callable[[], Path]:
    """Make a picture by a command of `equivar`."""

    def run() -> Path:
        from equivar_jax.__main__ import main

        main(words.split())
        return Path(file)

    return run


def tutorial(name: str) -> Callable[[], Path]:
    """Make a picture by a tutorial."""

    def run() -> Path:
        runpy.run_path(str(DOCS / "tutorials" / f"{name}.py"), run_name="__main__")
        return Path(f"{name}.png")

    return run


def drawing(module: str, name: str) -> Callable[[], Path]:
    """Make a picture by a function of a module of `making`."""

    def run() -> Path:
        return getattr(importlib.import_module(module), name)()

    return run


TRAINING = "train --config quickstart.py --run-dir run"
GALLERY = {
    "charges": Picture(
        "Predicted charges beside published ones and nominal ones",
        "start/first-tensor.md",
        drawing("drawn_predictions", "charges"),
    ),
    "bands": Picture(
        "Bands of model NaCl with LO-TO splitting",
        "howto/born.md",
        command("response born --example -o bands.png", "bands.png"),
    ),
    "dielectric": Picture(
        "Dielectric function and reflectivity of a model crystal",
        "howto/dielectric.md",
        command("response dielectric --example -o dielectric.png", "dielectric.png"),
    ),
    "infrared": Picture(
        "Infrared spectrum of a model crystal, from phonons and from dynamics",
        "howto/infrared-phonons.md",
        command("response infrared --example -o infrared.png", "infrared.png"),
    ),
    "crystal": Picture(
        "Bands of MgO of springs, as the report has them",
        "howto/structure.md",
        command("response crystal --example -o crystal", "crystal/bands.png"),
    ),
    "hysteresis": Picture(
        "P-E loop of model BaTiO3",
        "howto/loop.md",
        command("response hysteresis --example -o loop.png", "loop.png"),
    ),
    "dynamics": Picture(
        "Model SrTiO3 in a pulse of the field",
        "howto/field.md",
        command("response dynamics --example --cells 5 -o dynamics.png", "dynamics.png"),
    ),
    "parity": Picture(
        "Parity plot of a minute of training", "howto/judge.md", command(TRAINING, "run/parity.png")
    ),
    "history": Picture(
        "Loss of a minute of training", "howto/train.md", command(TRAINING, "run/history.png")
    ),
    "frames": Picture("Errors by number of frames", "howto/fine-tune.md", drawing("drawn_results", "frames")),
    "taught": Picture(
        "Errors on BaTiO3 at 300 K, by how one trains", "howto/teach.md", drawing("drawn_results", "taught")
    ),
    "selection": Picture(
        "Candidates, and the chosen ones", "howto/select.md", drawing("drawn_predictions", "selection")
    ),
    "screening": Picture(
        "Anomalous charges of prototypes", "howto/screen.md", drawing("drawn_predictions", "screening")
    ),
    "scaling": Picture(
        "Time against the number of atoms", "howto/million.md", drawing("drawn_results", "scaling")
    ),
    "infrared_barium_titanate": Picture(
        "BaTiO3: infrared from dynamics",
        "howto/infrared-md.md",
        drawing("drawn_results", "infrared_barium_titanate"),
    ),
    "derivative": Picture(
        "Z of Ti as it moves, and its derivative", "howto/jax.md", drawing("drawn_predictions", "derivative")
    ),
    "transposition": Picture(
        "What tells a transposed file",
        "concepts/transposition.md",
        drawing("drawn_predictions", "transposition"),
    ),
    "quanta": Picture(
        "A polarisation and its quanta", "concepts/polarisation.md", drawing("drawn_predictions", "quanta")
    ),
    "network": Picture("The network", "method/network.md", drawing("diagrams", "network")),
    "factored": Picture("The factored form", "method/factored.md", drawing("diagrams", "factored")),
    "derivative_form": Picture(
        "Tensors as derivatives", "method/polarisation.md", drawing("diagrams", "derivative_form")
    ),
    "gallium_nitride": Picture(
        "GaN: polar modes and infrared", "tutorials/gallium_nitride.md", tutorial("gallium_nitride")
    ),
    "barium_titanate": Picture(
        "BaTiO3: from DFPT frames to a loop", "tutorials/barium_titanate.md", tutorial("barium_titanate")
    ),
    "screening_oxides": Picture(
        "300 oxides screened", "tutorials/screening_oxides.md", tutorial("screening_oxides")
    ),
    "custom_readout": Picture("A scalar read out", "tutorials/custom_readout.md", tutorial("custom_readout")),
}


def file_of(name: str) -> Path:
    """Return where a picture is kept."""
    vector = PICTURES / f"{name}.svg"
    return vector if vector.is_file() else PICTURES / f"{name}.png"


def gallery_text() -> str:
    """Return the gallery as Markdown: every picture above its caption, with a link, side by side."""
    pictures = (
        f"[![{one.caption}](pictures/{file_of(name).name})<br>{one.caption}]({one.page})"
        for name, one in GALLERY.items()
    )
    return '<div class="gallery" markdown>\n\n' + "\n\n".join(pictures) + "\n\n</div>"


def keep(made: Path, name: str) -> None:
    """Put a picture into the folder, a PNG with few colours and not too wide."""
    PICTURES.mkdir(exist_ok=True)
    if made.suffix == ".svg":
        lines = made.read_text().splitlines()
        (PICTURES / f"{name}.svg").write_text("\n".join(line.rstrip() for line in lines) + "\n")
        return
    image = Image.open(made).convert("RGB")
    if image.width > WIDTH:
        image = image.resize((WIDTH, round(image.height * WIDTH / image.width)), Image.Resampling.LANCZOS)
    few = image.quantize(128, dither=Image.Dither.NONE)
    few.save(PICTURES / f"{name}.png", optimize=True)


def main(names: list[str]) -> None:
    """Make the pictures of these names, or all."""
    for name in names or GALLERY:
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            keep(GALLERY[name].make(), name)
        path = file_of(name)
        print(
            f"{re.sub(str(DOCS.parent) + os.sep, '', str(path))}: {path.stat().st_size / 1000:.0f} kB",
            flush=True,
        )


if __name__ == "__main__":
    main(sys.argv[1:])
