"""A headless Chromium that is driven from outside: real key presses, console messages, pictures.

It speaks the DevTools protocol over two pipes (``--remote-debugging-pipe``), which needs no port
and no library; what it evaluates is not subject to the page's own policy.
"""

import base64
import fcntl
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
#: names and codes of keys that are no letters; the text is what a press types
KEYS = {"Tab": (9, ""), "Enter": (13, "\r"), "Backspace": (8, "")}


class Tab:
    """One open page."""

    def __init__(self, read: int, write: int) -> None:
        self._in, self._out = os.fdopen(read, "rb"), os.fdopen(write, "wb")
        self._last = 0
        self._session: str | None = None
        self._rest = b""
        #: events that came while answers were waited for, by their method
        self.events: list[dict[str, Any]] = []

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command and wait for its answer."""
        self._last += 1
        message = {"id": self._last, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        self._out.write(json.dumps(message).encode() + b"\0")
        self._out.flush()
        while True:
            answer = self._message()
            if answer.get("id") == self._last:
                assert "error" not in answer, answer
                found: dict[str, Any] = answer["result"]
                return found
            self.events.append(answer)

    def _message(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            block = os.read(self._in.fileno(), 1 << 16)
            assert block, "the browser ended"
            self._rest += block
        text, _, self._rest = self._rest.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        return message

    def open(self, page: Path, width: int = 400, height: int = 800) -> None:
        """Load a page from disk in a window of so many pixels; return once it is loaded."""
        if self._session is None:
            target = self.call("Target.createTarget", url="about:blank")["targetId"]
            self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)[
                "sessionId"
            ]
            for domain in ("Page", "Runtime", "Log"):
                self.call(f"{domain}.enable")
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        self.events.clear()
        self.call("Page.navigate", url=page.as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self.events.append(self._message())

    def evaluate(self, script: str) -> Any:
        """The value of an expression in the page."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait_for(self, script: str, seconds: float = 60) -> None:
        """Return once an expression in the page is true; fail where it does not become so."""
        end = time.monotonic() + seconds
        while not self.evaluate(f"Boolean({script})"):
            assert time.monotonic() < end, f"never true: {script}"
            time.sleep(0.02)

    def press(self, *keys: str) -> None:
        """Press and release keys, one after the other: names of :data:`KEYS`, or letters."""
        for key in keys:
            code, text = KEYS[key] if key in KEYS else (ord(key.upper()), key)
            about = {"key": key, "code": key, "windowsVirtualKeyCode": code}
            typed = {"text": text} if text else {}
            kind = "keyDown" if text else "rawKeyDown"
            self.call("Input.dispatchKeyEvent", type=kind, **about, **typed)
            self.call("Input.dispatchKeyEvent", type="keyUp", **about)

    def console(self) -> list[dict[str, Any]]:
        """What the page wrote to its console, and what the browser says of it, since it loaded."""
        kinds = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
        return [event for event in self.events if event["method"] in kinds]

    def picture(self, path: Path) -> None:
        """Write a PNG of what the window shows."""
        data = self.call("Page.captureScreenshot", format="png")["data"]
        path.write_bytes(base64.b64decode(data))


@contextmanager
def browser(profile: Path) -> Iterator[Tab]:
    """Chromium with an empty profile; it ends with the block."""
    ours, theirs = os.pipe(), os.pipe()
    # out of the way of 3 and 4, where Chromium expects them
    commands, answers = (fcntl.fcntl(fd, fcntl.F_DUPFD, 64) for fd in (ours[0], theirs[1]))

    def place() -> None:
        os.dup2(commands, 3)
        os.dup2(answers, 4)

    process = subprocess.Popen(
        [str(CHROMIUM), *FLAGS, f"--user-data-dir={profile}", "--remote-debugging-pipe"],
        pass_fds=(3, 4), preexec_fn=place, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    for fd in (ours[0], theirs[1], commands, answers):
        os.close(fd)
    try:
        yield Tab(theirs[0], ours[1])
    finally:
        process.terminate()
        process.wait(timeout=60)
