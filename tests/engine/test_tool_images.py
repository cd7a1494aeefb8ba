"""A tool's result may have images: the model is shown them, and the log keeps them."""

import base64
from pathlib import Path
from typing import Any, Final

import pytest
from msgspec import Struct

import turnlog
from tests.engine.kit import house, of, play, the
from turnlog import Image, ToolResult
from turnlog.protocol.events import CompactionAsked, ToolFinished
from turnlog.protocol.images import MAX_IMAGE_BYTES
from turnlog.runtime.scripted_model.script import call
from turnlog.runtime.store.lmdb.log import open_log

PNG: Final = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 16
URL: Final = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
SHOWN: Final = {"type": "input_image", "image_url": URL}


class Size(Struct, frozen=True):
    width: int
    height: int


@turnlog.tool
async def look(what: str) -> object:
    """Look at something."""
    image = Image.of(PNG)
    match what:
        case "one":
            return image
        case "closely":
            return ["here:", Image.of(PNG, detail="high"), Size(3, 4), image]
        case "text":
            return Image.of(b"no image")
        case "url":
            return Image("file:///etc/passwd")
        case "large":
            return Image("data:image/png;base64," + "A" * (MAX_IMAGE_BYTES * 4 // 3 + 8))
        case _:
            return ToolResult("done", "the screen:\n", "a window", images=(image,))


def sent(body: dict[str, Any]) -> list[Any]:
    """Return the outputs of calls that a request has."""
    return [item["output"] for item in body["input"] if item["type"] == "function_call_output"]


@pytest.mark.parametrize(
    ("what", "parts"),
    [
        ("one", [SHOWN]),
        (
            "closely",
            [
                {"type": "input_text", "text": 'here:\n{"width":3,"height":4}'},
                {**SHOWN, "detail": "high"},
                SHOWN,
            ],
        ),
        ("result", [{"type": "input_text", "text": "the screen:\na window"}, SHOWN]),
    ],
)
async def test_the_model_is_shown_the_texts_and_then_the_images(
    tmp_path: Path, what: str, parts: list[dict[str, str]]
) -> None:
    async with house(tmp_path, call("look", {"what": what}), "seen", more_tools=[look]) as h:
        await play(await h.start())
        assert sent(h.server.requests[-1].body) == [parts]


@pytest.mark.parametrize(
    ("what", "why"),
    [
        ("text", "look failed: ValueError: this is not PNG, JPEG, GIF or WebP by its content"),
        ("url", "look failed: its result.images[0].url: 'file:///etc/passwd' is not allowed; use"),
        ("large", f"are not allowed; all of them may have {MAX_IMAGE_BYTES}"),
    ],
)
async def test_an_image_that_cannot_be_sent_fails_the_call(
    tmp_path: Path, what: str, why: str
) -> None:
    async with house(tmp_path, call("look", {"what": what}), "oh", more_tools=[look]) as h:
        done = the(ToolFinished, await play(await h.start()))
        assert (done.outcome, done.images) == ("failed", ())
        assert why in done.output


async def test_the_log_alone_gives_the_images_back(tmp_path: Path) -> None:
    script = (call("look", {"what": "closely"}), call("look", {"what": "one"}), "seen", "again")
    async with (
        open_log(tmp_path / "store") as log,
        house(tmp_path, *script, log=log, more_tools=[look]) as h,
    ):
        session = await h.start()
        await play(session)
        before = session.history()
        assert URL in before[-2]
        await session.close()
        resumed = await h.engine.resume(session.id)
        assert resumed.history() == before
        await play(resumed, "and now?")
        assert sent(h.server.requests[-1].body)[1] == [SHOWN]


async def test_a_large_image_does_not_make_a_conversation_too_long(tmp_path: Path) -> None:
    @turnlog.tool
    async def shot() -> Image:
        """Take a picture of the screen."""
        return Image.of(PNG + bytes(400_000))

    tools, limit = [shot], 20_000  # tokens; the picture's URL alone has as many bytes as 130,000
    async with house(
        tmp_path, call("shot"), "seen", more_tools=tools, model_auto_compact_token_limit=limit
    ) as h:
        assert of(CompactionAsked, await play(await h.start())) == []
        ((image,),) = sent(h.server.requests[-1].body)
        assert len(image["image_url"]) > 500_000
