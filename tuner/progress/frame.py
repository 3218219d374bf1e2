"""Where live progress stands in a terminal, whatever becomes of the terminal's size."""

from collections.abc import Callable

from rich import live
from rich.console import Console, ConsoleRenderable, RenderableType
from rich.control import Control
from rich.live_render import LiveRender


class Frame(live.Live):
    """Drawn over what was drawn before, by rich, which knows nothing of wrapped lines."""

    def __init__(self, console: Console, shown: Callable[[], RenderableType]) -> None:
        super().__init__(
            console=console,
            get_renderable=shown,
            # Results go to stdout, which is not this console's.
            redirect_stdout=False,
        )
        self._columns = console.width

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        before, self._columns = self._columns, self.console.width
        if self._columns >= before or not self._live_render.last_render_height:
            return super().process_renderables(renderables)
        # Into how many rows the terminal has wrapped the old lines is not known: begin at the top.
        self._live_render = LiveRender(
            self.get_renderable(), vertical_overflow=self.vertical_overflow
        )
        return [Control.clear(), Control.home(), *super().process_renderables(renderables)]
