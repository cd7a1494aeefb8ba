"""The ids of children: those of a recording, and those of the branch that replace them.

A child's id is minted from its parent's, so a branch has others. The model knows agents by their
ids: what it is told is put into the recording's words before it is looked up, and what it said
then into the branch's.
"""

import re
from collections.abc import Iterable
from typing import Final, TypeVar

import attrs
import msgspec
import trio

from turnlog.protocol.ids import SessionId
from turnlog.protocol.items import JsonText

_AGENT: Final = re.compile(r'\\"agent_id\\": \\"([0-9a-f-]{36})\\"')  # in a call's output
_PATIENCE: Final = 5.0  # seconds in which a child that the model knows of should be asked for

_T = TypeVar("_T")


@attrs.define(eq=False)
class ChildIds:
    """Pairs of ids. An id without a pair is the same on both sides."""

    recorded: frozenset[SessionId]  # the children of the recording
    _to_recorded: dict[str, str] = attrs.field(factory=dict[str, str], init=False)
    _to_branch: dict[str, str] = attrs.field(factory=dict[str, str], init=False)
    _paired: trio.Event = attrs.field(factory=trio.Event, init=False)

    def pair(self, recorded: SessionId, branch: SessionId) -> None:
        """Note that a child of the branch plays one of the recording."""
        self._to_recorded[branch] = recorded
        self._to_branch[recorded] = branch
        self._paired.set()
        self._paired = trio.Event()

    async def know(self, parts: Iterable[JsonText]) -> None:
        """Wait until each agent that these parts name is paired. That is soon or never."""
        named = {name for part in parts if "agent_id" in part for name in _AGENT.findall(part)}
        new = named - self.recorded
        with trio.move_on_after(_PATIENCE):
            while self.recorded and not new <= self._to_recorded.keys():
                await self._paired.wait()

    def in_recording(self, text: str) -> str:
        """Return a text of the branch with the ids of the recording."""
        return _replaced(text, self._to_recorded)

    def in_branch(self, text: str) -> str:
        """Return a text of the recording with the ids of the branch."""
        return _replaced(text, self._to_branch)

    def value_in_recording(self, value: _T, kind: type[_T]) -> _T:
        """Return a message of the branch with the ids of the recording."""
        return _message(value, kind, self._to_recorded)

    def value_in_branch(self, value: _T, kind: type[_T]) -> _T:
        """Return a message of the recording with the ids of the branch."""
        return _message(value, kind, self._to_branch)


def _message(value: _T, kind: type[_T], names: dict[str, str]) -> _T:
    if not names:
        return value
    text = msgspec.json.encode(value).decode()
    return msgspec.json.decode(_replaced(text, names), type=kind)


def _replaced(text: str, names: dict[str, str]) -> str:
    for name, other in names.items():
        text = text.replace(name, other)
    return text
