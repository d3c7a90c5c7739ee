"""Pictures and fields side by side, whole pixels for each value, with names, and a colour bar for every colour map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from polyvae.figures.kinds import Completions
from polyvae.figures.pixels import montage, to_bytes
from polyvae.figures.style import INK, SEQUENTIAL, SPREAD, plain

DPI = 120
_WIDTH = 1400  # pixels that a montage fills at most, as far as whole multiples of its own pixels go
_SIDE = 120  # pixels of one picture at most
UNSEEN = (0.62, 0.72, 0.86)  # the colour of pixels that are not seen: no grey
_HIDDEN = (0.85, 0.85, 0.85)  # the same of fields, whose colour map has no grey
_POINTS = 60  # so many pixels wide a picture may be before its seen ones are drawn larger
_EDGE = 205  # the grey level of the line around a picture
_BAR = 92  # pixels that a colour bar takes with its numbers


@dataclass(frozen=True)
class ColourBar:
    """A colour map over [low, high] and what it is of; `below`, `above`: whether values beyond the ends are shown."""

    label: str
    colours: str
    low: float
    high: float
    below: bool = False
    above: bool = False


@dataclass(frozen=True)
class Block:
    """Pictures in rows and columns, [R, S, C, H, W] in [0, 1], under a name of their own, with their colour bars.

    `rows`: names of its rows, where they are not those of all blocks.
    """

    pictures: np.ndarray
    name: str = ""
    bars: tuple[ColourBar, ...] = ()
    rows: tuple[str, ...] = ()


def blocks(pictures: np.ndarray, unit: bool, names: Sequence[str] = (), data: np.ndarray | None = None) -> list[Block]:
    """[R, S, C, H, W] as blocks: pictures as they are; of a field one for each channel, by a colour map.

    The map runs over the range of the `data` [..., C, H, W], or of what is shown where there are none. Two channels of
    pictures, or more than three, stand in grey, a block each.
    """
    channels = pictures.shape[2]
    if unit and channels in (1, 3):
        return [Block(pictures)]
    labels = [names[c] if c < len(names) else f"channel {c}" for c in range(channels)]
    if unit:
        return [Block(pictures[:, :, c : c + 1], labels[c]) for c in range(channels)]
    made = []
    for c in range(channels):
        shown = pictures[:, :, c]
        bar = colour_bar("value", SEQUENTIAL, shown, shown if data is None else data[..., c, :, :])
        made.append(Block(_mapped(shown, bar), labels[c] if channels > 1 or names else "", (bar,)))
    return made


def panels(figure: Completions) -> tuple[list[Block], list[str]]:
    """Completions as blocks of a row for each example, and the columns' names.

    Truth, what is seen (the rest in one colour), mean, spread and draws. Grey and colour pictures are one block; of a
    field each channel has its own, with the range of its truths for all of its columns.
    """
    grey = figure.unit and figure.truth.shape[1] not in (1, 3)
    larger = "seen, enlarged" if figure.mask.shape[-1] >= _POINTS else "seen"
    names = ["truth", larger, "mean", "spread", *(f"draw {k + 1}" for k in range(len(figure.samples)))]
    columns = [figure.truth, figure.truth, figure.mean, *figure.samples]
    seen = figure.mask[:, None] > 0
    made = []
    if figure.unit and not grey:
        whole = np.stack(columns, 1)
        whole = whole.repeat(3, 2) if whole.shape[2] == 1 else whole
        made.append(_completed(whole, seen, UNSEEN, figure.std.mean(1), ()))
        return made, names
    for c in range(figure.truth.shape[1]):
        label = figure.names[c] if c < len(figure.names) else f"channel {c}"
        values = np.stack([column[:, c] for column in columns], 1)
        bar = colour_bar("value", SEQUENTIAL, values, figure.truth[:, c])
        mapped = values[:, :, None].repeat(3, 2) if grey else _mapped(values, bar)
        block = _completed(mapped, seen, UNSEEN if grey else _HIDDEN, figure.std[:, c], () if grey else (bar,))
        made.append(Block(block.pictures, label if figure.truth.shape[1] > 1 or figure.names else "", block.bars))
    return made, names


def _completed(
    colours: np.ndarray, seen: np.ndarray, hidden: Sequence[float], spread: np.ndarray, bars: tuple[ColourBar, ...]
) -> Block:
    """Colours [N, columns without the spread, 3, H, W] and the spread [N, H, W] as one block."""
    bar = ColourBar("spread, standard deviation", SPREAD, 0.0, float(spread.max()) or 1.0)
    points, seen = _enlarged(colours[:, 1], seen[:, 0], seen.shape[-1] // _POINTS)
    shown = np.where(seen, points, np.reshape(hidden, (3, 1, 1)))
    heat = _mapped(spread[:, None], bar)
    whole = np.concatenate([colours[:, :1], shown[:, None], colours[:, 2:3], heat, colours[:, 3:]], 1)
    return Block(whole.clip(0, 1).astype(np.float32), "", (*bars, bar))


def _enlarged(colours: np.ndarray, seen: np.ndarray, reach: int) -> tuple[np.ndarray, np.ndarray]:
    """Colours [N, 3, H, W] and mask [N, 1, H, W] with every seen pixel grown by `reach` over unseen ones around it."""
    for axis in (-2, -1):
        for _ in range(reach):
            for step in (1, -1):
                source = [slice(None)] * seen.ndim
                target = list(source)
                source[axis], target[axis] = (slice(None, -1), slice(1, None))[::step]
                new = np.zeros_like(seen)
                new[tuple(target)] = seen[tuple(source)]
                new &= ~seen
                moved = np.roll(colours, step, axis)
                colours, seen = np.where(new, moved, colours), seen | new
    return colours, seen


def colour_bar(label: str, colours: str, shown: np.ndarray, data: np.ndarray) -> ColourBar:
    """A colour map over the range of the data, which says whether values beyond it are shown; NaN is no value."""
    low, high = float(np.nanmin(data)), float(np.nanmax(data))
    high = high if high > low else low + 1
    slack = 1e-6 * (high - low)
    return ColourBar(
        label, colours, low, high, bool(np.nanmin(shown) < low - slack), bool(np.nanmax(shown) > high + slack)
    )


def _mapped(values: np.ndarray, bar: ColourBar) -> np.ndarray:
    """[R, S, H, W] -> [R, S, 3, H, W] by the bar's colours; NaN is white."""
    with np.errstate(invalid="ignore"):
        shares = np.clip((values - bar.low) / (bar.high - bar.low), 0, 1)
    colours = np.moveaxis(colormaps[bar.colours](np.nan_to_num(shares))[..., :3], -1, 2)
    return np.where(np.isnan(values)[:, :, None], 1.0, colours).astype(np.float32)


def grid(
    made: Sequence[Block],
    title: str,
    rows: Sequence[str],
    columns: Sequence[str],
    side: int = _SIDE,
    edges: bool = False,
) -> Figure:
    """Blocks under one another, with names beside the rows and above the columns; a picture is `side` wide at most.

    `edges`: whether each picture has a thin line around it, so that a white one is told from the paper.
    """
    shape = made[0].pictures.shape
    gap = max(1, shape[-1] // 16)
    wholes = [to_bytes(montage(block.pictures, gap=gap)) for block in made]
    scale = max(1, min(_WIDTH // wholes[0].shape[1], side // shape[-1]))
    heights, width = [whole.shape[0] * scale for whole in wholes], wholes[0].shape[1] * scale
    named = [block.rows or tuple(rows) for block in made]
    left = 12 + 11 * max((len(name) for names in named for name in names), default=0)
    tops = [(26 if columns and place == 0 else 0) + (30 if block.name else 0) for place, block in enumerate(made)]
    size = (
        max(left + width + 12 + _BAR * max(len(block.bars) for block in made), 24 + 10 * len(title)),
        44 + sum(tops) + sum(height + 12 for height in heights),
    )
    drawn = Figure(figsize=(size[0] / DPI, size[1] / DPI))
    drawn.text(12 / size[0], 1 - 10 / size[1], title, va="top", color=INK, fontsize=11)
    above = 44
    for place, (block, whole) in enumerate(zip(made, wholes, strict=True)):
        height, above = heights[place], above + tops[place]
        bottom = size[1] - above - height
        axes = drawn.add_axes((left / size[0], bottom / size[1], width / size[0], height / size[1]))
        # Repeated here and not by the renderer, whose interpolation would blur edges.
        shown = whole.repeat(scale, 0).repeat(scale, 1)
        if edges:
            _edged(shown, block.pictures.shape, gap, scale)
        axes.imshow(shown, interpolation="none", aspect="auto")
        axes.xaxis.tick_top()
        axes.set_xticks(*((_middles(width, len(columns)), columns) if place == 0 else ([], [])))
        axes.set_yticks(_middles(height, len(named[place])), named[place])
        axes.tick_params(length=0, labelsize=9, colors=INK)
        axes.spines[:].set_visible(False)
        if block.name:
            over = height + 8 + (22 if columns and place == 0 else 0)
            axes.text(0, over / height, block.name, transform=axes.transAxes, color=INK, fontsize=10, weight="bold")
        _colour_bars(drawn, block.bars, (left + width, bottom, height), size)
        above += height + 12
    return drawn


def _edged(whole: np.ndarray, shape: Sequence[int], gap: int, scale: int) -> None:
    """A line of one pixel around each picture of a montage of [R, S, C, H, W], in the gaps and so over no value."""
    rows, columns, _, height, width = shape
    for row in range(rows):
        for column in range(columns):
            top, left = (row * (height + gap) + gap) * scale, (column * (width + gap) + gap) * scale
            bottom, right = top + height * scale, left + width * scale
            whole[[top - 1, bottom], left - 1 : right + 1] = _EDGE
            whole[top - 1 : bottom + 1, [left - 1, right]] = _EDGE


def _colour_bars(drawn: Figure, bars: Sequence[ColourBar], corner: tuple[int, int, int], size: tuple[int, int]) -> None:
    """Right of a block whose lower right corner and height are given, in pixels."""
    right, bottom, height = corner
    tall = min(height - 8, 400)
    for place, bar in enumerate(bars):
        x, y = right + 12 + place * _BAR, bottom + (height - tall) // 2
        axes = drawn.add_axes((x / size[0], y / size[1], 14 / size[0], tall / size[1]), label=f"colour bar {bar.label}")
        extend = {(0, 0): "neither", (1, 0): "min", (0, 1): "max", (1, 1): "both"}[int(bar.below), int(bar.above)]
        mappable = ScalarMappable(Normalize(bar.low, bar.high), bar.colours)
        made = drawn.colorbar(mappable, cax=axes, extend=extend, format=lambda value, _: plain(value))
        made.ax.tick_params(labelsize=7, colors=INK)
        if tall > 140:  # a shorter one has no room for it
            made.set_label(bar.label, fontsize=8, color=INK)
        made.outline.set_visible(False)  # pyright: ignore[reportCallIssue]


def _middles(length: int, count: int) -> np.ndarray:
    return (np.arange(count) + 0.5) * length / max(count, 1) - 0.5
