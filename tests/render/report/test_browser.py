"""The page in a real browser, at three widths, in light and dark and on paper: what no parser sees.

Chromium is the system's, driven by playwright; axe-core looks for what keeps people with a screen reader out.
"""

import shutil

import pytest

from diagnostics import report
from tests.render.report.pages import RESULTS

playwright = pytest.importorskip("playwright.sync_api", reason="no playwright here: pip install playwright")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: apt-get install chromium"),
]
WIDTHS, SCHEMES = (360, 768, 1280), ("light", "dark")
PAPER = 688  # pixels between the margins of an A4 page
LEAST_CONTRAST = 4.5

WIDER = """() => {
  const width = document.documentElement.clientWidth, inside = (element) => element.closest(".box, .hidden, .skip");
  const wide = [...document.body.querySelectorAll("*")].filter((element) => !element.ownerSVGElement
    && !inside(element.parentElement) && element.getBoundingClientRect().right > width + 1);
  return {page: document.documentElement.scrollWidth - width, elements: wide.map((element) => element.outerHTML.slice(0, 80))};
}"""
# Of every text that is seen: its colour against the first ground below it that is not transparent.
CONTRAST = """() => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", {willReadFrequently: true});
  const channels = (colour) => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const luminance = ([r, g, b]) => [r, g, b].map((c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, k) => sum + c * [0.2126, 0.7152, 0.0722][k], 0);
  const ground = (element) => {
    for (; element; element = element.parentElement) {
      const found = channels(getComputedStyle(element).backgroundColor);
      if (found[3] === 255) return found;
    }
    return channels(getComputedStyle(document.documentElement).colorScheme.includes("dark") ? "black" : "white");
  };
  const measured = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.textContent.trim(), parent = walker.currentNode.parentElement;
    if (!text || !parent || parent.closest("script, title, .hidden, .skip")) continue;
    const style = getComputedStyle(parent), letters = channels(parent.ownerSVGElement ? style.fill : style.color);
    const [a, b] = [luminance(letters), luminance(ground(parent))].sort((x, y) => y - x);
    measured.push({ratio: (a + 0.05) / (b + 0.05), text, letters, ground: ground(parent)});
  }
  return measured;
}"""
COLUMN = """(button) => {
  const head = button.closest("th"), rows = [...head.closest("table").tBodies[0].rows];
  return {sort: head.getAttribute("aria-sort"), rows: rows.map((row) => row.innerText),
          keys: rows.map((row) => row.cells[head.cellIndex].dataset.key ?? row.cells[head.cellIndex].innerText)};
}"""


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    out = tmp_path_factory.mktemp("report") / "all.html"
    assert report.main([*map(str, RESULTS), "--out", str(out)]) == 0
    return out.as_uri()


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        one = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield one
        one.close()


@pytest.fixture
def opened(browser, url):
    """`opened(width, scheme)`: the page; fails at the end where it asked for anything, or complained."""
    heard, contexts = [], []

    def open_(width=1280, scheme="light", **options):
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("request", lambda request: heard.append(request.url) if request.url != url else None)
        page.on("console", lambda message: heard.append(message.text))
        page.on("pageerror", lambda error: heard.append(str(error)))
        page.goto(url)
        return page

    yield open_
    for context in contexts:
        context.close()
    assert [each for each in heard if not each.startswith("data:")] == []


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_nothing_is_wider_than_the_screen(opened, width, scheme):
    assert opened(width, scheme).evaluate(WIDER) == {"page": 0, "elements": []}


def test_nothing_is_wider_than_the_paper(opened):
    page = opened(PAPER)
    page.emulate_media(media="print")
    assert page.evaluate(WIDER) == {"page": 0, "elements": []}
    wide = page.evaluate("() => [...document.querySelectorAll('.box > *')].filter((each) => each.getBoundingClientRect().right > innerWidth + 1).map((each) => each.innerText.slice(0, 60))")  # fmt: skip
    assert wide == []


@pytest.mark.parametrize("scheme", [*SCHEMES, "print"])
def test_everything_written_can_be_read(opened, scheme):
    page = opened(scheme="dark" if scheme == "print" else scheme)
    if scheme == "print":
        page.emulate_media(media="print", color_scheme="dark")
    measured = page.evaluate(CONTRAST)
    assert len(measured) > 1000
    grounds = {tuple(each["ground"][:3]) for each in measured}
    assert all((sum(ground) < 3 * 64) == (scheme == "dark") for ground in grounds)
    assert [each for each in measured if each["ratio"] < LEAST_CONTRAST] == []


def sorted_well(column, *, down=False):
    numbers = [float(key) for key in column["keys"] if key not in ("", "–")]
    missing = [key in ("", "–") for key in column["keys"]]
    return numbers == sorted(numbers, reverse=down) and missing == sorted(missing)


@pytest.mark.parametrize("how", ["mouse", "Enter", "Space"])
def test_a_table_is_sorted_by_its_heads(opened, how):
    page = opened()
    tables = page.locator("table.sortable")
    assert tables.count() > 8
    for k in range(tables.count()):
        buttons = tables.nth(k).locator("thead th.number button")
        button = buttons.nth(buttons.count() - 1)
        before = sorted(button.evaluate(COLUMN)["rows"])
        for direction in ("ascending", "descending"):
            if how == "mouse":
                button.click()
            else:
                button.press(how)
            column = button.evaluate(COLUMN)
            assert column["sort"] == direction
            assert sorted_well(column, down=direction == "descending")
            assert sorted(column["rows"]) == before
        assert tables.nth(k).locator("[aria-sort=ascending], [aria-sort=descending]").count() == 1


def test_words_are_sorted_as_words_and_numbers_in_them_as_numbers(opened):
    """Of the table over gain, whose first column is `Gaussian, gain 0.75`."""
    page = opened()
    table = page.locator("table.sortable", has_text="over gain")
    button = table.locator("thead th:first-child button")
    first = button.evaluate(COLUMN)["keys"]
    gains = [float(words.split()[-1]) for words in first]
    assert gains == sorted(gains)
    assert first != sorted(first) or len(first) > 3
    button.click()
    assert button.evaluate(COLUMN)["keys"] == first
    button.click()
    assert button.evaluate(COLUMN)["keys"] == first[::-1]


def test_a_pointer_or_a_finger_on_a_line_shows_its_value(opened):
    for touch in (False, True):
        page = opened(has_touch=touch)
        figure = page.locator("figure").first
        target = figure.locator(".values rect").nth(3)
        expected = " · ".join(target.locator("title").text_content().split("\n"))
        assert figure.locator(".value").inner_text() == ""  # the hint is of the style
        (target.tap if touch else target.hover)(force=True)
        shown = figure.locator(".value").inner_text()
        titles = [" · ".join(t.split("\n")) for t in figure.locator(".values title").all_text_contents()]
        assert expected in titles
        assert shown in titles  # where values lie upon each other, that of the last one


def test_the_drawings_change_with_the_paper(opened):
    inks = {}
    for scheme in SCHEMES:
        page = opened(scheme=scheme)
        inks[scheme] = page.evaluate(
            "() => [...document.querySelectorAll('figure svg')].map((svg) => getComputedStyle(svg.querySelector('text')).fill)"
        )
    assert set(inks["light"]) == {"rgb(27, 31, 36)"}
    assert set(inks["dark"]) == {"rgb(233, 236, 239)"}


def test_what_can_be_scrolled_can_be_reached_by_keyboard(opened):
    page = opened(360)
    boxes = page.evaluate("() => [...document.querySelectorAll('*')].filter((e) => e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).overflowX === 'auto').map((e) => e.tabIndex)")  # fmt: skip
    assert len(boxes) > 10
    assert set(boxes) == {0}


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_axe_finds_no_barrier(opened, width, scheme):
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="no axe here: pip install axe-playwright-python"
    )
    found = axe.Axe().run(opened(width, scheme))
    assert [(each["id"], each["nodes"][0]["html"][:200]) for each in found.response["violations"]] == []
    assert len(found.response["passes"]) > 20


def test_it_works_without_a_script(opened):
    page = opened(java_script_enabled=False)
    assert page.locator("figure svg").count() == 15
    assert page.locator("h1").inner_text()


def test_paper_has_all_of_it(opened, tmp_path):
    page = opened()
    page.pdf(path=tmp_path / "page.pdf", format="A4")
    content = (tmp_path / "page.pdf").read_bytes()
    assert content.startswith(b"%PDF")
    assert 5 < content.count(b"/Type /Page\n") < 40
