"""The page: the model's data, the scripts and the layout library in one HTML file that loads nothing from anywhere."""

from __future__ import annotations

import base64
import html
import json
import zlib
from functools import cache
from pathlib import Path
from typing import Any

from graphkit.report.printable import json_safe

_STATIC = Path(__file__).parent / "static"
_SCRIPTS = ("model.js", "layout.js", "draw.js", "panel.js", "main.js")

MOST_PLAIN = 1 << 20
"""Bytes up to which the model's data stand in the page as they are; more are deflated."""

_ELK = "The layout is made by elkjs 0.12.1 (EPL-2.0, github.com/kieler/elkjs), which is in this page, deflated."

_BUTTONS = {
    "home": "Model",
    "level": "Open a level",
    "closed": "Close all",
    "fit": "Fit",
    "larger": "+",
    "smaller": "&minus;",
    "theme": "Dark/light",
    "keys": "?",
}


def view_page(title: str, data: dict[str, Any]) -> str:
    """The whole page.

    Args:
        title: What to write into the title bar and above the drawing.
        data: What ``static/model.js`` takes.
    """
    buttons = "".join(f'<button id="{name}" type="button">{text}</button>' for name, text in _BUTTONS.items())
    scripts = "".join(f"<script>\n{_static(name)}</script>\n" for name in _SCRIPTS)
    said = html.escape(title)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{said}</title><link rel="icon" href="data:,"><style>\n{_static("view.css")}</style></head>\n'
        f"<body><!-- {_ELK} -->\n<header><h1>{said}</h1>"
        '<input id="search" type="search" placeholder="Search names, operators, shapes" aria-label="Search">'
        '<details id="ways"><summary>Path</summary><div><input id="from" placeholder="from value" aria-label="from">'
        '<input id="to" placeholder="to value" aria-label="to"><button id="find" type="button">Find</button></div></details>'
        f'{buttons}<span id="status" role="status">opening …</span></header>\n'
        '<main><svg id="drawing" aria-label="graph"></svg></main><aside id="panel"></aside>\n'
        f"{_data(data)}\n"
        f'<script id="elk" type="text/plain">{_layout_library()}</script>\n{scripts}</body></html>\n'
    )


def _data(data: dict[str, Any]) -> str:
    r"""The data as a script element that nothing in it can end: ``<`` is written as ``\u003c``."""
    text = json_safe(json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":")))
    text = text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    raw = text.encode("utf-8", "backslashreplace")
    if len(raw) <= MOST_PLAIN:
        return f'<script id="model" type="application/json">{raw.decode()}</script>'
    return f'<script id="model" type="text/plain">{_packed(raw)}</script>'


def _packed(data: bytes) -> str:
    return base64.b64encode(zlib.compress(data, 9)).decode()


@cache
def _static(name: str) -> str:
    return (_STATIC / name).read_text(encoding="utf-8")


@cache
def _layout_library() -> str:
    return _packed((_STATIC / "elk-worker.min.js").read_bytes())
