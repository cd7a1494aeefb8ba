"""`turnlog show --tree`: what a session's agents and reviews cost."""

from tests.cli.harness import User
from turnlog.runtime.scripted_model.script import Response, call, message


async def test_each_agent_and_review_is_a_line_with_its_tokens(user: User) -> None:
    agent = call("spawn_agent", {"message": "AGENT, dig", "nickname": "digger"})
    async with user.model(
        [agent],
        "Waiting.",
        "It dug.",
        "Looks good.",
        Response(items=[message("Dug.")], only_for="AGENT"),
    ):
        run = await user.run("exec", "--json", "go")
        assert (await user.run("review", run.thread)).code == 0
        fork = (await user.run("fork", run.thread)).out.strip()
        rows = (await user.run("show", "--tree", "--json", run.thread)).lines
        text = await user.run("show", "--tree", run.thread[:-1])
        alone = await user.run("show", "--tree", rows[1]["id"])
        missing = await user.run("show", "--tree", "zzz")
    assert [(row["depth"], row["kind"], row["spawned_by"]) for row in rows] == [
        (0, "exec", None),
        (1, "agent", run.thread),
        (1, "review", run.thread),
    ]
    tokens = [(row["usage"]["input_tokens"], row["usage"]["output_tokens"]) for row in rows]
    own = run.lines[-1]["usage"]
    assert tokens == [(own["input_tokens"], own["output_tokens"]), (100, 10), (100, 10)]
    assert fork not in text.out
    total = own["input_tokens"] + 200
    drawn = text.out.splitlines()
    assert (text.code, len(drawn)) == (0, 4)
    assert drawn[0].startswith(run.thread[-8:])
    assert drawn[1].startswith("├─ ")
    assert "agent" in drawn[1]
    assert drawn[1].endswith("100 tokens in, 10 out")
    assert drawn[2].startswith("└─ ")
    assert "review" in drawn[2]
    assert drawn[3].startswith(f"3 sessions: {total:,} tokens in, ")
    assert len(alone.out.splitlines()) == 1
    assert (missing.code, missing.out) == (1, "")
    assert missing.err.endswith("[session_not_found]\n")


async def test_a_tree_goes_with_no_option_that_picks_events(user: User) -> None:
    for words in (("--after", "3"), ("--limit", "3"), ("--follow",), ("--at", "3")):
        outcome = await user.run("show", "x", "--tree", *words)
        assert (outcome.code, outcome.out) == (2, "")
        assert "--tree" in outcome.err
