import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from equivar_jax.errors import InputError
from equivar_jax.figures import check_picture
from equivar_jax.reports.plots import plot_history, plot_parity

PNG = b"\x89PNG\r\n\x1a\n"


def records(epochs: int = 40) -> list[dict[str, object]]:
    return [
        {
            "epoch": epoch,
            "train_loss": 0.5 / epoch,
            "validation_mae": 0.02 + (epoch - 31) ** 2 / 1e4 if epoch % 2 else None,
            "learning_rate": 0.005 * 0.9**epoch,
        }
        for epoch in range(1, epochs + 1)
    ]


def tensors(atoms: int, elements: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    numbers = np.concatenate([np.arange(1, elements + 1), rng.integers(1, elements + 1, atoms - elements)])
    reference = rng.normal(size=(atoms, 3, 3)) + 3.0 * np.eye(3)
    return numbers, reference + rng.normal(scale=0.05, size=reference.shape), reference


@pytest.fixture
def drawn(monkeypatch) -> list[Figure]:
    """Every figure that is saved, so that a test sees what is on it."""
    figures: list[Figure] = []
    save = Figure.savefig

    def keep(figure, *arguments, **options):
        figures.append(figure)
        save(figure, *arguments, **options)

    monkeypatch.setattr(Figure, "savefig", keep)
    return figures


def legend_of(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.get_legend().get_texts()]


@pytest.mark.parametrize(("suffix", "magic"), [("png", PNG), ("pdf", b"%PDF"), ("svg", b"<?xml")])
def test_history_is_drawn_in_the_format_of_the_suffix(tmp_path, suffix, magic):
    path = tmp_path / f"history.{suffix}"
    plot_history(records(), path)
    assert path.read_bytes().startswith(magic)


def test_history_marks_the_best_epoch_on_a_logarithmic_axis(tmp_path, drawn):
    plot_history(records(), tmp_path / "history.png")
    axes, right = drawn[0].axes
    assert axes.get_yscale() == right.get_yscale() == "log"
    assert legend_of(axes) == [
        "training loss", "validation MAE", "best: 0.0200 e, epoch 31", "learning rate (right)",
    ]  # fmt: skip
    loss, mae, star = axes.lines
    assert len(loss.get_xdata()) == 40
    assert len(mae.get_xdata()) == 20
    np.testing.assert_allclose([star.get_xdata()[0], star.get_ydata()[0]], [31, 0.02])
    assert "(e)" in axes.get_ylabel()


def test_history_of_a_resumed_run_takes_the_last_record_of_an_epoch(tmp_path, drawn):
    again = [{"epoch": 2, "train_loss": 9.0}, {"device": "cpu"}, {"epoch": 3, "train_loss": float("nan")}]
    plot_history([*records(3), *again], tmp_path / "history.png")
    loss = drawn[0].axes[0].lines[0]
    np.testing.assert_allclose(loss.get_xydata(), [[1, 0.5], [2, 9.0]])


@pytest.mark.parametrize(
    "few", [records(1), [{"epoch": 0, "train_loss": 0.3}], [{"epoch": 5, "validation_mae": 0.02}]]
)
def test_history_of_a_single_epoch(tmp_path, few):
    plot_history(few, tmp_path / "history.png")
    assert (tmp_path / "history.png").read_bytes().startswith(PNG)


@pytest.mark.parametrize(
    "nothing", [[], [{"epoch": 1}], [{"epoch": 1, "train_loss": 0.0}], [{"train_loss": 1.0}]]
)
def test_history_of_nothing_is_an_input_error(tmp_path, nothing):
    with pytest.raises(InputError, match="no epoch"):
        plot_history(nothing, tmp_path / "history.png")


def test_parity_shows_both_kinds_of_components_with_equal_axes(tmp_path, drawn):
    numbers, predicted, reference = tensors(30, 3)
    path = tmp_path / "parity.png"
    plot_parity(numbers, predicted, reference, path, "A title")
    assert path.read_bytes().startswith(PNG)
    (figure,) = drawn
    assert figure.get_suptitle() == "A title"
    diagonal, off_diagonal = figure.axes
    for axes, components in ((diagonal, 3), (off_diagonal, 6)):
        assert axes.get_xlim() == axes.get_ylim()
        assert axes.get_aspect() == 1.0
        np.testing.assert_array_equal(axes.get_xticks(), axes.get_yticks())
        points = np.concatenate([collection.get_offsets() for collection in axes.collections])
        assert len(points) == 30 * components
        assert "(e)" in axes.get_xlabel()
        assert "(e)" in axes.get_ylabel()
        assert all(collection.get_rasterized() for collection in axes.collections)
    error = np.abs(np.diagonal(predicted - reference, axis1=1, axis2=2))
    assert f"MAE {error.mean():.4f} e" in diagonal.texts[0].get_text()
    assert "RMSPE" in diagonal.texts[0].get_text()
    assert "RMSPE" not in off_diagonal.texts[0].get_text()
    assert len(legend_of(diagonal)) == 3
    hydrogen = f"H ({np.count_nonzero(numbers == 1)}): {error[numbers == 1].mean():.4f}"
    assert hydrogen in legend_of(diagonal)


def test_parity_has_the_reference_across_and_the_prediction_up(tmp_path, drawn):
    reference = np.arange(9.0).reshape(1, 3, 3)
    plot_parity(np.array([8]), reference + 0.25, reference, tmp_path / "parity.png")
    (points,) = [c.get_offsets() for c in drawn[0].axes[1].collections if len(c.get_offsets())]
    np.testing.assert_allclose(sorted(points[:, 0]), [1, 2, 3, 5, 6, 7])
    np.testing.assert_allclose(points[:, 1] - points[:, 0], 0.25)


def test_parity_puts_rare_elements_together(tmp_path, drawn):
    numbers, predicted, reference = tensors(400, 80)
    plot_parity(numbers, predicted, reference, tmp_path / "parity.png")
    legend = legend_of(drawn[0].axes[0])
    assert len(legend) == 8
    assert legend[-1].startswith("others (")
    shown = [int(text.split("(")[1].split(")")[0]) for text in legend]
    assert sum(shown) == 400
    assert shown[:-1] == sorted(shown[:-1], reverse=True)


@pytest.mark.parametrize("elements", [1, 80])
def test_nothing_is_cut_off_the_parity_picture(tmp_path, drawn, elements):
    numbers, predicted, reference = tensors(20_000, elements)
    plot_parity(numbers, 100.0 * predicted, 100.0 * reference, tmp_path / "parity.png", "A title")
    (figure,) = drawn
    renderer = FigureCanvasAgg(figure).get_renderer()
    page = figure.bbox
    boxes = [axes.get_tightbbox(renderer) for axes in figure.axes]
    for box in boxes:
        assert box.x0 >= page.x0
        assert box.x1 <= page.x1
        assert box.y0 >= page.y0
        assert box.y1 <= page.y1
    assert boxes[0].x1 <= boxes[1].x0


def test_parity_of_equal_values_has_room(tmp_path, drawn):
    plot_parity(np.array([8]), np.zeros((1, 3, 3)), np.zeros((1, 3, 3)), tmp_path / "parity.png")
    low, high = drawn[0].axes[0].get_xlim()
    assert low < 0 < high


def test_parity_refuses_nothing_and_what_is_not_finite(tmp_path):
    with pytest.raises(InputError, match="no atoms"):
        plot_parity(np.zeros(0, int), np.zeros((0, 3, 3)), np.zeros((0, 3, 3)), tmp_path / "parity.png")
    with pytest.raises(InputError, match="not finite"):
        plot_parity(np.array([8]), np.full((1, 3, 3), np.nan), np.zeros((1, 3, 3)), tmp_path / "parity.png")


def test_pictures_that_cannot_be_written(tmp_path):
    with pytest.raises(InputError, match=r"use one of .*png"):
        plot_history(records(), tmp_path / "history.docx")
    with pytest.raises(InputError, match="cannot be written"):
        plot_history(records(), tmp_path / "absent" / "history.png")
    for name in ("history.docx", "history", "absent/history.png"):
        with pytest.raises(InputError, match=r"use one of .*png|cannot be written"):
            check_picture(tmp_path / name)
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(InputError, match="cannot be written; name a file in a folder that exists"):
        check_picture(tmp_path / "folder.png")
    check_picture(tmp_path / "history.PDF")
    assert not (tmp_path / "history.PDF").exists()


def test_a_picture_is_replaced_by_a_complete_one_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "history.png"
    plot_history(records(), path)
    before = path.read_bytes()

    def savefig(_, path, **__):
        Path(path).write_bytes(PNG)
        raise KeyboardInterrupt

    monkeypatch.setattr(Figure, "savefig", savefig)
    with pytest.raises(KeyboardInterrupt):
        plot_history(records(), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.slow  # a process of its own
def test_import_leaves_global_state_alone():
    code = "import sys, equivar_jax.reports.plots; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
