"""One page about one run: HTML that needs nothing but itself, for a laptop and a phone, by day and by night.

Every text comes from outside (names of jobs and files, commands, messages of programs) and is escaped; the page's own
policy forbids scripts and anything that is not in it.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


@dataclass(frozen=True)
class Picture:
    """A PNG, and what it shows for those who can't see it."""

    png: bytes
    says: str


@dataclass(frozen=True)
class Table:
    """Rows under a heading. The columns named in ``right`` hold numbers. ``folded``: shown when it is asked for."""

    title: str
    head: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    right: tuple[str, ...] = ()
    folded: bool = False
    note: str = ""


@dataclass(frozen=True)
class Page:
    """What is on it, from above to below. ``mood`` is good, bad or open: how it ended."""

    title: str
    subtitle: str
    state: str
    mood: str
    lead: str = ""
    tiles: Sequence[tuple[str, str]] = ()  # what, how much: the few numbers that one wants first
    pictures: Sequence[Picture] = ()
    facts: Sequence[tuple[str, str]] = ()
    code: str = ""
    script: str = ""  # shown when it is asked for
    tables: Sequence[Table] = ()
    foot: str = ""


def render(page: Page) -> str:
    """The page as HTML."""
    parts = [
        f'<header><p class="state {page.mood}">{escape(page.state)}</p><h1>{escape(page.title)}</h1>'
        f'<p class="sub">{escape(page.subtitle)}</p></header>'
    ]
    if page.lead:
        parts.append(f'<p class="lead {page.mood}">{escape(page.lead)}</p>')
    if page.tiles:
        tiles = "".join(f"<div><dt>{escape(what)}</dt><dd>{escape(value)}</dd></div>" for what, value in page.tiles)
        parts.append(f'<dl class="tiles">{tiles}</dl>')
    parts += [_picture(each) for each in page.pictures]
    if page.facts:
        rows = "".join(f"<div><dt>{escape(what)}</dt><dd>{_wrapped(value)}</dd></div>" for what, value in page.facts)
        parts.append(f'<section><h2>Facts</h2><dl class="facts">{rows}</dl></section>')
    if page.code:
        whole = f"<details><summary>The whole script</summary><pre>{escape(page.script)}</pre></details>"
        more = whole if page.script else ""
        parts.append(f"<section><h2>Command</h2><pre>{escape(page.code)}</pre>{more}</section>")
    parts += [_table(each) for each in page.tables]
    if page.foot:
        parts.append(f"<footer>{escape(page.foot)}</footer>")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(page.title)}</title><style>{STYLE}</style></head>\n<body><main>\n"
        + "\n".join(parts)
        + "\n</main></body></html>\n"
    )


def _picture(picture: Picture) -> str:
    data = base64.b64encode(picture.png).decode()
    image = f'<div class="scroll"><img alt="{escape(picture.says)}" src="data:image/png;base64,{data}"></div>'
    return f"<figure>{image}<figcaption>{escape(picture.says)}</figcaption></figure>"


def _table(table: Table) -> str:
    def row(cells: Sequence[str], tag: str) -> str:
        made = (
            f"<{tag}{' class=right' if name in table.right else ''}>{_wrapped(cell)}</{tag}>"
            for cell, name in zip(cells, table.head, strict=True)
        )
        return f"<tr>{''.join(made)}</tr>"

    body = "".join(row(cells, "td") for cells in table.rows)
    inside = f'<div class="scroll"><table><thead>{row(table.head, "th")}</thead><tbody>{body}</tbody></table></div>'
    if table.note:
        inside += f'<p class="sub">{escape(table.note)}</p>'
    if table.folded:
        return f"<section><details><summary>{escape(table.title)}</summary>{inside}</details></section>"
    return f"<section><h2>{escape(table.title)}</h2>{inside}</section>"


def _wrapped(text: str) -> str:
    """Escaped, with places where a long path may be broken."""
    return escape(text).replace("/", "/<wbr>").replace("_", "_<wbr>")


STYLE = """
:root{color-scheme:light dark;--ink:#1b1f24;--grey:#667079;--line:#e3e7eb;--paper:#f6f7f9;--card:#fff;--good:#2b8a3e;
--bad:#c92a2a;--open:#1668b8}
@media(prefers-color-scheme:dark){:root{--ink:#e6e9ed;--grey:#9aa4ae;--line:#2e353d;--paper:#14181c;--card:#1c2127;
--good:#69c37d;--bad:#ff8f8f;--open:#74b3ee}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,-apple-system,"Segoe UI",sans-serif;
-webkit-text-size-adjust:100%}
main{max-width:62rem;margin:0 auto;padding:2rem 1.25rem 3rem}
header{margin-bottom:1.5rem}
h1{font-size:clamp(1.5rem,5vw,2.1rem);line-height:1.2;margin:.35rem 0 .2rem;overflow-wrap:anywhere}
h2,summary{font-size:1.05rem;font-weight:650;margin:0 0 .8rem}
summary{cursor:pointer;margin:0}details[open] summary{margin-bottom:.8rem}
.sub{color:var(--grey);margin:0;overflow-wrap:anywhere}
.state{display:inline-block;margin:0;padding:.1rem .7rem;border-radius:1rem;font-size:.85rem;font-weight:650;
color:#fff;background:var(--open)}
.state.good{background:#2b8a3e}.state.bad{background:#c92a2a}.state.open{background:#1668b8}
.lead{border-left:4px solid var(--open);padding:.2rem 0 .2rem .9rem;margin:0 0 1.5rem;overflow-wrap:anywhere}
.lead.good{border-color:var(--good)}.lead.bad{border-color:var(--bad)}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(8.5rem,1fr));gap:.75rem;margin:0 0 1.5rem}
.tiles div,section,figure{background:var(--card);border:1px solid var(--line);border-radius:.6rem}
.tiles div{padding:.7rem .75rem}.tiles dt{color:var(--grey);font-size:.85rem}
.tiles dd{margin:0;font-size:1.1rem;font-weight:650;overflow-wrap:anywhere}
figure{margin:0 0 1rem;padding:.75rem;background:#fff}
img{display:block;width:100%;height:auto}
figcaption{display:none;color:#667079;font-size:.9rem;padding:.5rem .35rem 0;overflow-wrap:anywhere}
pre+details{margin-top:1rem}details pre{color:var(--grey)}pre+details summary{font-size:.9rem;font-weight:500}
section{padding:1.1rem 1.25rem;margin:0 0 1rem}
.facts{margin:0}.facts div{display:grid;grid-template-columns:9rem 1fr;gap:.25rem 1rem;padding:.35rem 0;
border-top:1px solid var(--line)}.facts div:first-child{border-top:0}
.facts dt{color:var(--grey)}.facts dd{margin:0;overflow-wrap:anywhere}
pre{margin:0;overflow:auto;font:13px/1.55 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;white-space:pre-wrap;
overflow-wrap:anywhere}
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:.92rem}
th{color:var(--grey);font-weight:500;text-align:left}th,td{padding:.35rem .9rem .35rem 0;vertical-align:top;
border-bottom:1px solid var(--line)}tr:last-child td{border-bottom:0}
.right{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
footer{color:var(--grey);font-size:.85rem;margin-top:1.5rem;overflow-wrap:anywhere}
@media(max-width:34rem){main{padding:1.25rem .9rem 2rem}.facts div{grid-template-columns:1fr;gap:0}
section{padding:.9rem}figure{padding:.4rem}figcaption{display:block}figure img{width:42rem;max-width:none}}
@media print{body{background:#fff}section,figure{break-inside:avoid}}
"""
