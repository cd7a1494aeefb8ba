"""What cannot begin is no turn: undo, redo, changes and the list of sessions mean the work."""

from tests.cli.harness import User
from turnlog.runtime.scripted_model.script import Item, custom

PATCH: Item = custom(
    "apply_patch", "*** Begin Patch\n*** Add File: new.txt\n+here\n*** End Patch\n"
)


async def test_with_the_provider_gone_the_work_can_be_seen_and_undone(user: User) -> None:
    new = user.cwd / "new.txt"
    async with user.model([PATCH], "Done."):
        thread = (await user.run("exec", "--json", "make it")).thread
    user.configure("")  # the provider of the session is gone
    for words in (
        ("exec", "resume", thread, "more"),
        ("compact", thread),
        ("review", thread),
    ):
        refused = await user.run(*words)
        assert refused.code == 1
        assert "is not configured here" in refused.err
    [row] = (await user.run("sessions", "--json")).lines
    assert row["turns"] == 1
    assert "+here" in (await user.run("changes", thread)).out
    assert (await user.run("shell", thread, "echo my own")).out == "my own\n"
    assert (await user.run("undo", thread)).code == 0
    assert not new.exists()
    assert (await user.run("exec", "resume", thread, "more")).code == 1
    assert (await user.run("redo", thread)).code == 0
    assert new.read_text() == "here\n"
