"""Lists show the end of an id: it differs where the beginnings do not, and finds the session."""

from hypothesis import given
from hypothesis import strategies as st

from tests.cli.harness import User
from turnlog.frontends.sessions.address import short_length
from turnlog.protocol.ids import SessionId

ids = st.lists(
    st.text("01", min_size=16, max_size=16).map(
        lambda tail: SessionId(f"01a23259-6b0f-7757-{tail[:4]}-{tail[4:]}")
    ),
    min_size=1,
    max_size=6,
)


@given(ids)
def test_no_two_of_the_shown_ends_are_the_same(sessions: list[SessionId]) -> None:
    length = short_length(sessions)
    ends = {session[-length:] for session in sessions}
    assert len(ends) == len(set(sessions))
    assert length >= 8
    assert not any(end.startswith("-") for end in ends)


async def test_what_a_list_shows_finds_the_session(user: User) -> None:
    async with user.model("one", "two"):
        threads = [(await user.run("exec", "--json", "go")).thread for _ in range(2)]
    await user.run("fork", threads[0])
    listed = (await user.run("sessions")).out.splitlines()[1:]
    drawn = (await user.run("tree")).out.splitlines()
    ids = {row["id"] for row in (await user.run("sessions", "--json")).lines}
    assert len(ids) == 3
    for lines in (listed, drawn):
        shown = [line.lstrip(" └─").split()[0] for line in lines]
        found = {
            (await user.run("show", short, "--at", "-1", "--json")).lines[0]["session"]
            for short in shown
        }
        assert found == ids
    [fork] = [line for line in listed if "fork of" in line]
    assert f"(fork of {threads[0][-8:]} at " in fork
