"""What `loopyard up` shows: services becoming ready, then addresses, then what happens to them."""

import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from gateway.data_folder import DataFolder
from gateway.keeper import Keeper, State
from gateway.services import Ports

STYLES = {State.READY: "green", State.SILENT: "red", State.RESTARTING: "yellow", State.WAITING: "dim"}


class StartupDisplay:
    """A live table on a terminal; one line a change in a pipe, and after the start.

    Args:
        live: whether a live table may be drawn; not while log lines run over the screen.
    """

    def __init__(self, console: Console, live: bool) -> None:
        self._console = console
        self._keepers: Sequence[Keeper] = ()
        self._begun = time.monotonic()
        self._doing = ""
        self._spinner = Spinner("dots", style="cyan")
        self._live = Live(get_renderable=self._render, console=console, transient=True) if live else None

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self.end_live()

    def end_live(self) -> None:
        """From here on one line a change."""
        if self._live:
            self._live.stop()
            self._live = None

    def doing(self, text: str) -> None:
        """Something that goes before the services."""
        self._doing = text
        if not self._live:
            self.say(Text(text, style="dim"))

    def watch(self, keepers: Sequence[Keeper]) -> None:
        """Show these services from now on."""
        self._keepers, self._doing = keepers, ""

    def changed(self, keeper: Keeper) -> None:
        """A service has changed its state."""
        if self._live or keeper.state in (State.STOPPED, State.WAITING):
            return
        style, name = STYLES.get(keeper.state, "cyan"), keeper.service.name
        self.say(Text.assemble((f"{name:<11}", "bold"), (keeper.state.value, style), _why(keeper)))

    def line(self, name: str, text: str) -> None:
        """A line that a service printed."""
        self.say(Text.assemble((f"{name:<10} | ", "cyan"), text))

    def say(self, text: RenderableType) -> None:
        """Print something. A terminal that has gone must not keep services from being stopped in order."""
        try:
            self._console.print(text, soft_wrap=isinstance(text, Text), highlight=False)
        except (OSError, SystemExit):  # rich turns a broken pipe into SystemExit
            self.be_quiet()

    def be_quiet(self) -> None:
        """Print nothing any more."""
        self._console.quiet = True

    def _render(self) -> Group:
        table = Table(box=None, show_header=False, padding=(0, 1))
        for keeper in self._keepers:
            table.add_row(*self._row(keeper))
        seconds = time.monotonic() - self._begun
        self._spinner.update(text=f" {self._doing or 'Starting'}  {seconds:.0f} s")
        return Group(self._spinner, table)

    def _row(self, keeper: Keeper) -> tuple[Text, Text, Text]:
        took = ""
        if keeper.started:
            took = f"{(keeper.ready_at or time.monotonic()) - keeper.started:.1f} s"
        state = Text(keeper.state.value, style=STYLES.get(keeper.state, "cyan"))
        return Text(f"  {keeper.service.name}", style="bold"), state + _why(keeper), Text(took, style="dim")


def addresses(data: DataFolder, ports: Ports, seconds: float) -> Table:
    """Where everything is; the admin key itself only when it is new."""
    base = f"http://127.0.0.1:{ports.gateway}"
    table = Table(title=f"Loopyard is ready ({seconds:.1f} s)", show_header=False, title_justify="left")
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    table.add_row("Console", Text(base, style=f"link {base}"))
    table.add_row("OpenAI API", f"{base}/v1")
    table.add_row("MCP", f"{base}/mcp")
    table.add_row("Model server", f"http://127.0.0.1:{ports.llm}/v1")
    table.add_row("Tools (MCP)", f"http://127.0.0.1:{ports.tools}")
    if data.admin_key_is_new:
        table.add_row("Admin key", Text(data.admin_key(), style="green"))
    table.add_row("Key is kept in", str(data.admin_key_file))
    table.add_row("Logs", str(data.logs))
    return table


def _why(keeper: Keeper) -> Text:
    if keeper.state is State.RESTARTING or (keeper.restarts and keeper.state is State.STARTING):
        return Text(f" (ended with status {keeper.last_exit}, restart {keeper.restarts})", style="dim")
    return Text(f" {keeper.service.url}" if keeper.state is State.READY else "", style="dim")
