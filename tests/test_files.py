"""YAML that is read as it looks, or refused with file and line; names; files that are no text."""

import errno
import os
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from starprompt import files
from starprompt.errors import UserError
from starprompt.files import (
    atomic_path,
    dump_yaml,
    parse_yaml,
    read_json,
    read_text,
    read_yaml,
    require_name,
    sha256_file,
    write_text,
)
from starprompt.finished import ask
from starprompt.record import listing

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: 1", {"a": 1}),
        ("a: -0.5", {"a": -0.5}),
        ("a: 1e-3", {"a": 0.001}),
        ("a: 1e3", {"a": 1000.0}),
        ("a: .5", {"a": 0.5}),
        ("[true, False, null, ~, ]", [True, False, None, None]),
        ("a:\nb: ~", {"a": None, "b": None}),
        ("a: 'no'\nb: \"2020-01-01\"\nc: '010'", {"a": "no", "b": "2020-01-01", "c": "010"}),
        ("a: >-\n  yes\n  and no", {"a": "yes and no"}),
        (
            "a: noon\nb: one\nc: 4_wheel\nd: 1:x",
            {"a": "noon", "b": "one", "c": "4_wheel", "d": "1:x"},
        ),
        ("a: &x [1, 2]\nb: *x", {"a": [1, 2], "b": [1, 2]}),
        ("", None),
        ("- [a, {b: c}]", [["a", {"b": "c"}]]),
    ],
)
def test_what_is_plain_is_read_as_it_looks(text, value):
    assert parse_yaml(text, "x.yaml") == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3", r"x\.yaml, line 3: the key 'a' stands there twice"),
        ("o:\n  a: 1\n  a: 3", r"line 3: the key 'a' stands there twice"),
        ("name: no", r"line 1: 'no' would be read as a truth value"),
        ("seeds: [on, Yes, OFF]", "'on' would be read as a truth value"),
        ("yes: 1", "'yes' would be read as a truth value"),
        ("name: 2024-01-31", "'2024-01-31' would be read as a date"),
        ("seed: 010", "'010' would be read as an octal"),
        ("seed: 0x1F", "hexadecimal"),
        ("seed: 1_000", "'1_000' would be read as a number"),
        ("time: 1:30", "base 60"),
        ("rate: .inf", "an infinity"),
        ("rate: -.INF", "an infinity"),
        ("rate: .NaN", "an infinity"),
        ("rate: 1e999", "too large"),
        ("rate: " + "9" * 5000, "too long"),
        ("1993: a", "the key 1993 is not text"),
        ("null: a", "the key None is not text"),
        ("? [a]\n: b", "a key must be text"),
        ("? {a: b}\n: b", "a key must be text"),
        ("a: &x {b: *x}", "refers to itself"),
        ("&x [*x]", "refers to itself"),
        ("a: *x", "refers to nothing"),
        ("<<: {a: 1}", "merge keys"),
        ("a: !!python/object/apply:os.system [ls]", "the tag .* is not read"),
        ("a: !!binary aGk=", "the tag"),
        ("a: !!set {b, c}", "the tag"),
        ("a: 1\n---\nb: 2", "more than one document"),
        ("[" * 60 + "]" * 60, "levels are nested"),
        ("[" * 100_000, "levels are nested|nesting depth"),
        ("{a: " * 60, "levels are nested|nesting depth"),
        ("a: [", r"x\.yaml is not YAML \(line"),
        ("a: b: c", "is not YAML"),
        ("\ta: 1", "is not YAML"),
        ("a: \x00", "is not YAML"),
        ("a: '\x07'", "is not YAML"),
    ],
)
def test_what_looks_otherwise_than_it_reads_is_refused_with_file_and_line(text, message):
    with pytest.raises(UserError, match=message) as caught:
        parse_yaml(text, "x.yaml")
    assert "x.yaml" in str(caught.value)
    assert len(str(caught.value)) < 400


def test_exploding_aliases_are_bounded():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    with pytest.raises(UserError, match="expands to more than 1,000,000 characters"):
        parse_yaml("\n".join(lines), "x.yaml")
    long = f"a: &a {'x' * 10_000}\nb: [{', '.join(['*a'] * 200)}]"
    with pytest.raises(UserError, match="expands to more than"):
        parse_yaml(long, "x.yaml")


def test_an_alias_is_a_copy():
    value = parse_yaml("a: &x {n: 1}\nb: *x", "x.yaml")
    value["b"]["n"] = 2
    assert value["a"] == {"n": 1}


@pytest.mark.parametrize("path", sorted((ROOT / "config").rglob("*.yaml")), ids=lambda p: p.stem)
def test_every_file_of_ours_is_read_as_by_the_usual_loader(path):
    assert repr(read_yaml(path)) == repr(yaml.safe_load(path.read_text(encoding="utf-8")))


# PyYAML's own dumper loses line ends of Unicode that it writes in quotes.
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x85\u2028\u2029"))
plain = st.none() | st.booleans() | st.integers(-(10**12), 10**12) | texts
plain |= st.floats(allow_nan=False, allow_infinity=False)
trees = st.recursive(
    plain,
    lambda part: st.lists(part, max_size=3) | st.dictionaries(texts, part, max_size=3),
    max_leaves=12,
)


@given(trees)
def test_what_is_dumped_comes_back(value):
    """Our own dumper quotes what would be ambiguous, so its text is always readable."""
    assert repr(parse_yaml(dump_yaml(value), "x.yaml")) == repr(value)


@pytest.mark.parametrize("text", ["08", "0E0", "1e5", "1_000", "12:30", "no", "2026-11-26", "~"])
def test_text_that_looks_like_something_else_is_dumped_in_quotes(text):
    for value in (text, {text: [text]}):
        assert parse_yaml(dump_yaml(value), "x.yaml") == value


def test_an_experiment_is_dumped_as_by_the_usual_dumper():
    """Configurations that earlier versions wrote beside results stay as they are."""
    for path in (ROOT / "config").glob("*.yaml"):
        value = read_yaml(path)
        usual = yaml.safe_dump(value, sort_keys=False, allow_unicode=True)
        assert dump_yaml(value) == usual


@given(st.text(alphabet="ab01.-:_e+&*![]{}#'\"\n \t<?|>%@`,~\\", max_size=40))
def test_any_text_is_a_value_or_one_sentence(text):
    try:
        parse_yaml(text, "x.yaml")
    except UserError as error:
        assert "x.yaml" in str(error)


def test_files_that_are_no_text_are_one_sentence(tmp_path):
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "latin.yaml").write_bytes(b"a: \xe9\n")
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "giant.yaml").touch()
    os.truncate(tmp_path / "giant.yaml", 10**12)
    (tmp_path / "circle.yaml").symlink_to("circle.yaml")
    for name, message in {
        "none.yaml": "There is no file",
        "folder.yaml": "is a folder",
        "latin.yaml": "is not UTF-8",
        "pipe.yaml": "not a regular file",
        "giant.yaml": "more than the 1,000,000",
        "circle.yaml": "cannot be read",
        "a" * 5000 + ".yaml": "cannot be read",
        "a\0b.yaml": "cannot be read",
        "latin.yaml/x": "cannot be read",
    }.items():
        with pytest.raises(UserError, match=message) as caught:
            read_text(tmp_path / name)
        assert len(str(caught.value)) < 500
    for text in ("- a\n", "just text\n", ""):
        (tmp_path / "list.yaml").write_text(text)
        with pytest.raises(UserError, match="must hold a mapping"):
            read_yaml(tmp_path / "list.yaml")


@pytest.mark.parametrize("name", ["a", "cifar100", "my-images-2", "0", "x" * 100])
def test_good_names(name):
    require_name("data set", name, "x.yaml")


@pytest.mark.parametrize(
    "name",
    [
        "",
        "-a",
        "A",
        "a b",
        "a;touch x",
        "a\n",
        "der++",
        "`ls`",
        "$(ls)",
        "a/b",
        "..",
        "é",
        "x" * 101,
        "a{b}",
        "a.b",
        "a_b",
        None,
        5,
        True,
    ],
)
def test_names_that_paths_or_shells_could_misread_are_refused(name):
    with pytest.raises(UserError, match=r"x\.yaml: .* is no name for a data set") as caught:
        require_name("data set", name, "x.yaml")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("code", ["EROFS", "EACCES", "ENAMETOOLONG", "EIO", "EFBIG"])
def test_a_failed_write_is_one_sentence_also_where_nothing_may_be_removed(
    tmp_path, monkeypatch, code
):
    def refuse(*args, **kwargs):
        raise OSError(getattr(errno, code), "no")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refuse)
        patch.setattr(Path, "replace", refuse)
        with pytest.raises(UserError, match="could not be written"):
            write_text(tmp_path / "x.txt", "text")


def test_a_folder_where_a_file_should_be_stays(tmp_path):
    (tmp_path / "x.txt").mkdir()
    (tmp_path / "x.txt" / "kept").touch()
    with pytest.raises(UserError, match="a folder stands in its place"):
        write_text(tmp_path / "x.txt", "text")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="a file stands where its folder should be"):
        write_text(tmp_path / "file" / "x.txt", "text")
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["file", "kept", "x.txt"]


def test_other_errors_of_a_block_stay_what_they_are(tmp_path):
    with pytest.raises(ZeroDivisionError), atomic_path(tmp_path / "x") as part:
        part.touch()
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())
    assert files.write_trouble(tmp_path, OSError(errno.ENOENT, "x")) is None


@pytest.mark.parametrize("kind", ["missing", "folder", "pipe", "device", "nested", "latin", "none"])
def test_a_note_that_cannot_be_read_is_a_value_error(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "note.json"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind != "missing":
        path.write_bytes({"nested": b"[" * 100_000, "latin": b'"\xff"', "none": b""}[kind])
    with pytest.raises(ValueError, match=r".+"):
        read_json(path)


def test_what_is_no_regular_file_has_no_digest(tmp_path: Path) -> None:
    """A pipe would wait and a device never end."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "device").symlink_to("/dev/zero")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for name in ("pipe", "device", "loop", "missing", "."):
        with pytest.raises(OSError, match=r"regular file|No such|levels"):
            sha256_file(tmp_path / name)


def denied(path: object) -> PermissionError:
    return PermissionError(errno.EACCES, "Permission denied", str(path))


def test_a_failed_read_is_not_called_a_failed_write(tmp_path: Path) -> None:
    for path in (tmp_path / "ant", tmp_path / "record.json"):
        assert str(files.trouble(denied(path))) == (
            f"{path} could not be used: Permission denied; check its permissions and try again."
        )
    unnamed = OSError(errno.EIO, "Input/output error")
    assert "A file or folder could not be used: Input/output" in str(files.trouble(unnamed))
    full = OSError(errno.ENOSPC, "No space left on device")
    assert "disk is full: the output could not be written" in str(files.trouble(full))
    read_only = OSError(errno.EROFS, "Read-only file system", str(tmp_path / "x"))
    assert "x could not be written: the file system is read-only" in str(files.trouble(read_only))


@pytest.mark.parametrize("name", ["other", "x.txt2", "x", "folder/other"])
def test_what_a_write_reads_meanwhile_is_not_called_a_failed_write(
    tmp_path: Path, name: str
) -> None:
    with pytest.raises(PermissionError), atomic_path(tmp_path / "folder" / "x.txt"):
        raise denied(tmp_path / name)
    for written in (
        "folder/x.txt",
        "folder/x.txt/in.npy",
        "folder/.x.txt.1-2.part",
        "folder/.x.txt.1-2.part/in.npy",
        "folder",
    ):
        refused = pytest.raises(UserError, match=r"x\.txt could not be written: no permission")
        with refused, atomic_path(tmp_path / "folder" / "x.txt"):
            raise denied(tmp_path / written)


def test_errors_without_a_number_are_a_librarys_own(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="header"), files.reading(tmp_path):
        raise OSError("the header is damaged")


def test_files_below_a_folder_are_those_that_rglob_finds(tmp_path: Path) -> None:
    for name in ("a/b/1", "a/2", "3", ".hidden/4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "link").symlink_to("a")
    (tmp_path / "broken").symlink_to("away")
    found = sorted(path for path in tmp_path.rglob("*") if path.is_file() or path.name == "broken")
    assert sorted(files.files_below(tmp_path)) == found
    assert list(files.files_below(tmp_path / "none")) == []
    assert list(files.files_below(tmp_path / "3")) == []


def test_a_folder_that_cannot_be_read_is_not_taken_for_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").mkdir()
    real = os.scandir

    def scandir(path: str) -> object:
        if str(path) == str(tmp_path / "a"):
            raise denied(path)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(UserError, match=r"a could not be read: Permission denied; check its"):
        list(files.files_below(tmp_path))
    with pytest.raises(UserError, match="could not be read"):
        ask.image_files(tmp_path)
    with pytest.raises(UserError, match="could not be read"):
        listing.run_folders(tmp_path)
