"""AGENTS.md files: which ones hold for a folder, and what of them fits."""

from collections.abc import Sequence
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from turnlog.runtime.config.project import project_root
from turnlog.runtime.context.agents_md import (
    NAMES,
    Docs,
    decode,
    find_project_docs,
    load_docs,
    read_docs,
)

NAME = st.sampled_from("ab")
FILES = (*NAMES, "CLAUDE.md", ".git", ".hg")


@st.composite
def trees(draw: st.DrawFn) -> tuple[Path, frozenset[Path]]:
    """Draw a working folder and the files of a tree around it."""
    cwd = Path("/", *draw(st.lists(NAME, max_size=5)))
    folders = [cwd, *cwd.parents, cwd / "below", cwd.parent / "beside"]
    files = draw(st.sets(st.builds(Path, st.sampled_from(folders), st.sampled_from(FILES))))
    return cwd, frozenset(files)


MARKERS = st.lists(st.sampled_from([".git", ".hg"]), unique=True)
FALLBACKS = st.sampled_from([(), ("CLAUDE.md",)])


@given(trees(), MARKERS)
def test_the_root_is_the_nearest_folder_with_a_marker(
    tree: tuple[Path, frozenset[Path]], markers: list[str]
) -> None:
    cwd, files = tree
    root = project_root(cwd, markers, files.__contains__)
    upwards = [cwd, *cwd.parents]
    marked = [any(folder / marker in files for marker in markers) for folder in upwards]
    assert upwards.index(root) == (marked.index(True) if any(marked) else 0)


@given(trees(), MARKERS, FALLBACKS)
def test_one_file_of_each_folder_counts_from_the_root_down(
    tree: tuple[Path, frozenset[Path]], markers: list[str], fallbacks: Sequence[str]
) -> None:
    cwd, files = tree
    found = find_project_docs(
        cwd, markers, fallbacks, exists=files.__contains__, is_file=files.__contains__
    )
    root = project_root(cwd, markers, files.__contains__)
    names = (*NAMES, *fallbacks)
    expected = {
        folder: next(name for name in names if folder / name in files)
        for folder in [cwd, *cwd.parents]
        if folder.is_relative_to(root) and any(folder / name in files for name in names)
    }
    assert {path.parent: path.name for path in found} == expected
    assert [len(path.parts) for path in found] == sorted({len(path.parts) for path in found})


def test_without_a_marker_only_the_working_folder_counts(tmp_path: Path) -> None:
    cwd = tmp_path / "a" / "b"
    cwd.mkdir(parents=True)
    for folder in (cwd, cwd.parent):
        (folder / "AGENTS.md").write_text("x")
    assert find_project_docs(cwd, ["no-such-marker"], ()) == [cwd / "AGENTS.md"]
    assert find_project_docs(cwd, [], ()) == [cwd / "AGENTS.md"]


def test_what_is_no_file_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "AGENTS.override.md").mkdir()
    (tmp_path / "AGENTS.md").symlink_to("nowhere")
    assert find_project_docs(tmp_path, [], ()) == []


def test_files_are_joined_and_the_blank_and_the_unreadable_left_out(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in "abcd"]
    for path, text in zip(paths, ["one\n", " \n", "three", None], strict=True):
        if text is not None:
            path.write_text(text)
    assert read_docs(paths, 100) == Docs(
        "one\n\n\nthree",
        (f"{paths[3]} is left out: it cannot be read (No such file or directory).",),
    )


def test_what_is_over_the_budget_is_cut_and_told(tmp_path: Path) -> None:
    first, second, third = (tmp_path / name for name in "abc")
    first.write_text("12345")
    second.write_text("ab€d")
    third.write_text("x")
    assert read_docs([first, second, third], 9) == Docs(
        "12345\n\nab",
        (
            f"{second} is cut after 4 of 6 bytes: project_doc_max_bytes is 9.",
            f"{third} is cut after 0 of 1 bytes: project_doc_max_bytes is 9.",
        ),
    )


def test_what_is_not_utf8_is_shown_as_far_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "AGENTS.md"
    path.write_bytes(b"a\xffb\xe2\x82")
    assert read_docs([path], 100) == Docs(
        "a\ufffdb\ufffd",
        (f"{path} is not UTF-8; what cannot be read is shown as U+FFFD.",),
    )


@given(st.text(), st.integers(0, 30))
def test_a_cut_never_goes_through_a_character(text: str, budget: int) -> None:
    data = text.encode()[:budget]
    shown, is_lossy = decode(data, is_cut=True)
    assert text.startswith(shown)
    assert len(data) - len(shown.encode()) < 4
    assert not is_lossy


@given(st.lists(st.binary(max_size=20), max_size=4), st.integers(0, 40))
def test_never_more_than_the_budget_is_read(contents: list[bytes], budget: int) -> None:
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        paths = [Path(folder, str(n)) for n in range(len(contents))]
        for path, data in zip(paths, contents, strict=True):
            path.write_bytes(data)
        docs = read_docs(paths, budget)
    readable = docs.text.replace("\ufffd", "?").encode()
    assert len(readable) <= budget + 2 * len(contents)  # blank lines between
    assert any(" is cut after " in text for text in docs.warnings) == (
        sum(map(len, contents)) > budget
    )


def load(cwd: Path, home: Path, budget: int = 100, instructions: str | None = None) -> Docs:
    return load_docs(
        cwd,
        home,
        markers=(".git",),
        fallback_names=(),
        budget=budget,
        user_instructions=instructions,
    )


def test_the_users_part_comes_before_the_projects(tmp_path: Path) -> None:
    home, root = tmp_path / "home", tmp_path / "root"
    cwd = root / "deep"
    for folder in (home, cwd, root / ".git"):
        folder.mkdir(parents=True)
    assert load(cwd, home) == Docs()
    (root / "AGENTS.md").write_text("root")
    (cwd / "AGENTS.override.md").write_text("deep")
    (cwd / "AGENTS.md").write_text("overridden")
    assert load(cwd, home).text == "root\n\ndeep"
    (home / "AGENTS.md").write_text("own")
    assert load(cwd, home).text == "own\n\n--- project-doc ---\n\nroot\n\ndeep"
    assert load(cwd, home, instructions="said").text == (
        "said\n\nown\n\n--- project-doc ---\n\nroot\n\ndeep"
    )
    assert load(cwd, home, budget=0, instructions="said") == Docs("said")
