"""Curves of training: what they gather, what they mark and what they leave out."""

import numpy as np

from polyvae import figures
from polyvae.figures.kinds import Curves

HISTORY = [
    {
        "epoch": epoch + 1,
        "lr": 1e-3,
        "train_loss": loss,
        "validation_loss": loss + 1,
        "train_bound": -loss - 1e-7,
        "validation_bound": -loss - 1,
        "validation_kl": kl,
        "validation_nll": loss + 1,
    }
    for epoch, (loss, kl) in enumerate([(9.0, 1.0), (4.0, 2.0), (5.0, 3.0)])
]


def test_curves_mark_the_best_epoch_and_leave_out_what_is_constant_or_mirrored() -> None:
    found = figures.curves(HISTORY)
    assert set(found.quantities) == {"lr", "loss", "bound", "kl", "nll"}  # the arrays keep everything
    assert found.best == 2
    drawn = figures.drawing(found, "Training")
    assert [axes.get_title() for axes in drawn.axes] == ["bound = -loss", "kl", "nll"]
    for axes in drawn.axes:
        lines = axes.get_lines()
        assert any(list(line.get_xdata()) == [2] and line.get_marker() == "*" for line in lines)
        roles = [line for line in lines if line.get_label() in ("train", "validation")]
        assert len({line.get_linestyle() for line in roles}) == len(roles)
    names = [text.get_text() for text in drawn.legends[0].get_texts()]
    assert set(names) == {"train", "validation", "best epoch, 2"}
    assert figures.curves(HISTORY, "kl").best == 1
    assert figures.curves([{"epoch": 1, "train_loss": 2.0}]).best is None
    one = figures.drawing(figures.curves(HISTORY[:1]))
    assert [axes.get_title() for axes in one.axes] == ["lr", "bound = -loss", "kl", "nll"]


def test_a_cost_that_no_validation_example_counts_in_has_no_line_there() -> None:
    rows = [
        {"epoch": n, "train_label": 1 / n, "validation_label": 0.0, "train_kl": n, "validation_kl": n} for n in (1, 2)
    ]
    assert [len(axes.get_legend_handles_labels()[1]) for axes in figures.drawing(figures.curves(rows)).axes] == [1, 2]
    rows[1]["validation_label"] = 0.1
    assert [len(axes.get_legend_handles_labels()[1]) for axes in figures.drawing(figures.curves(rows)).axes] == [2, 2]


def test_ticks_are_plain_numbers() -> None:
    values = {"loss": {"train": np.array([1e-5, 3e-5, 2e-5])}, "bound": {"train": 1e5 + np.array([0.01, 0.02, 0.05])}}
    drawn = figures.drawing(Curves(np.arange(3.0), values))
    for axes in drawn.axes:
        drawn.canvas.draw()
        assert axes.yaxis.get_offset_text().get_text() == ""
        assert all("e" not in tick.get_text() for tick in axes.get_yticklabels())


def test_curves_are_gathered_by_quantity_and_part():
    history = [
        {"epoch": 1, "train_loss": 3.0, "validation_loss": 4.0, "lr": 0.1, "note": "text", "step": 5, "seconds": 2.0},
        {"epoch": 2, "train_loss": 2.0, "validation_loss": None, "lr": 0.1, "train_kl": 5},
    ]
    found = figures.curves(history)
    assert found.epochs.tolist() == [1, 2]
    assert set(found.quantities) == {"loss", "lr", "kl"}
    np.testing.assert_array_equal(found.quantities["loss"]["train"], [3, 2])
    np.testing.assert_array_equal(found.quantities["loss"]["validation"], [4, np.nan])
    np.testing.assert_array_equal(found.quantities["kl"]["train"], [np.nan, 5])
