"""What all pictures share: colours, fonts, and a figure that needs no screen and keeps no state between calls."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, GREY, PALE = "#1b1f24", "#7a828c", "#d9dee3"
BLUE, ORANGE, GREEN, RED = "#1668b8", "#d9730d", "#2b8a3e", "#c92a2a"
STYLE: dict[str, object] = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#eceff2",
    "xtick.color": GREY,
    "ytick.color": GREY,
    "legend.frameon": False,
    "svg.hashsalt": "cryoburst",
}


def figure(width: float, height: float) -> Figure:
    """Return an empty figure (inches) that is drawn without a screen; use inside `style()`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    made = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(made)
    return made


def style():
    """Context in which figures are drawn."""
    from matplotlib import rc_context

    return rc_context(STYLE)  # pyright: ignore[reportArgumentType]


def heading(made: Figure, title: str, line: str) -> None:
    """Write a title and a line of values above all axes, at the left."""
    made.suptitle(title + "\n" * (1 + line.count("\n")), x=0.012, ha="left", fontsize=14, fontweight="bold", color=INK)
    made.text(0.012, 0.985 - 0.32 / made.get_figheight(), line, ha="left", va="top", fontsize=10, color=GREY)


def bare(axes: Axes) -> None:
    """Take ticks, grid and frame away, for images."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(False)


def save(made: Figure, path: Path) -> Path:
    """Write the PNG (150 dots per inch); make its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    made.savefig(path, dpi=150, facecolor="white", metadata={"Software": "cryoburst"})
    return path
