"""What a turn starts with, loaded from real files."""

import base64
import os
from pathlib import Path

import attrs
import msgspec
import pytest
from msgspec import structs

from tests.errors import raises_code
from turnlog.actors.ports import ContextRequest, PlanOrder, ToolMonitor, ToolOrder, ToolResult
from turnlog.protocol.calls import ContextFragment, ToolPlan
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.events import ContextLoaded
from turnlog.protocol.ids import EffectId, SessionId
from turnlog.protocol.images import MAX_IMAGE_BYTES, image_type
from turnlog.protocol.items import JsonText, ToolCallItem
from turnlog.protocol.ops import ImageInput, LocalImageInput, TextInput, UserInputItem
from turnlog.protocol.settings import (
    CompactionLimits,
    RetryLimits,
    SandboxPolicy,
    SessionSettings,
    TurnSettings,
)
from turnlog.runtime.config import Config, ProviderConfig
from turnlog.runtime.context.loader import TurnContextLoader
from turnlog.runtime.context.prompts import BASE_INSTRUCTIONS
from turnlog.runtime.context.render import render_environment, render_permissions
from turnlog.runtime.context.timezone import date_in
from turnlog.runtime.context.user_input import user_message
from turnlog.runtime.processes.spawner import Spawner
from turnlog.runtime.sandbox.confinement import Bounds, Preference, Sandbox
from turnlog.runtime.sandbox.layout import Kept

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
NOON = 1_795_262_400_000_000  # 2026-11-21T12:00:00Z


class OneTool:
    """A registry of one tool, which is never called here."""

    def specs(self, settings: SessionSettings) -> JsonText:
        return '[{"type":"function","name":"exec_command"}]'

    async def plan(self, call: ToolCallItem, settings: TurnSettings) -> ToolPlan:
        raise AssertionError

    async def plan_again(self, order: PlanOrder) -> ToolPlan:
        return await self.plan(order.call, order.settings)

    async def run(self, order: ToolOrder, monitor: ToolMonitor) -> ToolResult:
        raise AssertionError


class Noon:
    def now_us(self) -> int:
        return NOON


CONFIG = Config(
    model_providers={"openai": ProviderConfig("http://127.0.0.1:1", stream_max_retries=2)},
    approval_timeout_ms=1000,
)


@attrs.frozen
class Place:
    cwd: Path
    home: Path
    warnings: list[str] = attrs.field(factory=list[str])
    mechanism: Preference = "none"

    @property
    def settings(self) -> SessionSettings:
        return SessionSettings(cwd=str(self.cwd), model="gpt-5.5")

    async def load(
        self, settings: SessionSettings, *items: UserInputItem, config: Config = CONFIG
    ) -> ContextLoaded:
        environ = {"TURNLOG_HOME": str(self.home), "TZ": "Etc/UTC"}
        request = ContextRequest(EffectId("1.context.0"), SessionId("s"), settings, items)
        async with Spawner() as spawner:
            sandbox = Sandbox(spawner, self.kept, self.mechanism)
            loader = TurnContextLoader(
                config, OneTool(), Noon(), environ, sandbox, self.warnings.append
            )
            return await loader.load(request)

    @property
    def kept(self) -> Kept:
        return Kept(hidden=(str(self.home),))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    real = tmp_path.resolve()
    place = Place(real / "work", real / "home")
    place.cwd.mkdir()
    place.home.mkdir()
    return place


NOT_CONFINED = Bounds(None, complaint="switched off")


def environment(settings: SessionSettings, *roots: str) -> ContextFragment:
    text = render_environment(
        settings.cwd, "bash", date_in("Etc/UTC", NOON), "Etc/UTC", settings.sandbox, roots
    )
    return ContextFragment("environment", "user", text)


async def test_a_plain_turn_starts_with_instructions_permissions_and_environment(
    place: Place,
) -> None:
    settings = place.settings
    permissions = render_permissions(settings.sandbox, NOT_CONFINED, "on-request")
    assert await place.load(settings, TextInput("hi"), TextInput("there")) == ContextLoaded(
        EffectId("1.context.0"),
        TurnSettings(
            session=settings,
            retry=RetryLimits(stream_max_retries=2),
            parallel_tool_calls=True,
            context_window=258_400,
            approval_timeout_ms=1000,
            compaction=CompactionLimits(at_tokens=232_560),
        ),
        '[{"type":"function","name":"exec_command"}]',
        (
            ContextFragment("base_instructions", "developer", BASE_INSTRUCTIONS),
            ContextFragment("permissions", "developer", permissions),
            environment(settings),
        ),
        '{"type":"message","role":"user","content":[{"type":"input_text","text":"hi"},'
        '{"type":"input_text","text":"there"}]}',
    )


async def test_every_fragment_has_its_place(place: Place) -> None:
    (place.home / "AGENTS.md").write_text("mine\n")
    (place.cwd / "AGENTS.md").write_bytes(b"its\xff")
    settings = structs.replace(
        place.settings,
        base_instructions="base",
        developer_instructions="dev",
        user_instructions="said",
        sandbox=SandboxPolicy(
            "workspace-write", exclude_slash_tmp=True, exclude_tmpdir_env_var=True
        ),
        approval_policy="never",
    )
    loaded = await place.load(settings)
    assert loaded.fragments == (
        ContextFragment("base_instructions", "developer", "base"),
        ContextFragment(
            "permissions", "developer", render_permissions(settings.sandbox, NOT_CONFINED, "never")
        ),
        ContextFragment("developer_instructions", "developer", "dev"),
        ContextFragment(
            "agents_md",
            "user",
            f"# AGENTS.md instructions for {place.cwd}\n\n<INSTRUCTIONS>\n"
            "said\n\nmine\n\n\n--- project-doc ---\n\nits\ufffd\n</INSTRUCTIONS>",
        ),
        environment(settings),
    )
    assert place.warnings == [
        f"{place.cwd / 'AGENTS.md'} is not UTF-8; what cannot be read is shown as U+FFFD."
    ]


@pytest.mark.parametrize(
    ("model", "configured", "window", "parallel"),
    [
        ("gpt-5.5", None, 258_400, True),
        ("gpt-5.5", 1000, 1000, True),
        ("gpt-5.6-sol", None, 258_400, False),
        ("my-own", None, None, True),
        ("my-own", 5000, 5000, True),
    ],
)
async def test_a_configured_window_wins_over_what_is_known_of_the_model(
    place: Place, model: str, configured: int | None, window: int | None, parallel: bool
) -> None:
    settings = structs.replace(place.settings, model=model, model_context_window=configured)
    loaded = (await place.load(settings)).settings
    assert (loaded.context_window, loaded.parallel_tool_calls) == (window, parallel)


async def test_equal_surroundings_give_equal_facts(place: Place) -> None:
    assert await place.load(place.settings) == await place.load(place.settings)


async def test_a_working_folder_that_is_gone_fails_the_turn(place: Place) -> None:
    place.cwd.rmdir()
    with raises_code(ErrorCode.INPUT_UNREADABLE, match=r"working folder .* is not there"):
        await place.load(place.settings)


async def test_a_provider_that_is_gone_fails_the_turn(place: Place) -> None:
    with raises_code(ErrorCode.CONFIG_INVALID, match="model provider 'openai'"):
        await place.load(place.settings, config=Config())


async def test_a_large_image_is_read_too(place: Place) -> None:
    path = place.cwd / "large.png"
    path.write_bytes(PNG + bytes(1 << 20))
    loaded = await place.load(place.settings, LocalImageInput(str(path)))
    assert loaded.input_json == user_message([LocalImageInput(str(path))])
    assert len(loaded.input_json) > 1 << 20


# --- the message ------------------------------------------------------------------------------


def test_images_are_sent_in_place_and_counted(tmp_path: Path) -> None:
    path = tmp_path / 'a "b".png'
    path.write_bytes(PNG)
    message = user_message(
        [ImageInput("https://x/y.png"), TextInput("look:"), LocalImageInput(str(path))]
    )
    url = "data:image/png;base64," + base64.b64encode(PNG).decode()
    assert msgspec.json.decode(message) == {
        "type": "message",
        "role": "user",
        "content": [
            {"type": "input_image", "image_url": "https://x/y.png", "detail": "original"},
            {"type": "input_text", "text": "look:"},
            {
                "type": "input_text",
                "text": f'<image name=[Image #2] path="{tmp_path}/a &quot;b&quot;.png">',
            },
            {"type": "input_image", "image_url": url, "detail": "original"},
            {"type": "input_text", "text": "</image>"},
        ],
    }


@pytest.mark.parametrize(
    ("head", "media_type"),
    [
        (PNG, "image/png"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF", "image/jpeg"),
        (b"GIF87a", "image/gif"),
        (b"GIF89a", "image/gif"),
        (b"RIFF\x24\0\0\0WEBPVP8 ", "image/webp"),
        (b"RIFF\x24\0\0\0WAVEfmt ", None),
        (b"\x89PNG", None),
        (b"<svg xmlns=", None),
        (b"", None),
    ],
)
def test_the_type_of_an_image_is_what_its_content_says(head: bytes, media_type: str | None) -> None:
    assert image_type(head[:12]) == media_type


def test_an_image_that_cannot_be_sent_is_named(tmp_path: Path) -> None:
    text, large = tmp_path / "text.png", tmp_path / "large.png"
    text.write_text("no image")
    with large.open("wb") as file:
        file.write(PNG)
        file.truncate(MAX_IMAGE_BYTES + 1)
    os.mkfifo(tmp_path / "pipe.png")
    for path, why in [
        (tmp_path / "none.png", "cannot be read: No such file or directory."),
        (tmp_path, "cannot be read: Is a directory."),
        (tmp_path / "pipe.png", "cannot be read: it is not a regular file."),
        (text, "is not PNG, JPEG, GIF or WebP by its content; those can be sent."),
        (
            large,
            f"cannot be read: it is longer than {MAX_IMAGE_BYTES} bytes. Images may have "
            f"{MAX_IMAGE_BYTES} bytes in one message, all together.",
        ),
        (tmp_path / "nul\0", "cannot be read: No such file or directory."),
    ]:
        with raises_code(ErrorCode.INPUT_UNREADABLE) as caught:
            user_message([LocalImageInput(str(path))])
        assert str(caught.value) == f"the image {path} {why}"


def test_many_images_share_one_limit(tmp_path: Path) -> None:
    path = tmp_path / "big.png"
    with path.open("wb") as file:
        file.write(PNG)
        file.truncate(MAX_IMAGE_BYTES // 2 + 1)
    with raises_code(ErrorCode.INPUT_UNREADABLE, match="all together"):
        user_message([LocalImageInput(str(path))] * 2)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "data:text/html,x", "", "x" * 500])
def test_a_url_that_no_provider_can_open_is_refused(url: str) -> None:
    with raises_code(ErrorCode.INPUT_UNREADABLE) as caught:
        user_message([ImageInput(url)])
    assert len(str(caught.value)) < 250
