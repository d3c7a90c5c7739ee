"""A report as one HTML file that needs nothing beside it: pictures within, no script, no address of anything else."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path

from polyvae.study.document import Block, Code, Grid, Heading, Picture, Text

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
VERDICTS = ("holds", "fails", "undecided")


def page(blocks: Sequence[Block], folder: Path, language: str = "en") -> str:
    """The blocks as an HTML document; pictures are read from `folder`. Pictures in a row stand side by side."""
    title = next((block.text for block in blocks if isinstance(block, Heading)), "Report")
    body, place = [], 0
    while place < len(blocks):
        end = place
        while end < len(blocks) and isinstance(blocks[end], Picture):
            end += 1
        if end - place > 1:
            inside = "\n".join(_html(block, folder) for block in blocks[place:end])
            body.append(f'<div class="gallery">\n{inside}\n</div>')
            place = end
            continue
        body.append(_html(blocks[place], folder))
        place += 1
    lines = "\n".join(body)
    return (
        f'<!doctype html>\n<html lang="{language}">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n{lines}\n</main>\n"
        "</body>\n</html>\n"
    )


def _html(block: Block, folder: Path) -> str:
    match block:
        case Heading(text, level):
            return f"<h{level}>{escape(text)}</h{level}>"
        case Text(text):
            return f"<p>{escape(text)}</p>"
        case Code(text):
            return f"<pre><code>{escape(text)}</code></pre>"
        case Picture(path, text):
            data = base64.b64encode((folder / path).read_bytes()).decode("ascii")
            image = f'<img src="data:image/png;base64,{data}" alt="{escape(text)}">'
            return f"<figure>{image}<figcaption>{escape(text)}</figcaption></figure>"
        case Grid(columns, rows, caption):
            head = "".join(f'<th scope="col">{escape(column)}</th>' for column in columns)
            body = "\n".join(f"<tr>{''.join(_cell(cell) for cell in row)}</tr>" for row in rows)
            below = f"<caption>{escape(caption)}</caption>" if caption else ""
            kinds = ["wide"] * any(len(row[0]) > 40 for row in rows) + ["many"] * (len(columns) > 9)
            wide = f' class="{" ".join(kinds)}"' if kinds else ""
            return (
                f'<div class="table"><table{wide}>{below}<thead><tr>{head}</tr></thead>\n'
                f"<tbody>{body}</tbody></table></div>"
            )


def _cell(text: str) -> str:
    return f'<td class="{text}">{text}</td>' if text in VERDICTS else f"<td>{escape(text)}</td>"
