"""Errors of completions and translations as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from rich.table import Table

from polyvae.completion.errors import Errors
from polyvae.data.columns.kinds import some
from polyvae.evaluation.calibration import LEVELS
from polyvae.evaluation.numbers import NONE, number, plus_minus

STANDARDISED = "Squared error and CRPS are of numbers, in standard deviations of their columns."
INFINITE = "A dash is an error that is no finite number."
CODES = "Wrong and log loss (nats) are of labels and bits."


class Scored(Protocol):
    """What `Score` and `TranslationScore` share."""

    @property
    def unseen(self) -> Errors: ...
    @property
    def calibrated(self) -> Errors | None: ...
    @property
    def standardised(self) -> bool: ...
    @property
    def constant(self) -> tuple[str, ...]: ...
    @property
    def uncalibrated(self) -> int: ...


def error_table(rows: Sequence[tuple[str, str, Scored]], headings: tuple[str, str], title: str) -> Table:
    """The errors over unseen values and after calibration, a row each; a first cell as in the row above is left empty.

    Two lines of coverage: of all unseen values, and of those that vary where that is another. Labels and bits have
    columns of their own, and numbers none where there are no others.
    """
    scores = [score for *_, score in rows]
    numbers = any(score.unseen.mse is not None or score.unseen.infinite for score in scores)
    codes = any(score.unseen.wrong is not None for score in scores)
    every = [errors for score in scores for errors in (score.unseen, score.calibrated) if errors is not None]
    notes = [STANDARDISED] * (numbers and scores[0].standardised) + [CODES] * codes
    if scores and scores[0].constant:
        notes.append(f"Left out, as constant in what is scored: {some(scores[0].constant)}.")
    if most := max((score.uncalibrated for score in scores), default=0):
        notes.append(f"{most} value{'s that have' if most > 1 else ' that has'} no finite spread")
        notes[-1] += f" {'are' if most > 1 else 'is'} in no calibrated number."
    notes += [INFINITE] * any(errors.infinite for errors in every)
    shown = Table(title=title, title_justify="left", caption=" ".join(notes) or None, caption_justify="left")
    vary = any(errors.varying != errors.coverage for errors in every)
    bands = f"in bands of\n{' / '.join(f'{100 * level:g}' for level in LEVELS)} %" + "\nof those that vary" * vary
    joint = any(score.unseen.energy is not None for score in scores)
    words = ["squared error", "CRPS", *["energy\nscore"] * joint, bands, "calibrated\nCRPS", f"calibrated,\n{bands}"]
    words = words if numbers or not codes else []
    for word in (*headings, *words, *(["wrong", "log loss"] if codes else [])):
        shown.add_column(
            word, justify="left" if word in ("method", "given", "made") else "right", no_wrap=word == headings[1]
        )
    before = None
    for first, second, score in rows:
        if before not in (None, first):
            shown.add_section()
        unseen, calibrated = score.unseen, score.calibrated or Errors(None, None, None, {}, {})
        cells = (
            plus_minus(unseen.mse, unseen.mse_error),
            number(unseen.crps),
            *[number(unseen.energy)] * joint,
            _held(unseen, vary),
            number(calibrated.crps),
            _held(calibrated, vary),
        )
        rest = (NONE if unseen.wrong is None else f"{100 * unseen.wrong:.1f} %", number(unseen.log_loss))
        shown.add_row(first if first != before else "", second, *(cells if words else ()), *(rest if codes else ()))
        before = first
    return shown


def _held(errors: Errors, vary: bool) -> str:
    """Coverage of all values, and below of those that `vary`."""
    lines = (errors.coverage, errors.varying)[: 1 + vary]
    return "\n".join(_shares(found) for found in lines if any(found.values())) or NONE


def _shares(found: Mapping[float, float | None]) -> str:
    shares = [found.get(level) for level in LEVELS]
    return " / ".join(NONE if share is None else f"{100 * share:.0f}" for share in shares)
