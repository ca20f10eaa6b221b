"""The picture of a flow as pixels, as dashboards take it."""

from __future__ import annotations

from typing import Any

import numpy as np

from unrolled.extras import need
from unrolled.gradients.flow import GradientFlow

SIZE, DPI = (6.4, 4.0), 110  # inches, and pixels per inch


def over_lag(flow: GradientFlow) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """What `flow.plot()` draws, as pixels `(height, width, 3)`.

    Raises `MissingPackageError` where matplotlib is not installed.
    """
    backend = need("matplotlib.backends.backend_agg", extra="plots", why="the image of a gradient flow")
    from matplotlib.figure import Figure

    from unrolled.render.style import house_style

    with house_style():
        figure = Figure(figsize=SIZE, dpi=DPI, layout="constrained")
        canvas = backend.FigureCanvasAgg(figure)  # not pyplot's: no window, and no figure that stays
        flow.plot(figure.subplots())
        canvas.draw()
    return np.array(canvas.buffer_rgba())[..., :3]
