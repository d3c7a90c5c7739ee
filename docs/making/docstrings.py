"""Shows the formulas of docstrings as code in the reference, where plain text would run together with the prose."""

from __future__ import annotations

import re

_PARAGRAPH = re.compile(r"<p>(.*?)</p>", re.DOTALL)
_OUTSIDE = re.compile(r"(<code>.*?</code>|<[^>]+>)", re.DOTALL)
_RELATIONS = {"=", "&gt;=", "&lt;=", "~"}
_OPERATORS = {*_RELATIONS, "+", "-", "*", "/", "|", "||", "...", "&lt;", "&gt;"}
_NAME = re.compile(
    r"(?:[A-Zb-zα-ω]\d?|-?\d+(?:/\d+)?|log|exp|KL|eps|mu|beta|gamma|softmax|diag|sg|tr|det|min|max|alpha|scale)\W*"
)
_CALL = re.compile(r"[(\[]?-?[A-Za-z]\w{0,4}\^?[(\[_^].*|.*\w[)\]^]\S*|\|\S+|\S+\|\S*|[\w()]+/[\w()]+")
_WORDS = re.compile(r"[A-Za-z]{6,}(?![A-Za-z(])")


def in_code(text: str) -> str:
    """Text with its formulas as code: runs of three symbols and more with a relation or a density among them."""
    found, run = [], []
    for word in [*text.split(" "), ""]:
        if word in _OPERATORS or (
            word and not _WORDS.search(word) and (_NAME.fullmatch(word) or _CALL.fullmatch(word))
        ):
            run.append(word)
            if word[-1] not in ".,;:" or word.endswith("...") or _depth(run) > 0:
                continue
            word = None
        found += _closed(run)
        run = []
        if word is not None:
            found.append(word)
    return " ".join(found[:-1])


def _symbol(word: str) -> bool:
    return bool(word) and not _WORDS.search(word) and bool(_NAME.fullmatch(word) or _CALL.fullmatch(word))


def _closed(run: list[str]) -> list[str]:
    while run and run[-1] in _OPERATORS:
        return [*_closed(run[:-1]), run[-1]]
    whole = " ".join(run)
    told = bool(_RELATIONS & set(run)) or re.search(r"\b(log )?[pq]\(|E_q|KL\(", whole)
    if len(run) < 3 or not told or _depth(run) or any(_depth(run[:end]) < 0 for end in range(len(run))):
        return run
    cut = len(whole) if whole.endswith("...") else len(whole.rstrip(".,;:"))
    return [f"<code>{whole[:cut]}</code>{whole[cut:]}"]


def _depth(run: list[str]) -> int:
    """How many brackets are open."""
    whole = "".join(run)
    return sum(map(whole.count, "([{")) - sum(map(whole.count, ")]}"))


def on_page_content(html: str, page: object, **_: object) -> str:
    """The formulas of a page of the reference, as code."""
    if not getattr(page, "url", "").startswith("reference/"):
        return html

    def shown(paragraph: re.Match[str]) -> str:
        parts = _OUTSIDE.split(paragraph[1].replace("\n", " "))
        return "<p>" + "".join(part if place % 2 else in_code(part) for place, part in enumerate(parts)) + "</p>"

    return _PARAGRAPH.sub(shown, html)
