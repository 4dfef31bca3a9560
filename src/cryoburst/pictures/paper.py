"""What all pictures share: colours, fonts, and a figure that needs no screen and keeps no state between calls."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cryoburst.model.errors import BadInput, NotThere

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = np.ndarray[Any, np.dtype[np.floating[Any]]]
WIDE, DOTS = 11.0, 150  # inches, and dots per inch: all pictures have the same width
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


def png(made: Figure) -> bytes:
    """The figure as PNG, 150 dots per inch."""
    from io import BytesIO

    target = BytesIO()
    with style():  # ticks are made only now
        made.savefig(target, format="png", dpi=DOTS, facecolor="white", metadata={"Software": "cryoburst"})
    return target.getvalue()


def save(made: Figure, path: Path) -> Path:
    """Write the PNG; make its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png(made))
    return path


def section(path: Path, places: Sequence[int] | None = None) -> tuple[Array, float]:
    """An image file's pixels, or of a stack the images at these places, and its pixel size (Å). Raises NotThere when it
    is not on this disk, BadInput when it is no such file."""
    import mrcfile

    try:
        with mrcfile.mmap(path, mode="r", permissive=True) as file:
            data = file.data if file.data is not None else np.zeros(0)
            data = data if places is None else data.reshape(-1, *data.shape[-2:])[list(places)]
            return np.asarray(data, np.float64), float(file.voxel_size.x)
    except FileNotFoundError:
        advice = "cryoburst fetch N brings it from the store" if path.is_symlink() else ""
        raise NotThere("the image file is not on this computer", where=str(path), advice=advice) from None
    except (OSError, ValueError, IndexError) as error:
        raise BadInput(f"this image file can't be read: {error}", where=str(path)) from None
