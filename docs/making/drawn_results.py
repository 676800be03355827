"""Pictures of the site that show results of the benchmarks; `docs/gallery.py` runs them."""

import numpy as np
from canvas import BLUE, GREEN, ORANGE, SKY, styled
from matplotlib.axes import Axes
from values import load as results
from values import look_up


@styled(4.8, 3.1)
def frames(axes: Axes) -> None:
    """Draw errors against the number of frames trained on, from the results of the benchmark."""
    found: dict[str, dict[int, list[float]]] = {}
    for row in results("accuracy/real_finetune.json")["rows"]:
        number, start, _ = row["label"].split(", ")
        sizes = found.setdefault(start, {})
        sizes.setdefault(int(number.split()[0]), []).append(row["tests"]["test"]["overall"]["mae"])
    taught_rows = results("accuracy/real_taught.json")["rows"]
    names = {
        "shipped weights": "weights of the package, fine-tuned",
        "from scratch": "bm3_deep.py, fresh",
        "from scratch by AdamW": "the same before Muon",
    }
    for (start, name), colour, marker in zip(names.items(), (BLUE, ORANGE, SKY), "os^", strict=True):
        sizes = sorted(found[start])
        means = [np.mean(found[start][size]) for size in sizes]
        axes.plot(sizes, means, marker, ls="-", ms=4, lw=1, color=colour, label=name)
    errors = [
        row["tests"]["test"]["overall"]["mae"]
        for row in taught_rows
        if row["label"].startswith("BaTiO3-300K, BM3 taught") and "mean of" not in row["label"]
    ]
    axes.plot([47] * len(errors), errors, "D", ms=4, color=GREEN, label="taught, before Muon")
    axes.set(xlabel="frames trained on", ylabel="MAE on 12 other frames (e)", ylim=(0, None))
    axes.set_title("BaTiO3 at 300 K, 135 atoms")
    axes.legend(loc="upper right")


@styled(5.4, 3.0)
def taught(axes: Axes) -> None:
    """Draw errors on the frames of BaTiO3 that were held out, from the results of the benchmarks."""
    rows = results("accuracy/real_targets.json")["rows"] + results("accuracy/real_taught.json")["rows"]
    rows += results("accuracy/real_teacher.json")["rows"]
    found: dict[str, list[float]] = {}
    for row in rows:
        name, _, rest = row["label"].partition(", ")
        if name == "BaTiO3-300K" and "mean of" not in rest:
            found.setdefault(rest.partition(", seed")[0], []).append(row["tests"]["test"]["overall"]["mae"])
    found["kept"] = [look_up("kept.json", "BaTiO3-300K.mae")]
    names = {
        "BM1": "BM1",
        "BM2": "BM2",
        "BM3": "bm3_deep",
        "BM3 taught": "taught,\nby AdamW",
        "teacher": "its teacher,\n4 networks",
        "kept": "bm4,\n3 networks",
    }
    kept = [(names[key], values) for key, values in found.items() if key in names]
    axes.bar(range(len(kept)), [np.mean(values) for _, values in kept], 0.6, color=SKY)
    for x, (_, values) in enumerate(kept):
        axes.plot([x] * len(values), values, ".", color=BLUE)
        axes.annotate(
            f"{np.mean(values):.4f}",
            (x, max(values)),
            (0, 4),
            textcoords="offset points",
            ha="center",
            fontsize=7.5,
        )
    axes.set_xticks(range(len(kept)), [name for name, _ in kept])
    axes.tick_params(bottom=False, top=False)
    axes.set(ylabel="MAE (e)", title="12 frames of BaTiO3 at 300 K, 47 trained on", ylim=(0, 0.05))


@styled(4.8, 3.0)
def scaling(axes: Axes) -> None:
    """Draw time against size, from the results of the benchmark."""
    for name, colour, marker in (("bm1.py", BLUE, "o"), ("bm2.py", ORANGE, "s")):
        rows = look_up("scaling.json", f'results."{name}".inference')
        rows = sorted((row for row in rows if row["family"] == "perovskite"), key=lambda row: row["atoms"])
        sizes = np.array([row["atoms"] for row in rows])
        seconds = sizes * np.array([row["median_ms_per_atom"] for row in rows]) / 1000
        axes.loglog(
            sizes,
            seconds,
            marker,
            ls="-",
            ms=3.5,
            lw=0.8,
            color=colour,
            label=name.removesuffix(".py").upper(),
        )
    axes.set(xlabel="atoms", ylabel="seconds, two CPU cores", title="Inference, perovskites")
    axes.legend()


@styled(4.8, 3.0)
def infrared_barium_titanate(axes: Axes) -> None:
    """Draw the spectrum of BaTiO3 by dynamics, from its result file, with measured resonances."""
    found = results("infrared_barium_titanate.json")
    wavenumbers, absorption = (np.array(column) for column in found["spectrum"][:2])
    axes.plot(wavenumbers, absorption / 1e5, color=BLUE, label="SevenNet-0, charges of the package")
    for number, place in enumerate(found["measured"]["resonances_per_cm"]):
        label = None if number else "resonances fitted to reflectivity"
        axes.axvline(place, color=ORANGE, ls="--", lw=0.9, label=label)
    axes.set(xlabel="Wavenumber (cm⁻¹)", ylabel="Absorption (10⁵ cm⁻¹)", xlim=(0, 750))
    axes.legend()
