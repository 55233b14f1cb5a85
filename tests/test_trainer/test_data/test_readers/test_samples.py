# ruff: noqa: E501
"""Each form of annotations: a sample in its real shape reads to the stated clips, a broken one says what to mend."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from trainer.cli import app
from trainer.data.encode import encode_mp4
from trainer.data.manifest import Clip, scan
from trainer.data.readers.command import Form, found_in
from trainer.data.readers.found import clips_of
from trainer.errors import RecipeError

UCF = {
    "classInd.txt": "1 ApplyEyeMakeup\n2 HandstandPushups\n",
    "trainlist01.txt": "ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1\n"
                       "HandstandPushups/v_HandstandPushups_g09_c02.avi 2\n",
    "testlist01.txt": "ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi\r\n",
}  # fmt: skip
HMDB = {
    "brush_hair_test_split1.txt": "April_09_brush_hair_u_nm_np1_ba_goo_0.avi 1 \n"
                                  "Aussie_Brunette_brush_hair_f_nm_np2_ba_med_3.avi 2 \nunused_0.avi 0 \n",
    "shoot_ball_test_split1.txt": "Ball_shoot_ball_u_cm_np1_ba_med_4.avi 2\n",
}  # fmt: skip
KINETICS = {
    "val.csv": "label,youtube_id,time_start,time_end,split,is_cc\nabseiling,_4YTwq0-73Y,19,29,val,0\n"
               '"air drumming, seated",CFfo_5jy57g,3,13,val,0\n',
}  # fmt: skip
SOMETHING = {
    "something-something-v2-train.json": json.dumps(
        [{"id": "78687", "label": "holding potato next to vicks vaporub bottle",
          "template": "Holding [something] next to [something]", "placeholders": ["potato", "vicks vaporub bottle"]}],
        indent=1),
    "something-something-v2-validation.json": '[{"id": "74225", "template": "Tearing [something] into two pieces"}]',
}  # fmt: skip
CHARADES = {
    "Charades_v1_classes.txt": "c092 Opening a window\nc147 Turning on a light\n",
    "Charades_v1_train.csv": "id,subject,scene,quality,relevance,verified,script,objects,descriptions,actions,length\n"
                             '46GP8,HR43,Kitchen,6,7,Yes,"A person, cooking.",food,x,c092 11.90 21.20;c147 0.00 12.60,24.83\n'
                             "N11GT,0KZ7,Stairs,6,7,Yes,x,y,z,,18.33\n",
    "Charades_v1_test.csv": "id,subject,scene,quality,relevance,verified,script,objects,descriptions,actions,length\n"
                            "YSKX3,6RE8,Garage,5,7,Yes,x,y,z,c147 4.30 11.00;c092 1.00 2.00,31.00\n",
}  # fmt: skip
CVAT = {
    "annotations.xml": """<?xml version="1.0" encoding="utf-8"?>
<annotations>
  <version>1.1</version>
  <meta><task><name>yard</name><size>40</size></task><source>yard.mp4</source></meta>
  <track id="0" label="PersonFalls" source="manual">
    <box frame="5" outside="0" xtl="1" ytl="1" xbr="9" ybr="9"></box>
    <box frame="15" outside="1" xtl="1" ytl="1" xbr="9" ybr="9"></box>
    <box frame="20" outside="0" xtl="1" ytl="1" xbr="9" ybr="9"></box>
  </track>
</annotations>
""",
}
STUDIO = {
    "export.json": json.dumps([
        {"id": 1, "data": {"video": "/data/upload/1/0a1b2c3d-yard.mp4"},
         "annotations": [{"result": [{"type": "timelinelabels", "value": {
             "ranges": [{"start": 1, "end": 10}, {"start": 31, "end": 40}], "timelinelabels": ["hand shake"]}}]}]},
        {"id": 2, "data": {"video": "s3://bucket/gate.mp4"},
         "annotations": [{"was_cancelled": True, "result": [{}]},
                         {"result": [{"type": "choices", "value": {"choices": ["walking"]}},
                                     {"type": "labels", "value": {"start": 0.5, "end": 1.5, "labels": ["running"]}}]}]},
    ], indent=1),
}  # fmt: skip
EVENT = {
    "id": "6a1e6f6a-7d5e-5b2f-9a55-51f30cbb9c1a", "phase": "ended", "camera": "yard",
    "label": {"id": "fall", "text": "a person falls"}, "start": "2026-01-01T00:00:00.500Z",
    "end": "2026-01-01T00:00:01.500Z", "score": 0.2,
}  # fmt: skip
EVENTS = {
    "events.jsonl": "\n".join(json.dumps(event) for event in (
        EVENT | {"phase": "started", "end": None, "verdict": "right"},
        EVENT | {"verdict": "right"},
        EVENT | {"verdict": "wrong", "start": "2026-01-01T00:00:02.000Z", "end": "2026-01-01T00:00:03.000Z"},
        EVENT | {"verdict": "wrong", "truth": "a person sits down", "camera": "gate"},
        EVENT,
    )),
}  # fmt: skip


def written(folder: Path, files: dict[str, str]) -> Path:
    """The sample on disk: its file where it is one, its folder where there are several."""
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text, "utf-8")
    return folder / next(iter(files)) if len(files) == 1 and not name.endswith("txt") else folder


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    """Two recordings of 40 frames at 10 per second, and names of files that are only looked for."""
    folder = tmp_path / "videos"
    frames = [np.full((64, 64, 3), level, np.uint8) for level in range(0, 240, 6)]
    for name in ("yard.mp4", "gate.mp4"):
        folder.mkdir(exist_ok=True)
        encode_mp4(iter(frames), folder / name, 10, 200_000)
    for name in (
        "ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi", "ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi",
        "v_HandstandPushups_g09_c02.avi", "brush_hair/April_09_brush_hair_u_nm_np1_ba_goo_0.avi",
        "Aussie_Brunette_brush_hair_f_nm_np2_ba_med_3.avi", "shoot_ball/Ball_shoot_ball_u_cm_np1_ba_med_4.avi",
        "val/abseiling/_4YTwq0-73Y_000019_000029.mp4", "CFfo_5jy57g.mp4", "78687.webm", "74225.webm", "46GP8.mp4",
        "N11GT.mp4", "YSKX3.mp4",
    ):  # fmt: skip
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def read(form: str, source: Path, videos: Path) -> list[Clip]:
    """The clips of a sample."""
    return clips_of(found_in(Form(form), source, 1, "2026-01-01T00:00:00Z"), videos)[0]


Stated = Sequence[tuple[str, str, str, float, float | None]]
SAMPLES: dict[str, tuple[dict[str, str], Stated]] = {
    "ucf101": (UCF, [
        ("v_ApplyEyeMakeup_g08_c01.avi", "apply eye makeup", "train", 0, None),
        ("v_HandstandPushups_g09_c02.avi", "handstand pushups", "train", 0, None),
        ("v_ApplyEyeMakeup_g01_c01.avi", "apply eye makeup", "test", 0, None),
    ]),
    "hmdb51": (HMDB, [
        ("April_09_brush_hair_u_nm_np1_ba_goo_0.avi", "brush hair", "train", 0, None),
        ("Aussie_Brunette_brush_hair_f_nm_np2_ba_med_3.avi", "brush hair", "test", 0, None),
        ("Ball_shoot_ball_u_cm_np1_ba_med_4.avi", "shoot ball", "test", 0, None),
    ]),
    "kinetics": (KINETICS, [
        ("_4YTwq0-73Y_000019_000029.mp4", "abseiling", "validate", 0, None),
        ("CFfo_5jy57g.mp4", "air drumming, seated", "validate", 3, 13),
    ]),
    "something-something": (SOMETHING, [
        ("78687.webm", "Holding something next to something", "train", 0, None),
        ("74225.webm", "Tearing something into two pieces", "validate", 0, None),
    ]),
    "charades": (CHARADES, [
        ("46GP8.mp4", "Opening a window", "train", 11.9, 21.2),
        ("46GP8.mp4", "Turning on a light", "train", 0, 12.6),
        ("YSKX3.mp4", "Turning on a light", "test", 0, None),
    ]),
    "cvat": (CVAT, [
        ("yard.mp4", "person falls", "train", 0.5, 1.5),
        ("yard.mp4", "person falls", "train", 2.0, 2.1),
    ]),
    "label-studio": (STUDIO, [
        ("yard.mp4", "hand shake", "train", 0, 1.0),
        ("yard.mp4", "hand shake", "train", 3.0, 4.0),
        ("gate.mp4", "walking", "train", 0, None),
        ("gate.mp4", "running", "train", 0.5, 1.5),
    ]),
    "events": (EVENTS, [
        ("yard.mp4", "a person falls", "train", 0.5, 1.5),
        ("yard.mp4", "", "train", 2.0, 3.0),
        ("gate.mp4", "a person sits down", "train", 0.5, 1.5),
    ]),
}  # fmt: skip


@pytest.mark.parametrize("form", SAMPLES)
def test_a_sample_reads_to_the_stated_clips(form: str, videos: Path, tmp_path: Path) -> None:
    """File, label in words, split and seconds of every clip."""
    files, stated = SAMPLES[form]
    clips = read(form, written(tmp_path / "given", files), videos)
    assert [(Path(clip.path).name, clip.label, clip.split, clip.start, clip.end) for clip in clips] == [
        (name, label, split, pytest.approx(start), end if end is None else pytest.approx(end))
        for name, label, split, start, end in stated
    ]
    assert all(clip.background == (not clip.label) for clip in clips)


def test_what_clips_share_keeps_them_on_one_side(videos: Path, tmp_path: Path) -> None:
    """UCF101's groups, Kinetics' recordings; a test video of Charades has all of its labels."""
    ucf = read("ucf101", written(tmp_path / "ucf", UCF), videos)
    assert [clip.group for clip in ucf] == ["ApplyEyeMakeup g08", "HandstandPushups g09", "ApplyEyeMakeup g01"]
    charades = read("charades", written(tmp_path / "charades", CHARADES), videos)
    assert charades[-1].labels == ("Turning on a light", "Opening a window")


BROKEN: list[tuple[str, dict[str, str], str, str, str]] = [
    ("ucf101", UCF, "trainlist01.txt", "ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1\nLipstick/v_Lipstick_g01_c01.avi 3",
     r"trainlist01.txt, line 2: 'Lipstick.* names no clip of UCF101; take the file from the published archive"),
    ("ucf101", UCF, "trainlist01.txt", "ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 2",
     r"trainlist01.txt, line 1: its class is 2, which classInd.txt does not call ApplyEyeMakeup; take both files"),
    ("ucf101", UCF, "classInd.txt", "1 ApplyEyeMakeup\nHandstand", r"classInd.txt, line 2: .* write `1 ApplyEyeMakeup`"),
    ("hmdb51", HMDB, "brush_hair_test_split1.txt", "a.avi 1\nb.avi 7", r"split1.txt, line 2: .* write `FILE.avi 1`"),
    ("kinetics", KINETICS, "val.csv", "label,youtube_id,time_start,time_end,split\nabseiling,x,soon,9,val",
     r"val.csv, line 2: time_start is 'soon', no number of seconds or frames; correct it"),
    ("kinetics", KINETICS, "val.csv", "label,youtube_id,time_start,time_end\na,b,1,2", r"val.csv, line 1: .* no split"),
    ("kinetics", KINETICS, "val.csv", "label,youtube_id,time_start,time_end,split\na,b,1,2,holdout",
     r"val.csv, line 2: split 'holdout' is none of train, val and test"),
    ("kinetics", KINETICS, "val.csv", "label,youtube_id,time_start,time_end,split\na,b,1,2",
     r"val.csv, line 2: it has more or fewer fields than the header"),
    ("kinetics", KINETICS, "val.csv", 'label,youtube_id,time_start,time_end,split\na,"b"x,1,2,val',
     r"val.csv, line 2: it is no row of CSV .* close its quotation marks"),
    ("something-something", SOMETHING, "something-something-v2-train.json", '[\n{"id": "1"}\n]',
     r"train.json, line 2: it has no template; the test list has no labels"),
    ("something-something", SOMETHING, "something-something-v2-train.json", '[\n{"id": "1", "template": "a"},\n{"id" "2"}]',
     r"train.json, line 3: the JSON that begins there is broken"),
    ("something-something", SOMETHING, "something-something-v2-train.json", '[\n{"id": "1", "template": "a"}',
     r"train.json, line 2: the list is not closed; the file was cut"),
    ("charades", CHARADES, "Charades_v1_train.csv", "id,actions,length\nA,c092 1.0 2.0,3\nB,c999 1.0 2.0,3",
     r"train.csv, line 3: 'c999 1.0 2.0' is no class with two times; write `c092 11.90 21.20`"),
    ("cvat", CVAT, "annotations.xml", "<annotations>\n<track>\n</annotations>", r"annotations.xml, line 3: it is no whole XML"),
    ("cvat", CVAT, "annotations.xml", CVAT["annotations.xml"].replace('frame="15"', 'frame="x"'),
     r"annotations.xml, line 7: frame is 'x', no number of seconds or frames"),
    ("cvat", CVAT, "annotations.xml", CVAT["annotations.xml"].replace("<source>yard.mp4</source>", "").replace("yard", "no"),
     r"annotations.xml, line 5: no file no lies in .*; fetch it"),
    ("cvat", CVAT, "annotations.xml", '<!DOCTYPE a [<!ENTITY b "c">]>\n<annotations/>', r"line 1: it declares a document type"),
    ("label-studio", STUDIO, "export.json", '[\n{"id": 1}]', r"export.json, line 2: the task names no video in `data`"),
    ("label-studio", STUDIO, "export.json", '[\n{"data": {"video": "yard.mp4"}, "annotations": [{"result": [{"type": "text"}]}]}]',
     r"export.json, line 2: a result of the type 'text' names no labels; use TimelineLabels, Labels or Choices"),
    ("events", EVENTS, "events.jsonl", json.dumps(EVENT) + "\n" + json.dumps(EVENT | {"verdict": "maybe"}),
     r"events.jsonl, line 2: verdict 'maybe' is none of right, wrong"),
    ("events", EVENTS, "events.jsonl", json.dumps(EVENT | {"verdict": "right", "start": "noon"}),
     r"events.jsonl, line 1: start is 'noon', no time; keep it as it was published"),
    ("events", EVENTS, "events.jsonl", "{}\n[", r"events.jsonl, line 2: it is no JSON .* write one event per line"),
]  # fmt: skip


@pytest.mark.parametrize(("form", "files", "name", "text", "reason"), BROKEN)
def test_a_broken_sample_names_file_line_and_remedy(
    form: str, files: dict[str, str], name: str, text: str, reason: str, videos: Path, tmp_path: Path
) -> None:
    """Whatever is wrong, one line says where, what and how to mend it."""
    source = written(tmp_path / "given", {**files, name: text})
    with pytest.raises(RecipeError, match=reason):
        read(form, source, videos)


def test_files_that_are_not_there_are_named_or_left_out(videos: Path, tmp_path: Path) -> None:
    """The command writes a list that trains; a missing file stops it, unless such clips are to be left out."""
    source, out = written(tmp_path / "given", KINETICS), tmp_path / "labels.csv"
    (videos / "CFfo_5jy57g.mp4").unlink()
    given = ["data", "read", "kinetics", str(source), "--videos", str(videos), "--out", str(out)]
    refused = CliRunner().invoke(app, given)
    assert refused.exit_code == 2 and "line 3: no file CFfo_5jy57g_000003_000013 lies in" in refused.output
    done = CliRunner().invoke(app, [*given, "--skip-missing", "--json"])
    assert done.exit_code == 0 and len(json.loads(done.stdout)["missing"]) == 1
    assert [clip.label for clip in scan(out).clips] == ["abseiling"]
    again = CliRunner().invoke(app, given)
    assert again.exit_code == 2 and "is there already" in again.output
