import numpy as np
import pytest
from helpers.hygiene_crystals import CONFIG, distorted, perovskite, relabelled
from matplotlib.figure import Figure
from matplotlib.image import imread

from equivar_jax.errors import InputError
from equivar_jax.hygiene import check_labels, picture
from equivar_jax.structures import born_effective_charges


def spoilt():
    tensors = born_effective_charges(distorted()).copy()
    tensors[0] += 5.0
    return relabelled(distorted(), tensors, "spoilt")


@pytest.fixture
def drawn(monkeypatch):
    """The figures that are saved."""
    figures: list[Figure] = []
    monkeypatch.setattr(picture, "save_figure", lambda figure, _path: figures.append(figure))
    return figures


def test_the_picture_is_written(tmp_path):
    path = tmp_path / "hygiene.png"
    picture.plot_hygiene(check_labels([perovskite(), spoilt()], CONFIG), CONFIG, path, "Two structures")
    image = imread(path)
    assert image.shape[0] > 800
    assert image.std() > 0.05


def test_what_is_beyond_a_tolerance_is_counted(drawn):
    picture.plot_hygiene(check_labels([perovskite(), spoilt(), distorted(3)], CONFIG), CONFIG, "a.png")
    words = [axes.texts[0].get_text() for axes in drawn[0].axes[:4]]
    assert words[0].startswith("1 of 3 above 0.1")
    assert words[1].startswith("0 of 3 above 15")
    assert words[3].startswith("0 of 2 below -0.5")
    assert [tick.get_text() for tick in drawn[0].axes[4].get_xticklabels()] == ["O", "Ca", "Ti"]


def test_every_value_is_in_a_bin_and_none_on_both_sides_of_the_tolerance(drawn):
    rng = np.random.default_rng(0)
    for logarithmic, below in ((True, False), (False, False), (False, True)):
        values = rng.uniform(-1.0, 1.0, 200) if below else 10.0 ** rng.uniform(-5.0, 1.0, 200)
        panel = picture._Panel(values, 0.3, "", logarithmic, below)
        limit = -0.3 if below else 0.3
        edges = picture._bin_edges(values, limit, panel)
        assert np.histogram(values, edges)[0].sum() == 200
        assert np.abs(edges - limit).min() < 1e-12
        assert (np.diff(edges) > 0.0).all()


def test_many_elements_take_several_rows(drawn):
    report = check_labels([perovskite()], CONFIG)
    elements = {f"E{number}": number for number in range(1, 80)}
    picture.plot_hygiene(type(report)(**{**report.__dict__, "elements": elements}), CONFIG, "a.png")
    rows = drawn[0].axes[4:]
    assert [len(axes.patches) for axes in rows] == [40, 39]


def test_nothing_to_draw_is_one_line():
    with pytest.raises(InputError, match=r"a\.png: no labelled structures"):
        picture.plot_hygiene(check_labels([], CONFIG), CONFIG, "a.png")
