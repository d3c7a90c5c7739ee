"""Markdown as one HTML file that needs nothing beside it: pictures within, no script, no address of anything else."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from markdown_it import MarkdownIt

from polyvae.data.files.writing import write_text
from polyvae.study.document import Block, markdown

REPORT, PAGE = "REPORT.md", "report.html"
# Of the HTML that the Markdown makes, in which every text is escaped.
CAPTION = r"(?:<p><em>(?P<caption>[^<]*)</em></p>\n)?"
PICTURE = re.compile(r'<p><img src="(?P<path>[^"]*)" alt="(?P<alt>[^"]*)" /></p>\n' + CAPTION)
GALLERY = re.compile(r"(?:<figure>.*</figure>\n){2,}")
TABLE = re.compile(r"<table>\n(?P<rows>.*?)</table>\n" + CAPTION, re.DOTALL)
VERDICT = re.compile(r"<td>(holds|fails|undecided)</td>")


def written(blocks: Sequence[Block], folder: Path) -> tuple[Path, Path]:
    """Writes a report of these blocks as Markdown and as one page into a folder, and returns their paths."""
    text = markdown(blocks)
    write_text(folder / REPORT, text)
    write_text(folder / PAGE, page(text, folder))
    return folder / REPORT, folder / PAGE


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
    style = files("polyvae.study").joinpath("page.css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title[1] if title else 'Report'}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n"
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
