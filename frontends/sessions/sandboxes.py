"""What `turnlog doctor` says of the sandboxes: which work here, and what each of them lacks."""

import os
from collections.abc import Iterator

import trio
from msgspec import Struct

from turnlog.protocol.errors import Unavailable
from turnlog.protocol.settings import SandboxPolicy
from turnlog.runtime.assembly import open_sandbox
from turnlog.runtime.sandbox.confinement import Mechanism, MechanismReport

_WRITING = SandboxPolicy(mode="workspace-write")


class SandboxReport(Struct, frozen=True):
    """How commands are confined on this machine, and in this folder."""

    used: Mechanism | None  # None: commands are refused
    folder: str
    why_not_here: str  # why commands that may write in `folder` are refused; nothing if they run
    mechanisms: tuple[MechanismReport, ...]  # the best one first

    @property
    def lines(self) -> Iterator[str]:
        """What a person reads."""
        if self.used is None:
            yield "Sandbox: none works here, so commands are refused."
        else:
            yield f"Sandbox: commands are confined by {self.used}."
        for report in self.mechanisms:
            if report.works:
                yield f"- {report.mechanism} works. What it does not keep:"
                yield from (f"    {limit}" for limit in report.limits)
            else:
                why = " ".join(report.why_not.removeprefix(f"{report.mechanism}: ").split())
                yield f"- {report.mechanism} does not work: {why}"
        if self.used is not None and self.why_not_here:
            yield f"In {self.folder}, with workspace-write, they are refused: {self.why_not_here}"


def examine_sandboxes(folder: str) -> SandboxReport:
    """Try each mechanism; see what becomes of commands that may write in `folder`."""
    return trio.run(_examine, folder)


async def _examine(folder: str) -> SandboxReport:
    async with open_sandbox(os.environ) as sandbox:
        used: Mechanism | None = None
        complaint: Unavailable | None
        try:
            used = (await sandbox.probe()).mechanism
        except Unavailable as error:
            complaint = error
        else:
            complaint = await sandbox.complaint(_WRITING, workspace=folder, env=os.environ)
        reports = await sandbox.survey()
    return SandboxReport(used, folder, "" if complaint is None else str(complaint), reports)
