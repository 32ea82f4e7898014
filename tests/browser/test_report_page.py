"""Reports in a real browser: no request, no error, tables and figures that work by pointer and by keyboard."""

import importlib.util
import json
import math
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from run_folders import decay_run, fusion_run, replay_run
from spikelore import report

WIDTHS = (375, 768, 1280)
HOSTILE = "<img src=x onerror=alert(1)>\"' onload='alert(2)"


def _missing() -> str:
    programs = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    packages = [name for name in ("selenium", "axe_core_python") if importlib.util.find_spec(name) is None]
    return ", ".join([*programs, *packages])


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium that tells its console and what it asks of the network."""
    if missing := _missing():
        reason = f"no {missing}: apt-get install chromium chromium-driver; pip install selenium axe-core-python"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    for word in ("headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage"):
        options.add_argument(f"--{word}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A page of each experiment, of several runs of one and of a sweep; names in them are hostile where they can be."""
    home = tmp_path_factory.mktemp("pages")
    runs = [fusion_run(home / f"seed{n}", seed=n, shift=0.02 * n, data=("digits", HOSTILE)) for n in range(2)]
    for images in (40, 80):
        for seed in range(2):
            folder = home / "swept" / f"memory.images={images}" / f"seed{seed}"
            replay_run(folder, seed=seed, images=images, label=HOSTILE, shift=0.001 * images + 0.01 * seed)
    return {
        "fusion": report.write(fusion_run(home / "fusion", data=("digits", HOSTILE))),
        "decay": report.write(decay_run(home / "decay")),
        "replay": report.write(replay_run(home / "replay", label=HOSTILE)),
        "runs": report.compare(runs, home / "runs"),
        "sweep": report.write(home / "swept"),
    }


@pytest.fixture(params=["fusion", "decay", "replay", "runs", "sweep"])
def page(request: pytest.FixtureRequest, pages: dict[str, Path]) -> Path:
    return pages[request.param]


def look(browser: Any, page: Path, width: int = 1280, scheme: str = "light") -> None:
    """Open a page in a window of a width and a scheme of colours."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"media": "", "features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )
    pointer = {"type": "mouseMoved", "x": 0, "y": 0}  # from where an earlier test left it
    browser.execute_cdp_cmd("Input.dispatchMouseEvent", pointer)
    for log in ("browser", "performance"):
        browser.get_log(log)
    browser.get(page.as_uri())
    browser.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")


def column(browser: Any, table: Any, head: int) -> list[list[str]]:
    """Return the visible cells of a column, a list for each group of rows."""
    return browser.execute_script(
        "return [...arguments[0].tBodies].map((body) => [...body.rows]"
        ".filter((row) => !row.hidden && !row.classList.contains('group'))"
        ".map((row) => row.cells[arguments[1]].firstChild?.textContent ?? ''))",
        table, head,
    )  # fmt: skip


def press(browser: Any, *keys: str) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    ActionChains(browser).send_keys(*keys).perform()


def told(browser: Any) -> str:
    return browser.execute_script("return document.getElementById('tip').textContent")


def test_nothing_is_asked_of_the_network_and_the_console_is_silent(browser: Any, page: Path):
    look(browser, page)
    events = [json.loads(line["message"])["message"] for line in browser.get_log("performance")]
    asked = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
    assert {url for url in asked if not url.startswith("data:")} == {page.as_uri()}
    assert browser.get_log("browser") == []
    assert browser.execute_script("return document.querySelectorAll('main img').length") == 0
    assert browser.execute_script("return document.scripts.length") == 1


def test_a_page_that_asks_for_something_is_caught_and_stopped(browser: Any, pages: dict[str, Path]):
    bad = pages["decay"].with_name("bad.html")
    text = pages["decay"].read_text()
    bad.write_text(text.replace("</main>", "<img src='http://localhost:9/x.png' onerror='document.title = 1'></main>"))
    look(browser, bad)
    assert any("Content Security Policy" in line["message"] for line in browser.get_log("browser"))
    assert browser.title != "1"


@pytest.mark.parametrize("width", WIDTHS)
def test_every_figure_is_drawn_and_nothing_makes_the_page_wider(browser: Any, page: Path, width: int):
    look(browser, page, width)
    boxes = browser.execute_script(
        "return [...document.querySelectorAll('figure svg')].map((svg) => {"
        "const box = svg.getBoundingClientRect(), inner = svg.getBBox();"
        "return [box.width, box.height, inner.width, inner.height] })"
    )
    assert len(boxes) == len(list((page.parent / "figures").glob("*.svg"))) >= 2
    assert all(box[0] > 300 and min(box[1:]) > 60 for box in boxes), boxes
    wide, body = browser.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
    assert wide <= body == width
    parts = browser.execute_script(
        "return [...document.querySelectorAll('.scroll')].map((part) => [part.scrollWidth > part.clientWidth,"
        "getComputedStyle(part.parentElement.querySelector('.hint')).display != 'none'])"
    )
    assert all(scrolls == hinted for scrolls, hinted in parts)
    assert (
        browser.execute_script(
            "return [...document.querySelectorAll('td')].filter((cell) => cell.scrollWidth > cell.clientWidth).length"
        )
        == 0
    ), "words of a cell lie on the next one"
    assert width > 400 or any(scrolls for scrolls, _ in parts)


def test_a_table_sorts_by_click_and_by_keyboard(browser: Any, page: Path):
    from selenium.webdriver.common.keys import Keys

    look(browser, page)
    for table in browser.find_elements("css selector", "table"):
        heads = table.find_elements("css selector", "thead th")
        before = column(browser, table, 0)
        last = len(heads) - 1
        button = heads[last].find_element("tag name", "button")
        button.click()
        assert heads[last].get_attribute("aria-sort") == "ascending"
        up = column(browser, table, last)
        numbers = [[float(t.partition(" ± ")[0].replace(",", "")) for t in part if t[:1].isdigit()] for part in up]
        assert numbers == [sorted(part) for part in numbers]
        button.send_keys(Keys.ENTER)
        assert heads[last].get_attribute("aria-sort") == "descending"
        down = column(browser, table, last)
        assert [[t for t in part if t[:1].isdigit()] for part in down] != [] or not any(numbers)
        numbers = [[float(t.partition(" ± ")[0].replace(",", "")) for t in part if t[:1].isdigit()] for part in down]
        assert numbers == [sorted(part, reverse=True) for part in numbers]
        heads[0].find_element("tag name", "button").send_keys(Keys.SPACE)
        assert [head.get_attribute("aria-sort") for head in heads] == ["ascending"] + [None] * last
        assert [sorted(part) for part in column(browser, table, 0)] == [sorted(part) for part in before]


def test_a_table_shows_the_rows_that_are_asked_for(browser: Any, pages: dict[str, Path]):
    look(browser, pages["fusion"])
    table = browser.find_element("css selector", "table")
    box = browser.find_element("css selector", "input[type=search]")
    all_rows = sum(map(len, column(browser, table, 0)))
    box.send_keys("FUSED best")
    assert column(browser, table, 0) == [[], ["fused"]]
    assert browser.find_element("css selector", "output").text == f"1 of {all_rows} rows"
    headings = [row.is_displayed() for row in table.find_elements("css selector", "tr.group")]
    assert headings == [False, True]
    box.clear()
    box.send_keys("no such row")
    assert column(browser, table, 0) == [[], []]
    box.clear()
    press(browser, "b", "\b")
    browser.execute_script("arguments[0].dispatchEvent(new Event('input'))", box)
    assert sum(map(len, column(browser, table, 0))) == all_rows


def test_figures_tell_their_values_by_pointer_and_by_keyboard(browser: Any, pages: dict[str, Path]):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    look(browser, pages["fusion"])
    chart = browser.find_element("css selector", "[aria-label='Activity against the sum of all its weights']")
    marks = json.loads(chart.get_attribute("data-marks"))
    x, y, text = next(  # one that is alone
        one for one in marks if sum(math.dist(one[:2], other[:2]) < 9 for other in marks) == 1
    )
    assert "test images decided: " in text
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", chart)
    svg = chart.find_element("tag name", "svg")
    box = svg.rect
    scale = browser.execute_script("return arguments[0].getScreenCTM().a", svg)
    ActionChains(browser).move_to_element_with_offset(
        svg, round(x * scale - box["width"] / 2) + 1, round(y * scale - box["height"] / 2) + 1
    ).perform()
    assert told(browser) == text
    press(browser, Keys.ESCAPE)
    browser.execute_script("arguments[0].focus()", chart)
    press(browser, Keys.ESCAPE)
    assert told(browser) == ""
    press(browser, Keys.ARROW_RIGHT)
    first = told(browser)
    press(browser, Keys.ARROW_RIGHT)
    assert {first, told(browser)} <= {mark[2] for mark in marks}
    tip = browser.find_element("id", "tip").rect
    assert tip["x"] >= 0
    assert tip["width"] > 50


def test_every_control_is_reached_by_the_tab_key(browser: Any, page: Path):
    from selenium.webdriver.common.keys import Keys

    look(browser, page)
    wanted = "a[href], button, input, summary, [tabindex='0']"
    count = browser.execute_script(
        f'return [...document.querySelectorAll("{wanted}")].filter((one) => one.checkVisibility()).length'
    )
    reached = set()
    for _ in range(count):
        press(browser, Keys.TAB)
        reached.add(
            browser.execute_script("return [...document.querySelectorAll('*')].indexOf(document.activeElement)")
        )
    assert len(reached) == count > 10


@pytest.mark.parametrize(("width", "scheme"), [(375, "light"), (1280, "dark")])
def test_axe_finds_nothing_to_mend(browser: Any, page: Path, width: int, scheme: str):
    from axe_core_python.selenium import Axe

    look(browser, page, width, scheme)
    # Axe judges no words on a gradient, as the shadows at the edges of what scrolls are, and none in figures.
    browser.execute_script("for (const one of document.querySelectorAll('.scroll')) one.style.background = 'none'")
    browser.execute_script("for (const one of document.querySelectorAll('details')) one.open = true")
    found = Axe().run(browser, {"exclude": [["figure svg *"]]})
    assert [(one["id"], one["nodes"][0]["html"]) for one in found["violations"]] == []
    assert [one["nodes"][0]["html"] for one in found["incomplete"] if one["id"] == "color-contrast"] == []
    passed = {one["id"]: len(one["nodes"]) for one in found["passes"]}
    assert passed["color-contrast"] > 30
    assert passed["button-name"] >= 3


def luminance(colour: str) -> float:
    red, green, blue = (
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
        for c in (int(part) / 255 for part in colour[4:-1].split(",")[:3])
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_in_figures_have_contrast_too(browser: Any, page: Path, scheme: str):
    """But for those of figures with cells of colour, which lie on many colours."""
    look(browser, page, 1280, scheme)
    colours = browser.execute_script(
        "return [...document.querySelectorAll('figure svg text')].filter((text) => !text.closest('svg').querySelector("
        "'[id*=QuadMesh]')).map((text) => getComputedStyle(text).fill)"
    )
    paper = luminance(
        browser.execute_script("return getComputedStyle(document.body).backgroundColor.replace('rgba', 'rgb')")
    )
    assert len(colours) > 10
    for colour in set(colours):
        light, dark = sorted((luminance(colour), paper), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, colour


def test_on_paper_everything_is_light_and_as_wide_as_the_sheet(browser: Any, page: Path):
    look(browser, page, 1280, "dark")
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {"media": "print", "features": [{"name": "prefers-color-scheme", "value": "dark"}]},
    )
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 700, "height": 990, "deviceScaleFactor": 1, "mobile": False}
    )
    time.sleep(0.1)
    colour, shown = browser.execute_script(
        "return [getComputedStyle(document.body).backgroundColor, [...document.querySelectorAll('nav, .tools, .hint')]"
        ".filter((one) => one.checkVisibility()).length]"
    )
    assert colour == "rgb(255, 255, 255)"
    assert shown == 0
    upright, sideways = browser.execute_script(
        "return [false, true].map((wide) => Math.max(0, ...[...document.querySelectorAll('figure svg, table')].filter("
        "(one) => wide === (one.localName === 'table' && one.closest('.wide') !== null))"
        ".map((one) => one.getBoundingClientRect().right)))"
    )
    assert 200 < upright <= 700
    assert sideways <= 1000  # on a sheet of its own that lies on its side
