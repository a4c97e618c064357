"""Take the pictures of docs/guides/observer anew: ``python tests/observer/pictures.py [FOLDER]``.

Three widths, two themes, and the states. Those that the guide shows are written where it has them;
with a folder, all are written there, to be looked at.
"""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import gevent

ROOT: Final = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from browser import Browser  # noqa: E402
from canned import iso  # noqa: E402
from sprag.observer import following  # noqa: E402
from sprag.observer.bridge import Bridge  # noqa: E402
from story import shop  # noqa: E402

if TYPE_CHECKING:
    from browser import Page
    from canned import Canned

GUIDE: Final = ROOT / "docs" / "guides" / "observer.md"
WIDTHS: Final = {"desktop": (1440, 900), "tablet": (1024, 768), "phone": (390, 844)}


class Taking:
    """Takes what is wanted of all pictures.

    Args:
        folder: For all of them; None: for those of the guide, where it has them.
    """

    def __init__(self, folder: Path | None) -> None:
        text = GUIDE.read_text(encoding="utf-8")
        self._shown = set(re.findall(r"observer/([\w-]+)\.png", text)) if folder is None else None
        self._folder = folder or GUIDE.parent / "observer"
        self._folder.mkdir(parents=True, exist_ok=True)

    def take(self, page: Page, name: str) -> None:
        """Take *page* in both themes."""
        for theme in ("light", "dark"):
            file = f"{name}-{theme}"
            if self._shown is None or file in self._shown:
                page.prefer(prefers_color_scheme=theme)
                gevent.sleep(0.3)
                page.picture(self._folder / f"{file}.png")


# As after a minute of looking.
_VITALS = """(() => {
    const { vitals } = sprag.state, wave = (n) => Math.sin(n / 3) + Math.sin(n * 1.7) / 2;
    const all = (of) => Array.from({ length: 59 }, (_, n) => of(wave(n)));
    Object.assign(vitals, { lag: all((w) => 0.003 + 0.001 * w), busy: all((w) => 0.22 + 0.02 * w),
        greenlets: all((w) => 9852 + Math.round(3 * w)), rss: all((w) => 2.74e9 + 2e7 * w) });
})()"""


def select(page: Page, path: str) -> None:
    page.run(
        f"sprag.tree.select({path!r}), sprag.tree.show({path!r}), document.activeElement.blur()"
    )
    page.until("document.querySelector('.part.why article, .part.why .dim')")


def opened(
    browser: Browser, size: tuple[int, int], *, sick: bool = True
) -> tuple[Page, Bridge, Canned]:
    now = time.time()
    # The app's clock stands still: however long this takes, the next try is in six seconds.
    following._now = lambda: iso(now)
    app = shop(now, sick=sick, sessions=9684)
    bridge = Bridge(app)
    bridge.start()
    page = browser.page(*size, alone=True)
    page.prefer(prefers_color_scheme="light")
    page.open(bridge.url)
    page.until("document.documentElement.dataset.live", seconds=60)
    page.until("sprag.state.usage.size > 0 && sprag.state.nodes.length === 3")
    page.run(_VITALS)
    return page, bridge, app


def desktop(page: Page, app: Canned, taking: Taking) -> None:
    select(page, "shop/fleet/courier")
    taking.take(page, "desktop")
    page.press("Enter")
    page.until("document.querySelector('.part.log .log') && document.querySelector('.stacks')")
    taking.take(page, "detail")
    page.press("Escape", "2")
    page.until("document.querySelector('.decisions')")
    taking.take(page, "decisions")
    page.press("1")
    select(page, "shop/programs/thumbnailer")
    page.run("sprag.detail.show('Resources')")
    gevent.sleep(3)
    taking.take(page, "program")
    app.die()
    page.until("sprag.state.mode === 'gone'")
    taking.take(page, "disconnected")


def main(*arguments: str) -> None:
    """Take them all."""
    taking = Taking(Path(arguments[0]) if arguments else None)
    with Browser() as browser:
        for name, size in WIDTHS.items():
            page, bridge, app = opened(browser, size)
            gevent.sleep(0.5)
            if name == "desktop":
                desktop(page, app, taking)
            else:
                taking.take(page, name)
                page.click(".a-row.restarting")
                page.until("document.querySelector('.forecast')")
                taking.take(page, f"{name}-detail")
            page.close()
            bridge.stop()
            app.die()
        page, bridge, app = opened(browser, WIDTHS["desktop"], sick=False)
        select(page, "shop/cores/core-1/http")
        page.run("sprag.detail.show('Stacks')")
        page.until("document.querySelector('.stack')")
        taking.take(page, "healthy")
        page.close()
        bridge.stop()
        app.die()


if __name__ == "__main__":
    main(*sys.argv[1:])
