"""Tables that commands write."""

import csv

import numpy as np


def curves_of(path):
    """Of each source, wavenumbers and values."""
    with path.open() as handle:
        rows = list(csv.reader(handle))[1:]
    names = dict.fromkeys(row[0] for row in rows)
    values = {name: [row[1:] for row in rows if row[0] == name] for name in names}
    return {
        name: np.array([[word or "nan" for word in row] for row in of], float).T
        for name, of in values.items()
    }
