"""Markdown as one HTML file that needs nothing beside it: pictures within, no script, no address of anything else."""

from __future__ import annotations

import base64
import re
from pathlib import Path

from markdown_it import MarkdownIt

STYLE = """
:root { color-scheme: light dark; --ink: #1f2328; --paper: #ffffff; --line: #d0d7de; --shade: #f3f5f7; --dim: #57606a;
  --holds: #1a7f37; --fails: #b42318; --undecided: #8a6100; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e6e6; --paper: #16181b; --line: #3a3f45; --shade: #202428;
  --dim: #a0a7af; --holds: #5cc97a; --fails: #ff8a80; --undecided: #e3b341; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 78rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; }
h1, h2, h3 { line-height: 1.25; margin: 2rem 0 .6rem; }
h1 { margin-top: .5rem; }
p { max-width: 46rem; }
.table { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
caption { caption-side: bottom; text-align: left; padding: .4rem 0; color: var(--dim); }
th, td { padding: .3rem .6rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
table.wide td:first-child { white-space: normal; min-width: 16rem; }
thead th { background: var(--shade); }
th:first-child, td:first-child { position: sticky; left: 0; background: var(--paper); }
thead th:first-child { background: var(--shade); }
table.many { font-size: .78rem; }
table.many th, table.many td { padding: .25rem .4rem; }
thead th, table.many th { white-space: normal; }
pre { background: var(--shade); padding: .8rem; overflow-x: auto; border-radius: 6px; white-space: pre-wrap;
  overflow-wrap: anywhere; }
figure { margin: 1rem 0; overflow-x: auto; }
figure img { max-width: 100%; height: auto; background: #ffffff; border-radius: 6px; }
figcaption { color: var(--dim); font-size: .9rem; }
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 26rem), 1fr)); gap: 1rem; }
.gallery figure { margin: 0; }
.holds, .fails, .undecided { font-weight: 600; }
.holds { color: var(--holds); } .fails { color: var(--fails); } .undecided { color: var(--undecided); }
@media (max-width: 44rem) { th:first-child, td:first-child, table.wide td:first-child { white-space: normal;
  min-width: 7rem; max-width: 10rem; overflow-wrap: anywhere; } main > figure img { max-width: none; width: 44rem; }
  figcaption { position: sticky; left: 0; max-width: calc(100vw - 2rem); } }
@media print { :root { --ink: #000; --paper: #fff; --line: #999; --shade: #eee; --dim: #444; --holds: #060;
  --fails: #900; --undecided: #640; } body { max-width: none; padding: 0; font-size: 10pt; }
  .table { overflow: visible; } table { font-size: 7.5pt; } th, td { padding: .15rem .3rem; white-space: normal; }
  figure, tr { break-inside: avoid; } h2, h3 { break-after: avoid; } }
"""
# Of the HTML that the Markdown makes, in which every text is escaped.
CAPTION = r"(?:<p><em>(?P<caption>[^<]*)</em></p>\n)?"
PICTURE = re.compile(r'<p><img src="(?P<path>[^"]*)" alt="(?P<alt>[^"]*)" /></p>\n' + CAPTION)
GALLERY = re.compile(r"(?:<figure>.*</figure>\n){2,}")
TABLE = re.compile(r"<table>\n(?P<rows>.*?)</table>\n" + CAPTION, re.DOTALL)
VERDICT = re.compile(r"<td>(holds|fails|undecided)</td>")


def page(text: str, folder: Path) -> str:
    """Markdown as an HTML document; pictures are read from `folder`, and those in a row stand side by side.

    An emphasised paragraph behind a picture or a table is its caption.
    """
    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(text)
    body = body.replace(' style="text-align:right"', "").replace("\n</code>", "</code>")
    body = PICTURE.sub(lambda found: _figure(folder, **found.groupdict("")), body)
    body = GALLERY.sub(r'<div class="gallery">\n\g<0></div>\n', body)
    body = TABLE.sub(lambda found: _table(**found.groupdict("")), body)
    title = re.search(r"<h1>(.*)</h1>", body)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title[1] if title else 'Report'}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        f"{body}</main>\n</body>\n</html>\n"
    )


def _figure(folder: Path, path: str, alt: str, caption: str) -> str:
    data = base64.b64encode((folder / path).read_bytes()).decode("ascii")
    image = f'<img src="data:image/png;base64,{data}" alt="{alt}">'
    return f"<figure>{image}<figcaption>{caption}</figcaption></figure>\n"


def _table(rows: str, caption: str) -> str:
    """In a box that scrolls; one with long names, or with many columns, is set otherwise."""
    kinds = ["wide"] * bool(re.search(r"<tr>\n<td>[^<]{41,}", rows)) + ["many"] * (rows.count("<th>") > 9)
    wide = f' class="{" ".join(kinds)}"' if kinds else ""
    below = f"<caption>{caption}</caption>\n" if caption else ""
    rows = VERDICT.sub(r'<td class="\1">\1</td>', rows).replace("<th>", '<th scope="col">')
    return f'<div class="table"><table{wide}>\n{below}{rows}</table></div>\n'
