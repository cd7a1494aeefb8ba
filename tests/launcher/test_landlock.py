"""What landlock is to grant, and so what it hides."""

from pathlib import Path

from turnlog.runtime.launcher.landlock import Rules, readable_around


def test_everything_but_the_hidden_is_covered(tmp_path: Path) -> None:
    for name in ("home/store", "home/work", "home/notes", "other"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "home" / "link").symlink_to("store")
    hidden = str(tmp_path / "home" / "store")
    covered = [path for path in readable_around([hidden]) if path.startswith(f"{tmp_path}/")]
    assert sorted(covered) == [
        str(tmp_path / name) for name in ("home/notes", "home/work", "other")
    ]
    assert not any(hidden.startswith(f"{path}/") for path in readable_around([hidden]))


def test_the_entries_of_a_closed_folder_are_granted_but_for_links_and_what_is_kept(
    tmp_path: Path,
) -> None:
    for name in ("open", "kept", "nested/inner", "other"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("/")
    rules = Rules(
        write=[str(tmp_path / "elsewhere")],
        entries=[str(tmp_path), str(tmp_path / "nested")],
        kept=[str(tmp_path / "kept")],
        hidden=[str(tmp_path / "other")],
    )
    granted = sorted(path.removeprefix(f"{tmp_path}/") for path in rules.writable())
    assert granted == ["elsewhere", "file", "nested/inner", "open"]
