"""How much a conversation may hold is measured where it matters, against the right model."""

from pathlib import Path
from typing import Final

from tests.engine.kit import house, of, play, the
from tests.scenarios.kit import Look, says, sent, size_of, sums_up
from tests.scenarios.test_recovery import Windows
from turnlog.protocol.events import Compacted, TurnEnded
from turnlog.protocol.ops import OverrideTurnContext
from turnlog.protocol.settings import SettingsUpdate
from turnlog.runtime.scripted_model.script import call

LOOK: Final = says(call("look"))


async def test_a_quick_tool_after_a_compaction_is_not_taken_for_one_that_did_not_help(
    tmp_path: Path,
) -> None:
    script = (LOOK, LOOK, says("seen"), sums_up("in short", repeat=9))
    async with house(
        tmp_path, *script, more_tools=[Look(8_000)], model_auto_compact_token_limit=3_000
    ) as h:
        events = await play(await h.start())
        assert the(TurnEnded, events).status == "completed", the(TurnEnded, events)
        assert len(of(Compacted, events)) == 2


async def test_the_users_words_fit_the_smaller_window(tmp_path: Path) -> None:
    windows = {"large": 100_000, "small": 4_000}
    script = (says("heard"), sums_up("in short"))
    async with house(
        tmp_path, *script, loop=True, wrap_context=lambda loader: Windows(loader, windows)
    ) as h:
        session = await h.start(model="large")
        for number in range(10):
            await play(session, f"{number} " + "word " * 600)
        await session.submit(OverrideTurnContext(SettingsUpdate(model="small")))
        events = await play(session)
        assert the(Compacted, events).trigger == "smaller_window"
        assert size_of(sent(h.server)[-1]) <= 4 * windows["small"]
