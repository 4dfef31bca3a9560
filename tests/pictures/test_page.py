"""The page about a run: whole by itself, and whatever a name or a message holds stays text."""

import re
from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from cryoburst.pictures.page import Page, Picture, Table, render

TAGS = {"html", "head", "meta", "title", "style", "body", "main", "header", "p", "h1", "h2", "dl", "div", "dt", "dd"}
TAGS |= {"figure", "img", "figcaption", "section", "pre", "details", "summary", "table", "thead", "tbody", "tr", "th"}
TAGS |= {"td", "wbr", "footer"}


class Reader(HTMLParser):
    """Gathers the tags, the text and the addresses of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.text: list[str] = []
        self.addresses: list[str] = []
        self.handlers: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]
        self.handlers += [name for name, _ in attrs if name.startswith("on") or name == "style"]

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def read(page: Page) -> Reader:
    reader = Reader()
    reader.feed(render(page))
    return reader


@given(
    st.text(max_size=40), st.sampled_from(["<script>alert(1)</script>", "</pre><img src=x onerror=y>", '" onload="x'])
)
def test_whatever_comes_from_outside_stays_text(text: str, bad: str) -> None:
    word = text + bad
    page = Page(
        word,
        word,
        word,
        "good",
        word,
        [(word, word)],
        [Picture(b"png", word)],
        [(word, word)],
        word,
        word,
        [Table(word, (word,), [(word,)], (word,), folded=True, note=word), Table(word, (word,), [(word,)])],
        word,
    )
    reader = read(page)
    assert reader.tags <= TAGS
    assert all(address.startswith("data:image/png;base64,") for address in reader.addresses)
    assert not reader.handlers


def test_nothing_is_fetched_from_elsewhere() -> None:
    text = render(Page("t", "s", "Succeeded", "good", pictures=[Picture(b"png", "what")]))
    assert not re.findall(r"https?://|url\(|@import|<script|<link", text)
    assert "default-src 'none'" in text
    assert 'name="viewport"' in text


def test_what_is_empty_is_left_out() -> None:
    tags = read(Page("t", "s", "Running", "open")).tags
    assert not tags & {"section", "figure", "table", "pre", "footer"}
