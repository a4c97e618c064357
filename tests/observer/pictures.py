"""Take the pictures of docs/guides/observer anew: ``python tests/observer/pictures.py``.

Three widths, two themes, and the states; compare them with those that were there before.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import gevent

ROOT: Final = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from browser import Browser  # noqa: E402
from sprag.observer.bridge import Bridge  # noqa: E402
from story import shop  # noqa: E402

if TYPE_CHECKING:
    from browser import Page
    from canned import Canned

PLACE: Final = ROOT / "docs" / "guides" / "observer"
WIDTHS: Final = {"desktop": (1440, 900), "tablet": (1024, 768), "phone": (390, 844)}


def select(page: Page, path: str) -> None:
    page.run(
        f"sprag.tree.select({path!r}), sprag.tree.show({path!r}), document.activeElement.blur()"
    )
    page.until("document.querySelector('.part.why article, .part.why .dim')")


def opened(
    browser: Browser, size: tuple[int, int], *, sick: bool = True
) -> tuple[Page, Bridge, Canned]:
    app = shop(time.time() + 1.5, sick=sick, sessions=9684)
    bridge = Bridge(app)
    bridge.start()
    page = browser.page(*size, alone=True)
    page.prefer(prefers_color_scheme="light")
    page.open(bridge.url)
    page.until("document.documentElement.dataset.live", seconds=20)
    page.until("sprag.state.usage.size > 0 && sprag.state.model.decisions.length >= 0")
    return page, bridge, app


def take(page: Page, name: str) -> None:
    for theme in ("light", "dark"):
        page.prefer(prefers_color_scheme=theme)
        gevent.sleep(0.3)
        page.picture(PLACE / f"{name}-{theme}.png")


def main() -> None:
    """Take them all."""
    PLACE.mkdir(parents=True, exist_ok=True)
    with Browser() as browser:
        for name, size in WIDTHS.items():
            page, bridge, app = opened(browser, size)
            if name == "desktop":
                select(page, "shop/fleet/courier")
            gevent.sleep(0.5)
            take(page, name)
            if name == "desktop":
                page.press("Enter")
                gevent.sleep(1.0)
                take(page, "detail")
                page.press("Escape", "2")
                gevent.sleep(0.3)
                take(page, "decisions")
                page.press("1")
                select(page, "shop/programs/thumbnailer")
                page.run("sprag.detail.show('Resources')")
                gevent.sleep(5)
                take(page, "program")
                app.die()
                gevent.sleep(1.5)
                take(page, "disconnected")
            page.close()
            bridge.stop()
            app.die()
        page, bridge, app = opened(browser, WIDTHS["desktop"], sick=False)
        select(page, "shop/cores/core-1/http")
        page.run("sprag.detail.show('Stacks')")
        gevent.sleep(1.0)
        take(page, "healthy")
        page.close()
        bridge.stop()
        app.die()


if __name__ == "__main__":
    main()
