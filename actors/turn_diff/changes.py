"""What a turn has changed so far, for those who watch it."""

from collections.abc import Callable

import attrs
import trio

from turnlog.protocol.calls import PatchReport
from turnlog.protocol.events import (
    ContextLoaded,
    FilesSaved,
    SessionEvent,
    ToolFinished,
    TurnOpened,
)
from turnlog.protocol.files import FileImage
from turnlog.protocol.notices import BackgroundEvent, Notice, TurnDiff


@attrs.define(eq=False)
class TurnChanges:
    """Follows a session's events; a turn's diff runs from its first images to its last ones."""

    turn: int = 0
    root: str = "/"
    before: dict[str, FileImage] = attrs.field(factory=dict[str, FileImage])
    after: dict[str, FileImage] = attrs.field(factory=dict[str, FileImage])
    changes: int = 0

    def take(self, event: SessionEvent) -> bool:
        """Take an event; say whether the turn's diff has changed."""
        match event:
            case TurnOpened(turn=turn):
                self.turn = turn
                self.before, self.after = {}, {}
            case ContextLoaded(settings=settings):
                self.root = settings.session.cwd
            case FilesSaved(files=files):
                for image in files:
                    self.before.setdefault(image.path, image)
            case ToolFinished(report=PatchReport(after=after)) if after:
                self.after.update((image.path, image) for image in after)
                self.changes += 1
                return True
            case _:
                pass
        return False

    def diff(self) -> str:
        """Return one unified diff of all that is known to have changed. Near-linear, but slow."""
        from turnlog.actors.turn_diff.unified import unified_diff

        changed = {path: self.before[path] for path in self.after if path in self.before}
        return unified_diff(changed, self.after, self.root)

    async def show(self, notify: Callable[[Notice], None]) -> None:
        """Publish the diff as it is now, unless more has changed before it is made.

        Best effort: an error becomes a notice, and closing the session does not wait for it.
        """
        now = attrs.evolve(self, before=dict(self.before), after=dict(self.after))
        try:
            text = await trio.to_thread.run_sync(now.diff, abandon_on_cancel=True)
        except Exception as error:
            notify(BackgroundEvent(f"the turn's diff could not be made: {error!r}"))
            return
        if now.changes == self.changes:
            notify(TurnDiff(now.turn, text))
