"""Whether a figure is whole: nothing cut off at its edges, nothing written over anything else, no legend on data."""

from itertools import combinations

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.transforms import Bbox

SEEN = 1.0  # pixels of overlap, below which nobody sees any


def words_of(figure):
    """Everything written in a figure that is laid out, with its box in pixels."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    found = [(text.get_text(), text.get_window_extent(renderer)) for text in figure.texts]
    for legend in figure.legends:
        found += [(text.get_text(), text.get_window_extent(renderer)) for text in legend.get_texts()]
    for panel in figure.axes:
        if panel.axison:
            found += _words_of_panel(panel, renderer)
    return [(said, box) for said, box in found if said.strip()]


def _words_of_panel(panel: Axes, renderer):
    texts = [panel.title, panel._left_title, panel.xaxis.label, panel.yaxis.label, *panel.texts]
    found = [(text.get_text(), text.get_window_extent(renderer)) for text in texts]
    around = panel.get_window_extent(renderer)
    for axis, start, stop, k in (
        (panel.xaxis, around.x0, around.x1, 0),
        (panel.yaxis, around.y0, around.y1, 1),
    ):
        for text in axis.get_ticklabels():
            box = text.get_window_extent(renderer)
            shown = text.get_visible() and text.get_text()
            if shown and start - SEEN <= (box.min[k] + box.max[k]) / 2 <= stop + SEEN:
                found.append((text.get_text(), box))
    if own := panel.get_legend():
        found += [(text.get_text(), text.get_window_extent(renderer)) for text in own.get_texts()]
    return found


def assert_whole(figure):
    """The figure as it would be saved: all words inside it and apart, all that is not a panel's own off the panels."""
    canvas = FigureCanvasAgg(figure)
    if engine := figure.get_layout_engine():
        engine.execute(figure)
        figure.set_layout_engine("none")
    canvas.draw()
    width, height = canvas.get_width_height()
    words = words_of(figure)
    for said, box in words:
        inside = min(box.x0, box.y0, width - box.x1, height - box.y1) >= -SEEN
        assert inside, f"cut off: {said!r} {box}"
    for (one, a), (other, b) in combinations(words, 2):
        shared = Bbox.intersection(a, b)
        assert shared is None or min(shared.width, shared.height) < SEEN, f"{one!r} over {other!r}"
    around = [artist.get_window_extent() for artist in (*figure.legends, *figure.texts)]
    for panel in (panel for panel in figure.axes if panel.axison and panel.get_label() != "<colorbar>"):
        box = panel.get_window_extent()
        assert min(box.width, box.height) > 80, "a panel too small to read"
        assert not any(box.overlaps(other) for other in around), f"{panel.get_title(loc='left')} is covered"


def titles(figure):
    """Of the panels, as one line each."""
    return [" ".join(panel.get_title(loc="left").split()) for panel in figure.axes if panel.axison]


def entries(figure):
    """Of the figure's legend."""
    return [" ".join(text.get_text().split()) for legend in figure.legends for text in legend.get_texts()]


def sentence(figure):
    """The title of the figure, as one line."""
    return " ".join(figure.get_suptitle().split())


def note(figure):
    """What stands below the title, as one line."""
    (found,) = [text for text in figure.texts if text not in (figure._suptitle, figure._supxlabel)]
    return " ".join(found.get_text().split())
