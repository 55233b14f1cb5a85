"""Labels of a file, embedded ahead of time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from engines.bundle.files import Bundle
from engines.cli import app
from engines.errors import TextError
from engines.text.text_bank import TextEncoder
from engines.text.textbank import fill, read_labels


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("labels.txt", "red\n\n# a comment\n  a person  is blue \nred\n"),
        ("labels.yaml", "labels:\n- red\n- {text: a person is blue, enter: 0.7}\n- red\n"),
        ("labels.json", '{"labels": [{"text": "red", "group": "all"}, "a person is  blue"]}'),
    ],
)
def test_a_file_holds_texts(tmp_path: Path, name: str, content: str) -> None:
    """Lines, or the section `labels` of settings; each text once, in the order of the file."""
    (tmp_path / name).write_text(content)
    assert read_labels(tmp_path / name) == ("red", "a person is blue")


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("empty.txt", b"# nothing\n \n", "holds no label"),
        ("other.yaml", b"cameras: []", "must hold a list under `labels:`"),
        ("list.yaml", b"- red", "must hold a list under `labels:`"),
        ("number.yaml", b"labels: [red, 3]", "not 3"),
        ("nameless.yaml", b"labels: [{enter: 0.7}]", "not {'enter': 0.7}"),
        ("broken.yaml", b"labels: [", "cannot be read as labels"),
        ("deep.json", b"[" * 100_000, "cannot be read as labels"),
        ("latin.txt", b"\xff", "cannot be read as labels"),
    ],
)
def test_what_holds_no_labels_is_said_so(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    """The file is named, with what is wrong."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(TextError, match=reason) as caught:
        read_labels(tmp_path / name)
    assert name in str(caught.value) and len(str(caught.value)) < 300 + len(str(tmp_path))


def test_a_run_goes_on_where_it_was(tiny: Bundle, tmp_path: Path) -> None:
    """What is there is not embedded again; a refused label holds up no other; workers find what was embedded."""
    steps: list[int] = []
    first = fill(tiny, ["red", "cyan"], tmp_path)
    again = fill(tiny, ["red", "человек", "cyan", "blue"], tmp_path, step=lambda: steps.append(1))

    assert (first.embedded, first.known, first.refused) == (2, 0, ())
    assert (again.labels, again.embedded, again.known, len(steps)) == (4, 1, 2, 4)
    assert [label for label, _ in again.refused] == ["человек"] and "does not know" in again.refused[0][1]
    encoder = TextEncoder(tiny, cache=tmp_path)
    encoder.bank(["red", "blue", "cyan"])
    assert not encoder.opened


def test_a_folder_that_cannot_be_written_is_an_error(tiny: Bundle, tmp_path: Path) -> None:
    """Hours of work that nobody will find are not begun."""
    (tmp_path / "texts").write_text("in the way")
    with pytest.raises(TextError, match="cannot be written; choose another folder with --cache"):
        fill(tiny, ["red", "cyan"], tmp_path)


def test_the_command_counts_and_says_what_is_refused(tiny: Bundle, tmp_path: Path) -> None:
    """0 where all are embedded, 1 where one is refused, 2 where there is no such file; JSON on stdout alone."""
    good, bad = tmp_path / "good.txt", tmp_path / "bad.txt"
    good.write_text("red\ncyan\n")
    bad.write_text("red\nчеловек\n")

    def run(file: Path, *options: str) -> tuple[int, str, str]:
        arguments = ["textbank", str(file), "--bundle", str(tiny.path), "--cache", str(tmp_path / "cache"), *options]
        result = CliRunner().invoke(app, arguments)
        return result.exit_code, result.stdout, result.stderr

    code, shown, _ = run(good)
    assert code == 0 and "2 labels embedded" in shown and "0 were there, 0 refused" in shown
    code, shown, errors = run(bad)
    assert code == 1 and "0 labels embedded" in shown and "does not know 'человек'" in errors
    code, shown, _ = run(bad, "--json")
    found = json.loads(shown)
    assert code == 1 and (found["known"], found["embedded"]) == (1, 0) and found["space"] == tiny.manifest.space.id
    assert [one["label"] for one in found["refused"]] == ["человек"]
    assert Path(found["folder"]).is_dir()
    assert run(tmp_path / "none.txt")[0] == 2
