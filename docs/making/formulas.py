"""Typesets the formulas of a page: LaTeX between dollar signs becomes MathML, which browsers draw by themselves."""

from __future__ import annotations

import re
from html import unescape

from latex2mathml.converter import convert
from mkdocs.exceptions import PluginError

_FOUND = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)
_FUNCTION = re.compile(r"(<mi>(?:log|exp|max|min)</mi>)(?!<mo stretchy=)")
_BEFORE = re.compile(r"(</mi>|</mn>|</msub>|</msup>)(?=<mi>(?:log|exp|max|min)</mi>)")
_THIN = '<mspace width="0.167em" />'


def mathml(latex: str, block: bool = False) -> str:
    """A formula as MathML. Raises PluginError for a command that is not known."""
    made = convert(unescape(latex).strip(), display="block" if block else "inline")
    if "\\" in made or "&#x0005C;" in made:
        raise PluginError(f"no command of this formula may be unknown: {latex}")
    for place in (_FUNCTION, _BEFORE):
        made = place.sub(rf"\1{_THIN}", made)  # "K log p", which would stand as "Klogp"
    return made


def on_page_content(html: str, **_: object) -> str:
    """What arithmatex marks as formulas, typeset."""
    return _FOUND.sub(lambda found: mathml(found[2], block=found[1] == "div"), html)
