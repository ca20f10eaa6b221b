"""Mathematics of the pages as MathML, which browsers show by themselves: no script, no font, no network.

`pymdownx.arithmatex` finds `$...$` and `$$...$$` and marks them; here each becomes `<math>`, when the site is built.
"""

import html
import re
from typing import Any

from latex2mathml.converter import convert

INLINE = re.compile(r'<span class="arithmatex">\\\((.*?)\\\)</span>', re.DOTALL)
DISPLAY = re.compile(r'<div class="arithmatex">\s*\\\[(.*?)\\\]\s*</div>', re.DOTALL)


def on_page_content(content: str, **_: Any) -> str:
    """The HTML of a page, with MathML in it; mkdocs calls it."""
    content = DISPLAY.sub(lambda found: convert(html.unescape(found[1]), display="block"), content)
    return INLINE.sub(lambda found: convert(html.unescape(found[1])), content)
