"""A user's agent: two tools over one set of accounts, and a planted bug for tests to find.

`transfer` moves money between two accounts; the two halves of a careless one are some time
apart, so that whatever stops it in between has lost the money. `balance` reads.
"""

from typing import Any

import attrs
import trio
from msgspec import Struct

from turnlog.actors.ports import ToolMonitor, ToolOrder, ToolResult
from turnlog.protocol.calls import ToolPlan
from turnlog.protocol.items import FunctionCall, ToolCallItem
from turnlog.protocol.settings import TurnSettings
from turnlog.runtime.tools.tool import CallRefused, parse_arguments

NAMES = ["anna", "ben"]


@attrs.define
class Bank:
    """The world outside: it knows nothing of sessions, and outlives engines."""

    accounts: dict[str, int] = attrs.field(factory=lambda: dict.fromkeys(NAMES, 50))

    @property
    def total(self) -> int:
        return sum(self.accounts.values())


class TransferArguments(Struct, frozen=True, forbid_unknown_fields=True):
    source: str
    target: str
    amount: int


class BalanceArguments(Struct, frozen=True, forbid_unknown_fields=True):
    account: str


def arguments(call: ToolCallItem) -> str:
    if not isinstance(call, FunctionCall):
        raise CallRefused("this tool takes JSON arguments")
    return call.arguments


@attrs.define
class Transfer:
    """Moves money. `careless`: it can be stopped between its two halves."""

    bank: Bank
    careless: bool = False
    wants: Any = "inside"
    name: str = "transfer"

    @property
    def spec(self) -> dict[str, Any]:
        account = {"type": "string", "enum": NAMES}
        amount = {"type": "integer", "minimum": 1, "maximum": 50}
        return {
            "type": "function",
            "name": self.name,
            "description": "Move money from one account to another.",
            "strict": True,
            "parameters": {
                "type": "object",
                "properties": {"source": account, "target": account, "amount": amount},
                "required": ["source", "target", "amount"],
                "additionalProperties": False,
            },
        }

    def plan(self, call: ToolCallItem, settings: TurnSettings) -> ToolPlan:
        asked = parse_arguments(arguments(call), TransferArguments)
        if {asked.source, asked.target} - set(NAMES):
            raise CallRefused("there is no such account")
        return ToolPlan(self.name, wants=self.wants)

    async def run(self, order: ToolOrder, monitor: ToolMonitor) -> ToolResult:
        asked = parse_arguments(arguments(order.call), TransferArguments)
        await monitor.started()
        self.bank.accounts[asked.source] -= asked.amount
        if self.careless:
            await trio.sleep(1)
            await trio.sleep(1)
        self.bank.accounts[asked.target] += asked.amount
        return ToolResult("done", "", f"moved {asked.amount}")


@attrs.define
class Balance:
    """Reads an account."""

    bank: Bank
    name: str = "balance"

    @property
    def spec(self) -> dict[str, Any]:
        return {
            "type": "function",
            "name": self.name,
            "description": "Say what is in an account.",
            "strict": True,
            "parameters": {
                "type": "object",
                "properties": {"account": {"type": "string", "enum": NAMES}},
                "required": ["account"],
                "additionalProperties": False,
            },
        }

    def plan(self, call: ToolCallItem, settings: TurnSettings) -> ToolPlan:
        asked = parse_arguments(arguments(call), BalanceArguments)
        if asked.account not in NAMES:
            raise CallRefused("there is no such account")
        return ToolPlan(self.name, parallel=True)

    async def run(self, order: ToolOrder, monitor: ToolMonitor) -> ToolResult:
        asked = parse_arguments(arguments(order.call), BalanceArguments)
        await monitor.started()
        return ToolResult("done", "", str(self.bank.accounts[asked.account]))


def bank_tools(*, careless: bool = False, wants: str = "inside") -> list[Transfer | Balance]:
    """Return the agent's tools, over a bank of their own."""
    bank = Bank()
    return [Transfer(bank, careless, wants), Balance(bank)]
