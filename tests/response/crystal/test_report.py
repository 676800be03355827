"""The page of a crystal's results, as text and in a browser."""

import base64
import gzip
import hashlib
import json
import re
import shutil
import time
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from helpers.crystal_results import stable_results, unstable_results
from helpers.random_crystals import random_crystal

from equivar_jax.errors import InputError
from equivar_jax.response.crystal import report
from equivar_jax.response.crystal.report import write_report
from equivar_jax.response.optics.permittivity import longitudinal_modes
from equivar_jax.response.phonons.gamma import gamma_modes, mode_effective_charges

PARTS = Path(report.__file__).with_name("page")
EVIL = "a</script><script>alert(1)</script><!-- & {{script}} \u2028 \U0001f600 'b' \"c\".cif"
MAY_BE_ABSENT = [
    "relaxation", "supercell", "born_effective_charges_std_e", "epsilon_inf", "epsilon_ionic", "epsilon_0",
    "epsilon_inf_std", "epsilon_ionic_std", "epsilon_0_std", "bands", "dos", "thermal", "dielectric_function",
    "infrared", "std",
]  # fmt: skip
CHROMIUM = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip


class Elements(HTMLParser):
    """The elements of a page by their tags: attributes, and text up to the next tag."""

    def __init__(self, page):
        super().__init__()
        self.found, self.is_open = [], False
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.found.append([tag, dict(attributes), ""])
        self.is_open = True

    def handle_endtag(self, _):
        self.is_open = False

    def handle_data(self, data):
        if self.is_open:
            self.found[-1][2] += data

    def of(self, tag):
        return [(attributes, text) for name, attributes, text in self.found if name == tag]


def page_of(results, path):
    write_report(results, path)
    return path.read_text(encoding="utf-8")


def data_in(page):
    return json.loads(next(text for attributes, text in Elements(page).of("script") if "id" in attributes))


def bare_results():
    """Results with nothing that may be absent."""
    results = stable_results() | dict.fromkeys(MAY_BE_ABSENT)
    for mode in results["modes"]:
        mode |= {"irrep": None, "contribution": None, "intensity_std_km_per_mol": None}
    results["longitudinal"] = []
    results["made_by"] |= {"checkpoint": None, "potential": None, "settings": {}}
    return results


@pytest.mark.parametrize("make", [stable_results, unstable_results, bare_results])
def test_the_page_holds_the_results(make, tmp_path):
    assert data_in(page_of(make(), tmp_path / "report.html")) == make()


def test_the_page_can_be_compressed(tmp_path):
    write_report(stable_results(), tmp_path / "report.html.gz")
    assert data_in(gzip.decompress((tmp_path / "report.html.gz").read_bytes()).decode()) == stable_results()


def test_the_page_needs_nothing_else(tmp_path):
    page = page_of(stable_results(), tmp_path / "report.html")
    for word in (
        "http:",
        "https:",
        "src=",
        "url(",
        "@import",
        "fetch(",
        "XMLHttpRequest",
        "eval(",
        "innerHTML",
    ):
        assert word not in page
    assert not re.search(r"\son[a-z]+\s*=\s*[\"']", page)


def test_the_policy_forbids_all_but_this_style_and_this_script(tmp_path):
    elements = Elements(page_of(stable_results(), tmp_path / "report.html"))
    (policy,) = (a["content"] for a, _ in elements.of("meta") if "http-equiv" in a)
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    ((_, style),) = elements.of("style")
    (script,) = (text for attributes, text in elements.of("script") if not attributes)
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    for name, text in (("style-src", style), ("script-src", script)):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert rules[name] == f"'sha256-{digest}'"


def test_no_text_can_break_out_of_the_page(tmp_path):
    results = stable_results()
    results["formula"] = results["ingredients"][0]["source"] = results["made_by"]["command"] = EVIL
    results["warnings"] = [EVIL]
    page = page_of(results, tmp_path / "report.html")
    elements = Elements(page)
    assert data_in(page) == results
    assert len(elements.of("script")) == 2
    assert elements.of("title")[0][1] == f"{EVIL} (P6_3mc)"
    assert "<!--" not in page.split('id="results"')[1].split("</script>")[0]


def test_what_json_does_not_have_is_refused_and_leaves_no_file(tmp_path):
    results = stable_results()
    results["epsilon_0"][0][0] = float("nan")
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_report(results, tmp_path / "report.html")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match=r"report\.html: cannot be written"):
        write_report(stable_results(), tmp_path / "none" / "report.html")


def test_every_part_is_used():
    assert {path.name for path in PARTS.iterdir()} == {*report._SCRIPTS, "report.html", "report.css"}


def test_the_colours_are_those_of_the_pictures():
    from equivar_jax.figures import COLOURS

    style = (PARTS / "report.css").read_text(encoding="utf-8")
    assert [f"--series-{k}: {colour};" in style for k, colour in enumerate(COLOURS)] == [True] * len(COLOURS)


# In a browser.


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """Chromium without a window, of 1400 x 900 points."""
    driver, program = shutil.which("chromedriver"), shutil.which("chromium")
    if driver is None or program is None:
        pytest.skip("needs chromium and chromedriver")
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium")
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    for word in (*CHROMIUM, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(word)
    options.binary_location = program
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    started = webdriver.Chrome(options=options, service=Service(driver))
    yield started
    started.quit()


@pytest.fixture
def opened(browser, tmp_path):
    """A function that opens the page of some results at a width, and says whether it wants little motion."""

    def show(results, width=1400, motion="no-preference", scheme="light"):
        write_report(results, tmp_path / "report.html")
        features = {"prefers-reduced-motion": motion, "prefers-color-scheme": scheme}
        listed = [{"name": name, "value": value} for name, value in features.items()]
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": listed})
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        browser.get("about:blank")
        for kind in ("browser", "performance"):
            browser.get_log(kind)
        browser.get((tmp_path / "report.html").as_uri())
        drawn = "[...document.querySelectorAll('.plot')].every((plot) => plot.childElementCount > 0)"
        wait_for(browser, f"return {drawn}")
        return browser

    return show


def wait_for(browser, script, seconds=300):
    """Wait until a script returns true; say what it returned last if it never does."""
    deadline = time.monotonic() + seconds
    while not (found := browser.execute_script(script)):
        assert time.monotonic() < deadline, f"{script}: {found}"
        time.sleep(0.05)
    return found


def text_of(browser, selector):
    return browser.execute_script("return document.querySelector(arguments[0]).innerText", selector)


def picture(browser):
    """The pixels of the canvas."""
    return browser.execute_script("return document.getElementById('crystal').toDataURL()")


@pytest.mark.slow
@pytest.mark.parametrize("width", [400, 1400])
@pytest.mark.parametrize("make", [stable_results, unstable_results, bare_results])
def test_a_page_opens_without_complaints_requests_or_sideways_scrolling(opened, make, width):
    browser = opened(make(), width)
    assert browser.get_log("browser") == []
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    assert [url for url in asked if url.startswith("file:")] != []
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    colours = "const c = document.getElementById('crystal'); return new Set(c.getContext('2d')" \
        ".getImageData(0, 0, c.width, c.height).data).size"  # fmt: skip
    assert browser.execute_script(colours) > 50


@pytest.mark.slow
def test_texts_of_files_are_shown_as_they_are(opened):
    results = stable_results()
    results["ingredients"][0]["source"] = EVIL
    browser = opened(results)
    found = browser.execute_script("return document.querySelector('#ingredients td').textContent")
    assert found == EVIL
    assert browser.execute_script("return document.scripts.length") == 2


@pytest.mark.slow
def test_a_chosen_mode_plays_and_pauses(opened):
    browser = opened(stable_results())
    rest = picture(browser)
    time.sleep(0.3)
    assert picture(browser) == rest
    browser.find_element("css selector", "tr[data-mode='6'] button").click()
    assert text_of(browser, "#mode-text").startswith("Mode 7 (A1): 566.8 cm⁻¹")
    early = picture(browser)
    wait_for(browser, f"return document.getElementById('crystal').toDataURL() !== '{early}'")
    browser.find_element("id", "play").click()
    paused = picture(browser)
    time.sleep(0.3)
    assert picture(browser) == paused != rest


@pytest.mark.slow
def test_who_wants_little_motion_gets_arrows_until_they_play(opened):
    browser = opened(stable_results(), motion="reduce")
    rest = picture(browser)
    browser.find_element("css selector", "tr[data-mode='6'] button").click()
    shown = picture(browser)
    time.sleep(0.3)
    assert picture(browser) == shown != rest
    browser.find_element("id", "play").click()
    wait_for(browser, f"return document.getElementById('crystal').toDataURL() !== '{shown}'")


@pytest.mark.slow
def test_the_keyboard_turns_the_crystal_and_the_view_can_be_reset(opened):
    browser = opened(stable_results())
    first = picture(browser)
    browser.find_element("id", "crystal").send_keys("\ue014\ue013+")  # right, up, larger
    assert picture(browser) != first
    browser.find_element("id", "reset").click()
    assert picture(browser) == first


@pytest.mark.slow
def test_a_pointer_and_the_keyboard_read_the_same_values_off_a_plot(opened):
    from selenium.webdriver import ActionChains

    results = stable_results()
    browser = opened(results)
    plot = browser.find_element("css selector", "#infrared .plot")
    readout = "return document.querySelector('#infrared .readout').textContent"
    browser.execute_script("arguments[0].scrollIntoView()", plot)
    ActionChains(browser).move_to_element(plot).perform()
    found = re.match(r"([\d.]+) cm⁻¹ \(([\d.]+) THz\) · α n = ", browser.execute_script(readout))
    assert 300 < float(found[1]) < 600
    assert float(found[2]) == pytest.approx(0.02998 * float(found[1]), abs=0.01)
    assert browser.execute_script("return document.querySelectorAll('#infrared .crosshair').length") == 1
    plot.send_keys("\ue011" + "\ue014" * 3)  # home, right
    assert browser.execute_script(readout).startswith("3.0 cm⁻¹ (0.09 THz)")
    assert plot.get_attribute("aria-valuetext") == browser.execute_script(readout)


@pytest.mark.slow
def test_bands_are_read_with_the_names_of_their_segment(opened):
    results = stable_results()
    browser = opened(results)
    plot = browser.find_element("css selector", "#bands .plot")
    plot.send_keys("\ue010\ue013\ue013")  # end, up, up: the third band at the last point
    last = results["bands"]["segments"][-1]
    value, path = last["wavenumbers_per_cm"][-1][2], f"{last['from']} to {last['to']}"
    found = text_of(browser, "#bands .readout")
    assert found.startswith(f"{path}, 100 % of the way · band 3: {value:.1f} cm⁻¹")


@pytest.mark.slow
def test_charges_have_the_field_in_rows_and_the_displacement_in_columns(opened):
    results = stable_results()
    results["born_effective_charges_e"][1] = [[1, 2, 3], [4, 5, 6], [7, 8, 9]]
    results["born_effective_charges_std_e"] = None
    browser = opened(results)
    table = browser.execute_script(
        "return [...document.querySelectorAll('#charges table')[1].rows]"
        ".map((row) => [...row.cells].map((cell) => cell.textContent))"
    )
    assert [row[1:] for row in table] == [
        ["u x", "u y", "u z"],
        ["1.000", "2.000", "3.000"],
        ["4.000", "5.000", "6.000"],
        ["7.000", "8.000", "9.000"],
    ]
    assert [row[0] for row in table[1:]] == ["E x", "E y", "E z"]


@pytest.mark.slow
def test_an_ellipsoid_has_the_outline_of_its_projection(opened):
    """The half axes are the singular values of P Z, and no point of P Z u lies outside of the ellipse."""
    browser = opened(stable_results())
    rng = np.random.default_rng(0)
    for _ in range(5):
        tensor, rotation = rng.normal(size=(3, 3)), np.linalg.qr(rng.normal(size=(3, 3)))[0]
        found = browser.execute_script("return outline(...arguments)", tensor.tolist(), rotation.tolist())
        projected = (rotation @ tensor)[:2]
        assert [found["long"], found["short"]] == pytest.approx(np.linalg.svd(projected)[1], rel=1e-6)
        axis = np.array([np.cos(found["angle"]), np.sin(found["angle"])])
        assert np.linalg.norm(axis @ projected) == pytest.approx(found["long"], rel=1e-6)
        longest = browser.execute_script("return longestAxis(arguments[0])", tensor.tolist())
        assert longest == pytest.approx(np.linalg.norm(tensor, 2), rel=1e-2)
        way = rng.normal(size=3)
        way /= np.linalg.norm(way)
        reach = browser.execute_script("return reachAlong(...arguments)", tensor.tolist(), way.tolist())
        assert np.linalg.norm(np.linalg.solve(tensor, reach * way)) == pytest.approx(1.0, rel=1e-6)


@pytest.mark.slow
def test_the_strongest_longitudinal_mode_is_that_of_the_loss_function(opened):
    """The weight is |q.Z|² of the longitudinal mode, up to a factor, although only its frequency is known."""
    atoms, constants, charges = random_crystal(3)
    modes, way = gamma_modes(atoms, constants), np.array([1.0, 0.5, -0.3])
    epsilon = np.diag([3.0, 4.0, 5.0])
    found = longitudinal_modes(modes, charges, atoms.get_volume(), epsilon, way)
    expected = (mode_effective_charges(found, charges) @ way) ** 2
    listed = [
        {"wavenumber_per_cm": float(value), "mode_effective_charge_e_per_sqrt_u": dipole.tolist()}
        for value, dipole in zip(modes.wavenumbers, mode_effective_charges(modes, charges), strict=True)
    ]
    browser = opened(stable_results())
    browser.execute_script("results.modes = arguments[0]", listed)
    script = "return arguments[0].map((line) => longitudinalWeight(line, arguments[1]))"
    weights = browser.execute_script(script, found.wavenumbers.tolist(), way.tolist())
    assert np.array(weights) / sum(weights) == pytest.approx(expected / expected.sum(), rel=1e-6)
    assert expected.max() < 0.9 * expected.sum()  # several modes have a dipole


@pytest.mark.slow
def test_images_on_the_faces_of_the_cell_are_drawn(opened):
    """An atom at the corner has 8 images in one cell and 27 in 2 x 2 x 2, one inside has 1 and 8."""
    browser = opened(stable_results())
    count = "return imagesOf(arguments[0], arguments[1]).length"
    cases = {
        (0, 0, 0): (8, 27),
        (0.3, 0.5, 0.7): (1, 8),
        (0, 0.5, 1): (4, 18),
        (-0.2, 1.4, 1 - 1e-9): (2, 12),
    }
    for place, expected in cases.items():
        assert tuple(browser.execute_script(count, place, cells) for cells in (1, 2)) == expected


@pytest.mark.slow
def test_an_unstable_crystal_is_called_so_and_has_no_static_tensor(opened):
    browser = opened(unstable_results())
    assert text_of(browser, "#stability") == "Unstable: imaginary modes"
    assert "75.2i" in text_of(browser, "#notices")
    assert text_of(browser, "#notices .warning").startswith("Warning: ")
    assert "not defined: unstable" in text_of(browser, "#summary")
    assert "Not defined" in text_of(browser, "#tensors")
    assert "unstable mode" in text_of(browser, "#optics")
    assert "75.2i unstable" in text_of(browser, "tr[data-mode='0']")
    assert "no committee" in text_of(browser, "#certainty")


@pytest.mark.slow
def test_what_is_absent_is_replaced_by_the_reason(opened):
    browser = opened(bare_results())
    assert text_of(browser, "#stability") == "Stable"
    for place in ("bands", "optics", "infrared", "thermal", "longitudinal", "tensors"):
        assert len(text_of(browser, f"#{place} .absent").split()) > 4
    assert "taken as it was given" in text_of(browser, "#made")


@pytest.mark.slow
def test_numbers_have_as_many_digits_as_their_standard_deviation_allows(opened):
    browser = opened(stable_results())
    cases = {
        (9.1943, 0.2831, 3): "9.19 ± 0.28",
        (-2.6, 0.0561, 3): "−2.600 ± 0.056",
        (1273.4, 54.9, 1): "1273 ± 55",
        (-1e-9, None, 2): "0.00",
        (1e-9, 1e-9, 3): "0",
        (758.2, 1e-9, 1): "758.2 ± 0.0",
    }
    for values, expected in cases.items():
        assert browser.execute_script("return withStd(...arguments)", *values) == expected
    assert browser.execute_script("return [-75.2, 75.2, -0.001].map((value) => wavenumber(value))") == [
        "75.2i",
        "75.2",
        "0.0",
    ]


@pytest.mark.slow
def test_space_groups_have_bars_and_subscripts(opened):
    browser = opened(stable_results())
    script = "return spaceGroupNodes(arguments[0]).map((part) => part.outerHTML ?? part).join('')"
    assert browser.execute_script(script, "P6_3/mmc") == "P6<sub>3</sub>/mmc"
    assert browser.execute_script(script, "Fm-3m") == 'Fm<span class="bar" aria-label="3 bar">3</span>m'


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_can_be_told_from_what_they_stand_on(opened, scheme):
    """The contrast of WCAG, (L + 0.05) / (L' + 0.05) of relative luminances, is at least 4.5."""
    browser = opened(stable_results(), scheme=scheme)
    pairs = [("ink", "paper"), ("quiet", "paper"), ("quiet", "tint"), ("link", "paper"), ("ink", "chosen")]
    pairs += [(f"{name}", f"{name}-tint") for name in ("bad", "warning", "good")]
    for names in pairs:
        colours = browser.execute_script("return arguments[0].map(colour)", names)
        low, high = sorted(luminance(colour) for colour in colours)
        assert (high + 0.05) / (low + 0.05) > 4.5, names


def luminance(colour):
    """Relative luminance of #rrggbb, by the definition of sRGB."""
    parts = np.array([int(colour[k : k + 2], 16) for k in (1, 3, 5)]) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])
