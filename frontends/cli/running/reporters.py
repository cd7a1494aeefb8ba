"""How `turnlog exec` speaks: as JSON lines on stdout, or to a person.

Writing never holds up the session's task: a reader that is slow, or a terminal that was stopped,
makes a thread wait, and Ctrl-C is heard all the same.
"""

from typing import Any, Final, Protocol

import attrs
import msgspec
import trio

from turnlog.frontends.cli.output.streams import STDERR, STDOUT, draws_on_stderr, send
from turnlog.frontends.cli.output.terminal import CLEAR_LINE, style
from turnlog.frontends.cli.running.live_output import LiveOutput
from turnlog.protocol.exec_lines import (
    Error,
    ItemCompleted,
    ItemStarted,
    ItemUpdated,
    Line,
    ThreadStarted,
    TurnCompleted,
    TurnFailed,
    TurnStarted,
    encode_line,
)
from turnlog.protocol.ids import SessionId
from turnlog.protocol.settings import SessionSettings
from turnlog.protocol.version import VERSION
from turnlog.replay.views.text import one_line, printable

_WIDTH: Final = 160  # columns
_RULE: Final = "-" * 8
_LETTERS: Final = {"add": "A", "update": "M", "delete": "D"}


class Reporter(Protocol):
    """What is shown of a run."""

    async def line(self, line: Line, *, ends_turn: bool = False) -> None:
        """Show a line of the protocol; `ends_turn` for those of the turn's last event."""
        ...

    async def begin(self, session: SessionId, settings: SessionSettings) -> None:
        """Say which session runs, and with what."""
        ...

    async def note(self, text: str) -> None:
        """Tell something that is no part of the protocol, on stderr."""
        ...

    async def tell_person(self, text: str) -> None:
        """Tell a person something that a program is not told."""
        ...

    async def output(self, item: str, text: str) -> None:
        """Show what a command prints while it runs."""
        ...

    async def prompt(self, text: str) -> None:
        """Show what waits for an answer, on the last line; "" when nothing does any more."""
        ...

    async def final(self, message: str | None) -> None:
        """Show the agent's last message, once its turn is complete."""
        ...


async def write(descriptor: int, data: bytes) -> None:
    """Write all of `data`, from a thread. Cancelled, the thread is left to itself.

    Raises:
        NobodyReads, UsageError: stdout takes nothing more.
    """
    await trio.to_thread.run_sync(send, descriptor, data, abandon_on_cancel=True)


@attrs.define(eq=False)
class JsonReporter:
    """Exactly the line protocol on stdout, a write for each line."""

    async def begin(self, session: SessionId, settings: SessionSettings) -> None:
        await self.line(ThreadStarted(session))

    async def line(self, line: Line, *, ends_turn: bool = False) -> None:
        await write(STDOUT, encode_line(line))

    async def note(self, text: str) -> None:
        await write(STDERR, f"{text}\n".encode(errors="replace"))

    async def tell_person(self, text: str) -> None:
        pass

    async def output(self, item: str, text: str) -> None:
        pass

    async def prompt(self, text: str) -> None:
        pass

    async def final(self, message: str | None) -> None:
        pass


@attrs.define(eq=False)
class HumanReporter:
    """Progress on stderr, and the last message alone on stdout."""

    _held: str | None = None  # a message that may turn out to be the last one
    _prompt: str = ""  # on the last line of the terminal
    _live: LiveOutput = attrs.field(factory=LiveOutput)
    _commands: dict[str, str] = attrs.field(factory=dict[str, str])  # those that run, by item
    _speaker: str = ""  # the item whose lines were shown last

    async def begin(self, session: SessionId, settings: SessionSettings) -> None:
        await self.note(_header(session, settings))

    async def line(self, line: Line, *, ends_turn: bool = False) -> None:
        if ends_turn and isinstance(line, Error):
            return  # the command says it when it leaves
        if text := self._text(line):
            await self.note(text)

    async def note(self, text: str) -> None:
        before = (CLEAR_LINE if draws_on_stderr() else "\n") if self._prompt else ""
        await write(STDERR, f"{before}{text}\n{self._prompt}".encode(errors="replace"))

    async def tell_person(self, text: str) -> None:
        await self.note(self._release(text))

    async def output(self, item: str, text: str) -> None:
        if lines := self._live.take(item, text):
            await self.note(self._of(item, lines))

    async def prompt(self, text: str) -> None:
        before = CLEAR_LINE if self._prompt else ""
        self._prompt = text
        await write(STDERR, f"{before}{text}".encode(errors="replace"))

    def _of(self, item: str, lines: str) -> str:
        """Return lines of a command; after those of another one, with the command before them."""
        speaker, self._speaker = self._speaker, item
        return lines if speaker == item else f"{_command(self._commands[item])}\n{lines}"

    async def final(self, message: str | None) -> None:
        if message is not None:
            await write(STDOUT, f"{message}\n".encode(errors="replace"))

    def _text(self, line: Line) -> str:
        """Return what is to be shown of a line, perhaps nothing."""
        match line:
            case ThreadStarted() | TurnStarted():
                return ""
            case ItemStarted(item=raw) | ItemUpdated(item=raw):
                return self._release(self._started(msgspec.json.decode(raw)))
            case ItemCompleted(item=raw):
                return self._completed(msgspec.json.decode(raw))
            case TurnCompleted(usage=usage):
                self._held = None
                return style(
                    f"tokens: {usage.input_tokens} in ({usage.cached_input_tokens} cached), "
                    f"{usage.output_tokens} out",
                    dim=True,
                )
            case Error(message=message):
                return self._release(style(message, fg="yellow"))
            case TurnFailed():
                return self._release("")

    def _release(self, text: str) -> str:
        """Return `text` after the message that was held back: it was not the last one."""
        held, self._held = self._held, None
        return "\n".join(part for part in (held, text) if part)

    def _completed(self, item: dict[str, Any]) -> str:
        if item["type"] == "todo_list":
            return ""  # as it was shown last
        if item["type"] == "agent_message":
            before = self._release("")
            self._held = item["text"]
            return before
        if item["type"] == "command_execution":
            return self._release(self._finished(item))
        return self._release(_finished(item))

    def _started(self, item: dict[str, Any]) -> str:
        if item["type"] == "command_execution":
            self._commands[item["id"]] = item["command"]
            self._speaker = item["id"]
            return _command(item["command"])
        return _todo(item) if item["type"] == "todo_list" else ""

    def _finished(self, item: dict[str, Any]) -> str:
        good = item["status"] == "completed"
        end = f"exit code {item['exit_code']}" if item["exit_code"] is not None else "failed"
        rest = self._live.finish(item["id"], item["aggregated_output"])
        told = "\n".join(part for part in (rest, style(end, fg="green" if good else "red")) if part)
        shown = self._of(item["id"], told)
        del self._commands[item["id"]]
        return shown


def _header(session: SessionId, settings: SessionSettings) -> str:
    """Return what is said before a run, laid out as Codex does."""
    sandbox = settings.sandbox
    extras = [*sandbox.writable_roots]
    if sandbox.network_access:
        extras.append("network")
    shown = {
        "workdir": settings.cwd,
        "model": settings.model,
        "provider": settings.model_provider,
        "approval": settings.approval_policy,
        "sandbox": f"{sandbox.mode}{' with ' if extras else ''}{', '.join(extras)}",
        "session id": session,
    }
    lines = [f"{name}: {printable(value)}" for name, value in shown.items()]
    return style("\n".join([f"turnlog {VERSION}", _RULE, *lines, _RULE]), dim=True)


def _command(command: str) -> str:
    return style(f"$ {one_line(command, _WIDTH)}", fg="cyan")


def _finished(item: dict[str, Any]) -> str:
    match item["type"]:
        case "reasoning":
            return style(item["text"], dim=True)
        case "file_change":
            good = item["status"] == "completed"
            lines = [f"{_LETTERS[change['kind']]} {change['path']}" for change in item["changes"]]
            told = "\n".join(lines)
            return style(told if good else f"not applied:\n{told}", fg=None if good else "red")
        case "web_search":
            return style(f"searched: {one_line(item['query'], _WIDTH)}", fg="cyan")
        case "error":
            return style(f"Warning: {item['message']}", fg="yellow")
        case _:
            return ""


def _todo(item: dict[str, Any]) -> str:
    steps = (f"[{'x' if step['completed'] else ' '}] {step['text']}" for step in item["items"])
    return "\n".join(steps)
