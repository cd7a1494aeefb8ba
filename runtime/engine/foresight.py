"""Tells a person, before the model is asked, that a session's commands cannot be confined.

Such a command is refused when it comes, and only the model is told. A person who is not told takes
a run that could do nothing for one that had nothing to do.
"""

from collections.abc import Callable, Mapping

import attrs

from turnlog.actors.ports import ContextLoader, ContextRequest
from turnlog.protocol.errors import Unavailable
from turnlog.protocol.events import ContextLoaded
from turnlog.protocol.settings import SessionSettings
from turnlog.runtime.processes.environment import child_environment
from turnlog.runtime.sandbox.confinement import Sandbox


@attrs.define(eq=False)
class Foresight:
    """Asks the sandbox, and warns once for each reason. One for each engine.

    Args:
        environ: the engine's environment, of which commands get a part.
        warn: is told, in one line; None: nobody wants to know.
    """

    sandbox: Sandbox
    environ: Mapping[str, str] = attrs.field(repr=False)
    warn: Callable[[str], None] | None
    _told: set[str] = attrs.field(factory=set[str], init=False)

    async def look(self, settings: SessionSettings) -> None:
        """Warn if commands under `settings` cannot be confined. Costs one trial per engine."""
        if self.warn is None:
            return
        error = await self.sandbox.complaint(
            settings.sandbox,
            workspace=settings.cwd,
            env=child_environment(settings.shell_environment, self.environ),
        )
        if error is not None and (text := warning(error)) not in self._told:
            self._told.add(text)
            self.warn(text)


@attrs.frozen
class ForeseeingLoader:
    """A `ContextLoader` that looks ahead before each turn, also of agents and reviews."""

    loader: ContextLoader
    foresight: Foresight

    async def load(self, request: ContextRequest) -> ContextLoaded:
        await self.foresight.look(request.settings)
        return await self.loader.load(request)


def warning(error: Unavailable) -> str:
    """Return, in one line, what is to be expected and why."""
    why = "; ".join(error.tried) or str(error)
    return (
        f"commands cannot be confined here, and will be refused: {' '.join(why.split())} "
        "(`turnlog doctor` tells more)"
    )
