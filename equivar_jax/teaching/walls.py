"""Walls between two frames: one of them in one half of the cell, the other in the other half.

The mean positions of a polar crystal and their image under inversion are two domains. Both are the same to a
network, whose tensors turn and invert with the crystal; what lies between them, at a wall, is not, and no
trajectory of one domain has it.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

LARGEST_OFFSET = 1.0
"""Largest distance in Å from a site to the inverted site nearest to it; beyond, the inverted crystal is not
the same one with other displacements (quartz becomes quartz of the other hand)."""
MOST_CENTRES = 64
"""Centres of inversion to try, those nearest to the first atom."""
NARROWEST, WIDEST = 1.0, 4.0
"""Half the width of a wall in Å."""


class Inversion(NamedTuple):
    """The image of the mean positions under inversion, as displacements of the sites."""

    order: Int[np.ndarray, " atoms"]
    """For each site the atom whose image comes to it."""
    offset: Float[np.ndarray, "atoms 3"]
    """From the site to that image, in Å; they sum to zero."""

    def displacements(self, moved: Float[np.ndarray, "atoms 3"]) -> Float[np.ndarray, "atoms 3"]:
        """Return the displacements of the sites from the image of the mean, in the image of a frame."""
        return -moved[self.order]


def find_inversion(
    numbers: Int[np.ndarray, " atoms"], mean: Float[np.ndarray, "atoms 3"], cell: Float[np.ndarray, "3 3"]
) -> Inversion | None:
    """Find the inversion of a crystal that displaces its sites least.

    Args:
        numbers: Atomic numbers.
        mean: Positions of the sites in Å.
        cell: Vectors of the periodic cell in Å, one a row.

    Returns:
        The image; None if no inversion brings every site to one of its element within `LARGEST_OFFSET`.
    """
    scaled = np.linalg.solve(cell.T, mean.T).T
    elements, counts = np.unique(numbers, return_counts=True)
    rarest = np.flatnonzero(numbers == elements[np.argmin(counts)])
    away = np.linalg.norm(_nearest(scaled[rarest] - scaled[rarest[0]]) @ cell, axis=1)
    partners = rarest[np.argsort(away, kind="stable")[:MOST_CENTRES]]
    found: list[tuple[float, Inversion]] = []
    for partner in partners:
        inverted = scaled[rarest[0]] + scaled[partner] - scaled
        image = _match(numbers, scaled, inverted, cell)
        if image is not None:
            found.append((float(np.square(image.offset).mean()), image))
    return min(found, key=lambda entry: entry[0])[1] if found else None


def _match(
    numbers: Int[np.ndarray, " atoms"],
    scaled: Float[np.ndarray, "atoms 3"],
    inverted: Float[np.ndarray, "atoms 3"],
    cell: Float[np.ndarray, "3 3"],
) -> Inversion | None:
    """Give every site the nearest image of its element; None unless all are near and each is taken once."""
    order, offset = np.zeros(len(numbers), int), np.zeros((len(numbers), 3))
    for number in np.unique(numbers):
        sites = np.flatnonzero(numbers == number)
        between = _nearest(inverted[None, sites] - scaled[sites, None]) @ cell  # [site, image, 3]
        nearest = np.argmin(np.square(between).sum(axis=-1), axis=1)
        if len(np.unique(nearest)) < len(sites):
            return None
        order[sites] = sites[nearest]
        offset[sites] = between[np.arange(len(sites)), nearest]
    offset -= offset.mean(axis=0)
    if np.linalg.norm(offset, axis=1).max() > LARGEST_OFFSET:
        return None
    return Inversion(order, offset)


def _nearest(scaled: Float[np.ndarray, "*any 3"]) -> Float[np.ndarray, "*any 3"]:
    """Take differences of scaled positions to their nearest images."""
    return scaled - np.round(scaled)


def wall_angles(
    mean: Float[np.ndarray, "atoms 3"], cell: Float[np.ndarray, "3 3"], rng: np.random.Generator
) -> Float[np.ndarray, " atoms"]:
    """Draw a pair of walls, and return the mixing angle of each atom, from 0 to 90 degrees.

    The walls are parallel to two of the cell vectors. With s, the third scaled coordinate, the angle is
    `45 degrees (1 + tanh p)` with `p = L / (2 pi w) (sin 2 pi (s - s0) + b)`, which is periodic and has a
    slope of 1 / w at the walls: L is the height of the cell, w half the width of a wall, b makes one domain
    larger. All of them but L are drawn.

    Args:
        mean: Positions in Å.
        cell: Vectors of the periodic cell in Å, one a row.
        rng: Random numbers.
    """
    axis = int(rng.integers(3))
    height = 1.0 / np.linalg.norm(np.linalg.inv(cell)[:, axis])
    width = np.exp(rng.uniform(np.log(NARROWEST), np.log(WIDEST)))
    start, larger = rng.uniform(), rng.uniform(-0.5, 0.5)
    place = np.linalg.solve(cell.T, mean.T)[axis]
    profile = height / (2 * np.pi * width) * (np.sin(2 * np.pi * (place - start)) + larger)
    return np.pi / 4 * (1 + np.tanh(profile))


def across_a_wall(
    angles: Float[np.ndarray, " atoms"],
    first: Float[np.ndarray, "atoms 3"],
    second: Float[np.ndarray, "atoms 3"],
    inversion: Inversion | None,
) -> Float[np.ndarray, "atoms 3"]:
    """Return displacements from the mean that go from those of one frame to those of another.

    `cos(t) u_a + sin(t) u_b + sin²(t) d`, where t are angles by atom; with an inversion u_b are displacements
    of the inverted second frame and d goes from the mean to its image, so that at 90 degrees the atoms are
    those of the inverted frame.

    Args:
        angles: Of the atoms, from `wall_angles`, in radians.
        first: Displacements of the first frame in Å.
        second: Of the second.
        inversion: Of the mean positions; None leaves the second frame as it is.
    """
    cosine, sine = np.cos(angles)[:, None], np.sin(angles)[:, None]
    if inversion is None:
        return cosine * first + sine * second
    return cosine * first + sine * inversion.displacements(second) + sine**2 * inversion.offset
