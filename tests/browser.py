"""Chromium without a window, driven over a pipe: nothing listens, nothing has to be installed."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import tempfile
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Self, cast

import gevent
from gevent import Greenlet
from gevent.event import AsyncResult
from gevent.os import make_nonblocking, nb_read, nb_write

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_NAMES: Final = ("chromium-headless-shell", "chromium", "chromium-browser")
CHROMIUM: Final = next(filter(None, map(shutil.which, _NAMES)), None)
"""Without windows to draw, where that is there: a start of it takes a third of the time."""
SHOWN: Final = "document.documentElement.dataset.live && document.querySelectorAll('.row').length"
"""Whether the page of the observer has something to show."""
_FLAGS: Final = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--hide-scrollbars",
    "--no-first-run",
    "--disable-extensions",
    "--disable-background-networking",
    "--disable-dev-shm-usage",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-sync",
    "--mute-audio",
    # A window behind another one draws as well.
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
    "--disable-background-timer-throttling",
    "--remote-debugging-pipe",
)
_PATIENCE: Final = 30.0
"""Seconds for an answer; a machine with nothing else to do takes a hundredth of that."""


class Failed(AssertionError):
    """What the page has raised, or what has not come in time."""


class Browser:
    """One chromium, with its profile in a folder of its own; both are gone in the end."""

    def __init__(self) -> None:
        assert CHROMIUM is not None
        self._profile = tempfile.mkdtemp(prefix="sprag-chromium-")
        theirs_in, self._to = os.pipe()
        self._from, theirs_out = os.pipe()
        # It reads at 3 and writes at 4, which may be ours for something else now.
        command = f'exec 3<&{theirs_in} 4>&{theirs_out}; exec "$@"'
        place = [f"--user-data-dir={self._profile}", "about:blank"]
        self._popen = subprocess.Popen(
            ["bash", "-c", command, "chromium", CHROMIUM, *_FLAGS, *place],
            pass_fds=[theirs_in, theirs_out],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        make_nonblocking(self._from)
        make_nonblocking(self._to)
        self._waiting: dict[int, AsyncResult[dict[str, Any]]] = {}
        self._heard: dict[str, Callable[[str, dict[str, Any]], None]] = {}
        self._count = 0
        self._is_gone = False
        self._reading: Greenlet[[], None] = Greenlet.spawn(self._read)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._reading.kill()
        with suppress(ProcessLookupError):
            os.killpg(self._popen.pid, 9)
        self._popen.wait()
        os.close(self._from)
        os.close(self._to)
        shutil.rmtree(self._profile, ignore_errors=True)

    def _read(self) -> None:
        rest = b""
        while piece := nb_read(self._from, 1 << 20):
            *whole, rest = (rest + piece).split(b"\0")
            for each in whole:
                told = json.loads(each)
                if "id" in told:
                    if (waiting := self._waiting.pop(told["id"], None)) is not None:
                        waiting.set(told)
                elif (heard := self._heard.get(told.get("sessionId", ""))) is not None:
                    heard(told["method"], told["params"])
        self._is_gone = True
        for waiting in self._waiting.values():
            waiting.set_exception(Failed("chromium has ended"))

    def call(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        """Have it do something, and return what comes of it, or raise `Failed` in time."""
        if self._is_gone:
            raise Failed(f"{method}: chromium has ended")
        self._count += 1
        number = self._count
        waiting: AsyncResult[dict[str, Any]] = AsyncResult()
        self._waiting[number] = waiting
        asked = {"id": number, "method": method, "params": params}
        if session is not None:
            asked["sessionId"] = session
        left = json.dumps(asked).encode() + b"\0"
        while left:
            left = left[nb_write(self._to, left) :]
        try:
            told = cast("dict[str, Any]", waiting.get(timeout=_PATIENCE))
        except gevent.Timeout:
            del self._waiting[number]
            said = f"{method}: no answer within {_PATIENCE:g} s: {str(params)[:300]}"
            raise Failed(said) from None
        if "error" in told:
            raise Failed(f"{method}: {told['error'].get('message')}")
        return dict(told["result"])

    def page(self, width: int = 1440, height: int = 900, *, alone: bool = False) -> Page:
        """Open an empty page; *alone*: with nothing in common with others, as another user's."""
        where: dict[str, Any] = {}
        if alone:
            where["browserContextId"] = self.call("Target.createBrowserContext")["browserContextId"]
        target = self.call("Target.createTarget", url="about:blank", **where)["targetId"]
        page = Page(self, target, where.get("browserContextId"))
        page.resize(width, height)
        return page

    def end_workers(self) -> int:
        """End the workers that tabs share, as a crash would; return how many they were."""
        targets = self.call("Target.getTargets")["targetInfos"]
        workers = [each["targetId"] for each in targets if each["type"] == "shared_worker"]
        for each in workers:
            self.call("Target.closeTarget", targetId=each)
        return len(workers)

    def hear(self, session: str, heard: Callable[[str, dict[str, Any]], None]) -> None:
        self._heard[session] = heard


class Page:
    """One tab."""

    def __init__(self, browser: Browser, target: str, context: str | None = None) -> None:
        self._browser = browser
        self._context = context
        self.target = target
        self._session: str = browser.call("Target.attachToTarget", targetId=target, flatten=True)[
            "sessionId"
        ]
        self.errors: list[str] = []
        browser.hear(self._session, self._hear)
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")
        self._is_in_front(is_so=True)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        return self._browser.call(method, self._session, **params)

    def _is_in_front(self, *, is_so: bool) -> None:
        # Of several tabs all but one are hidden, else, and draw nothing.
        self.call("Emulation.setFocusEmulationEnabled", enabled=is_so)

    def _hear(self, method: str, params: dict[str, Any]) -> None:
        if method == "Runtime.exceptionThrown":
            told = params["exceptionDetails"]
            self.errors.append(str(told.get("exception", {}).get("description") or told["text"]))
        elif method == "Log.entryAdded" and params["entry"]["source"] == "security":
            self.errors.append(params["entry"]["text"])

    def resize(self, width: int, height: int, *, scale: float = 1) -> None:
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=scale,
            mobile=False,
        )

    def before_all(self, script: str) -> None:
        """Run *script* in each document before anything of its own."""
        self.call("Page.addScriptToEvaluateOnNewDocument", source=script)

    def run_none(self) -> None:
        """Run no scripts of the documents that are opened from now on; `run` goes on working."""
        self.call("Emulation.setScriptExecutionDisabled", value=True)

    def freeze(self, state: str = "frozen") -> None:
        """Let it do nothing, as a browser does with a tab that was long hidden; or ``active``."""
        self._is_in_front(is_so=state == "active")
        self.call("Page.setWebLifecycleState", state=state)

    def open(self, url: str) -> None:
        self.call("Page.bringToFront")
        self.call("Page.navigate", url=url)

    def run(self, script: str) -> Any:
        """Return what the expression *script* comes to; a promise is waited for."""
        told = self.call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in told:
            found = told["exceptionDetails"]
            raise Failed(found.get("exception", {}).get("description") or found["text"])
        return told["result"].get("value")

    def work(self, script: str) -> float:
        """Run *script*; return the seconds of processor that took, whatever else the machine does.

        What is drawn of it counts as far as that happens before it returns.
        """
        self.call("Performance.enable", timeDomain="threadTicks")
        before = self._worked()
        self.run(script)
        return self._worked() - before

    def _worked(self) -> float:
        told = self.call("Performance.getMetrics")["metrics"]
        return next(float(each["value"]) for each in told if each["name"] == "TaskDuration")

    def until(self, script: str, *, seconds: float = 20.0) -> Any:
        """Wait until *script* is true, and return what it is then.

        Raises:
            Failed: It is not, in so many seconds; with what it came to last, and what is shown.
        """
        # An element would arrive as {}, and be as good as none. No gevent.Timeout: while the page
        # is asked it would look like what the page has raised, and be passed over.
        asked = f"(it => it instanceof Node || it)({script})"
        end = time.monotonic() + seconds
        while True:
            last: object
            try:
                if last := self.run(asked):
                    return last
            except Failed as error:  # while it is being loaded nothing is there
                last = error
            if time.monotonic() > end:
                raise Failed(f"not within {seconds:g} s: {script}\n{last}\n{self._says()}")
            gevent.sleep(0.02)

    def _says(self) -> str:
        with suppress(Failed):
            told = self.run(
                "[document.visibilityState, document.readyState, 'loaded:', ...performance"
                ".getEntriesByType('resource').map(it => it.name.split('/').at(-1))].join(' ')"
                " + '\\n' + document.body.innerText"
            )
            return f"{self.errors} {told}"[:2000]
        return f"{self.errors}"

    def text(self, selector: str) -> str:
        return str(self.run(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''"))

    def click(self, selector: str) -> None:
        self.run(f"document.querySelector({json.dumps(selector)}).click()")

    def press(self, *keys: str) -> None:
        """Press keys as a person does: what has the focus gets them."""
        for key in keys:
            known = _KEYS.get(key, {})
            given = {"key": key, **known}
            if len(key) == 1:
                given["text"] = key
            elif key == "Enter":
                given["text"] = "\r"
            self.call("Input.dispatchKeyEvent", type="keyDown", **given)
            self.call("Input.dispatchKeyEvent", type="keyUp", **{**given, "text": ""})

    def type(self, text: str) -> None:
        self.call("Input.insertText", text=text)

    def prefer(self, **features: str) -> None:
        """Set media features, as in ``prefers_color_scheme="dark"``."""
        told = [{"name": name.replace("_", "-"), "value": each} for name, each in features.items()]
        self.call("Emulation.setEmulatedMedia", features=told)

    def picture(self, file: Path) -> None:
        told = self.call("Page.captureScreenshot", format="png")
        file.write_bytes(base64.b64decode(told["data"]))

    def close(self) -> None:
        self._browser.call("Target.closeTarget", targetId=self.target)
        if self._context is not None:
            with suppress(Failed):
                self._browser.call("Target.disposeBrowserContext", browserContextId=self._context)


_KEYS: Final[dict[str, dict[str, Any]]] = {
    "Enter": {"code": "Enter", "windowsVirtualKeyCode": 13},
    "Tab": {"code": "Tab", "windowsVirtualKeyCode": 9},
    "Escape": {"code": "Escape", "windowsVirtualKeyCode": 27},
    "Home": {"code": "Home", "windowsVirtualKeyCode": 36},
    "End": {"code": "End", "windowsVirtualKeyCode": 35},
    "ArrowLeft": {"code": "ArrowLeft", "windowsVirtualKeyCode": 37},
    "ArrowUp": {"code": "ArrowUp", "windowsVirtualKeyCode": 38},
    "ArrowRight": {"code": "ArrowRight", "windowsVirtualKeyCode": 39},
    "ArrowDown": {"code": "ArrowDown", "windowsVirtualKeyCode": 40},
    "PageDown": {"code": "PageDown", "windowsVirtualKeyCode": 34},
}
