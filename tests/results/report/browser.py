"""A real browser looks at a report: what it says, what it asks for, how long it takes.

`python -m tests.results.report.browser REPORT FOLDER` keeps pictures of it. Speaks Chromium's
DevTools protocol, so it needs Chromium and nothing else; `PARETUNE_AXE` names axe-core's
`axe.min.js`, from its npm package, for accessibility.
"""

import asyncio
import base64
import json
import os
import shutil
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import aiohttp

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-dev-shm-usage", "--hide-scrollbars", "--remote-debugging-port=0"),
)
PATIENCE_S = 60.0
DRAWN = "document.documentElement?.dataset.drawn === 'true'"
SERIOUS = "axe.run().then(r => r.violations.filter(v => /serious|critical/.test(v.impact)))"
WIDER_THAN_THE_PAGE = "document.documentElement.scrollWidth > window.innerWidth"


def chromium() -> str | None:
    return next((found for name in NAMES if (found := shutil.which(name))), None)


@dataclass(frozen=True, slots=True)
class Look:
    """How a page is looked at."""

    name: str
    width: int = 1280
    height: int = 900
    phone: bool = False
    dark: bool = False


LOOKS = (
    Look("desktop"),
    Look("phone", width=390, height=844, phone=True),
    Look("dark", dark=True),
    Look("phone-dark", width=390, height=844, phone=True, dark=True),
)


@dataclass(slots=True)
class Tab:
    """One page and what was heard of it."""

    socket: aiohttp.ClientWebSocketResponse
    session: str = ""
    requests: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    sent: int = 0

    async def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A command and its answer; what is heard meanwhile is kept."""
        self.sent += 1
        number = self.sent
        message = {"id": number, "method": method, "params": parameters}
        await self.socket.send_json(
            message | ({"sessionId": self.session} if self.session else {})
        )
        while True:
            heard = await self.socket.receive_json(timeout=PATIENCE_S)
            if heard.get("id") == number:
                if "error" in heard:
                    raise RuntimeError(f"{method}: {heard['error']['message']}")
                answer: dict[str, Any] = heard["result"]
                return answer
            self._hear(heard)

    def _hear(self, event: Mapping[str, Any]) -> None:
        told = event.get("params", {})
        match event.get("method"):
            case "Network.requestWillBeSent":
                self.requests.append(told["request"]["url"])
            case "Runtime.exceptionThrown":
                self.errors.append(json.dumps(told["exceptionDetails"]))
            case "Runtime.consoleAPICalled" if told["type"] in ("error", "warning"):
                self.errors.append(json.dumps(told["args"]))
            case "Log.entryAdded" if told["entry"]["level"] in ("error", "warning"):
                self.errors.append(told["entry"]["text"])

    async def evaluate(self, script: str) -> Any:
        told = await self.send(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in told:
            raise RuntimeError(json.dumps(told["exceptionDetails"]))
        return told["result"].get("value")

    async def open(self, page: Path, look: Look) -> float:
        """Seconds until the last figure was drawn."""
        await self.send(
            "Emulation.setDeviceMetricsOverride",
            width=look.width,
            height=look.height,
            deviceScaleFactor=1,
            mobile=look.phone,
        )
        await self.send("Emulation.setTouchEmulationEnabled", enabled=look.phone)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if look.dark else "light"}
        await self.send("Emulation.setEmulatedMedia", features=[scheme])
        for domain in ("Network", "Runtime", "Log", "Page"):
            await self.send(f"{domain}.enable")
        await self.send("Performance.enable", timeDomain="threadTicks")
        began_s = time.monotonic()
        await self.send("Page.navigate", url=page.resolve().as_uri())
        while not await self.evaluate(DRAWN):
            if time.monotonic() - began_s > PATIENCE_S:
                raise TimeoutError(f"Not drawn: {self.errors}")
            await asyncio.sleep(0.02)
        return time.monotonic() - began_s

    async def picture(self, *, whole: bool = True, height: int = 0) -> bytes:
        size = (await self.send("Page.getLayoutMetrics"))["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": height or size["height"]}
        told = await self.send(
            "Page.captureScreenshot",
            format="png",
            captureBeyondViewport=whole,
            clip={**clip, "scale": 1},
        )
        return base64.b64decode(told["data"])

    async def spent_s(self) -> float:
        """Seconds that the page's own thread worked, on however busy a machine."""
        told = await self.send("Performance.getMetrics")
        return next(float(m["value"]) for m in told["metrics"] if m["name"] == "TaskDuration")

    async def paper(self) -> bytes:
        told = await self.send("Page.printToPDF", printBackground=True, preferCSSPageSize=True)
        return base64.b64decode(told["data"])


@asynccontextmanager
async def tab() -> AsyncIterator[Tab]:
    """A new browser with one empty page; nothing of it is left."""
    program = chromium()
    if program is None:
        raise RuntimeError(f"Chromium was asked for, but none of {', '.join(NAMES)} is on PATH.")
    with TemporaryDirectory() as folder:
        process = await asyncio.create_subprocess_exec(
            program,
            *FLAGS,
            f"--user-data-dir={folder}",
            "about:blank",
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            port, path = await _listening(Path(folder) / "DevToolsActivePort")
            async with (
                aiohttp.ClientSession() as client,
                client.ws_connect(f"ws://127.0.0.1:{port}{path}", max_msg_size=0) as socket,
            ):
                made = Tab(socket)
                target = await made.send("Target.createTarget", url="about:blank")
                attached = await made.send("Target.attachToTarget", flatten=True, **target)
                made.session = attached["sessionId"]
                yield made
                made.session = ""
                await made.send("Browser.close")
        finally:
            if process.returncode is None:
                try:
                    await asyncio.wait_for(process.wait(), 10)
                except TimeoutError:
                    process.kill()
                    await process.wait()


async def _listening(file: Path) -> Sequence[str]:
    began_s = time.monotonic()
    while time.monotonic() - began_s < PATIENCE_S:
        if file.exists() and len(lines := file.read_text().split()) == 2:
            return lines
        await asyncio.sleep(0.05)
    raise TimeoutError("The browser does not listen.")


def axe() -> str | None:
    """A script that tells what axe-core finds serious, where ``PARETUNE_AXE`` names it."""
    path = os.environ.get("PARETUNE_AXE")
    return f"{Path(path).read_text('utf-8')};{SERIOUS}" if path else None


async def pictures(page: Path, folder: Path) -> None:
    for look in LOOKS:
        async with tab() as opened:
            seconds = await opened.open(page, look)
            (folder / f"{look.name}.png").write_bytes(await opened.picture())
            if look.name == "dark":
                (folder / "print.pdf").write_bytes(await opened.paper())
            wide = await opened.evaluate(WIDER_THAN_THE_PAGE)
            spent_s = await opened.spent_s()
            said = f"{seconds:.2f} s, {spent_s:.2f} s of them at work; too wide: {wide}"
            if script := axe():
                said += f", serious of axe: {await opened.evaluate(script)}"
            print(f"{look.name}: {said}, requests {len(opened.requests)}, {opened.errors}")


if __name__ == "__main__":
    asyncio.run(pictures(Path(sys.argv[1]), Path(sys.argv[2])))
