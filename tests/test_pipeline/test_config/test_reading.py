"""Reading settings: file, environment, overrides, and errors that help."""

import json
from pathlib import Path

import pytest

from pipeline.config.reading import load, load_file
from pipeline.errors import ConfigurationError


def test_a_camera_in_three_lines_and_an_action_in_one(file: Path) -> None:
    """The README's first file loads, found in the working folder without being named."""
    settings = load()

    assert settings.cameras["front-door"].url.get_secret_value() == "rtsp://viewer:s3cret@10.0.0.7/stream1"
    assert [label.text for label in settings.labels] == ["a person falls down", "two people fight"]
    assert settings.labels[1].enter == 0.7


def test_an_empty_section_means_its_default(file: Path) -> None:
    """`cameras:` and `labels:` stay behind where somebody deletes the last camera and the last label."""
    file.write_text("cameras:\nlabels:\nkafka:\n  # bootstrap: broker:9092\nrate: 8\n")

    settings = load()

    assert (settings.cameras, settings.labels, settings.rate) == ({}, (), 8)
    assert settings.kafka.bootstrap == "127.0.0.1:9092"


def test_what_cameras_share_is_written_once(file: Path) -> None:
    """A merged mapping may be changed key by key: what stands in both is no key that stands twice."""
    file.write_text(
        "cameras:\n  a: &udp {url: x, transport: udp, priority: 1}\n  b: {<<: *udp, url: y}\n  c: {<<: *udp}"
    )

    cameras = load().cameras

    assert [cameras[name].url.get_secret_value() for name in "abc"] == ["x", "y", "x"]
    assert {camera.transport for camera in cameras.values()} == {"udp"}


def test_overrides_win_over_everything_and_are_checked(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Command-line options come last and are validated like the rest."""
    monkeypatch.setenv("ACTIONWIRE_KAFKA__BOOTSTRAP", "environment:9092")

    assert load(None, {"kafka": {"bootstrap": "option:9092"}}).kafka.bootstrap == "option:9092"
    with pytest.raises(ConfigurationError, match=r"batch_frames"):
        load(None, {"worker": {"batch_frames": -1}})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("worker: {bundel: demo}", r"worker\.bundel: unknown key, did you mean 'bundle'"),
        ("lables: [x]", r"lables: unknown key, did you mean 'labels'"),
        ("cameras: {a: {url: x, transprot: udp}}", r"cameras\.a\.transprot: unknown key, did you mean 'transport'"),
        ("labels: [{text: x, entre: 0.5}]", r"labels\.0\.entre: unknown key, did you mean 'enter'"),
        ("events: {max_seconds: .inf}", r"events\.max_seconds: .*finite"),
        ("labels: [{text: x, confirm: 1e19}]", r"labels\.0\.confirm"),
        ("rate: many", r"rate: .*integer"),
        ("cameras: {a: {url: 'rtsp://u:${NOT_SET}@h'}}", r"NOT_SET.*not set in the environment"),
        ("cameras: {'bad id!': {url: x}}", r"cameras\.bad id!"),
        ("cameras: {a: {url: 10.0.0.7:554/live}}", r"cameras\.a\.url: .* no rtsp://; write rtsp://"),
        ("cameras: {a: {url: 'rtsp:/10.0.0.7/live'}}", r"cameras\.a\.url: .* no rtsp://; write rtsp://"),
        ("cameras: {a: {url: 'file:///srv/a.mp4'}}", r"cameras\.a\.url: .* its path; leave file: out"),
        ("- just\n- a list", r"must hold a mapping"),
        ("a: [1", r"is not YAML: .*line 1"),
        (
            "cameras:\n  a: {url: x}\n  b: {url: y}\n  a: {url: z}",
            r"not YAML: the key 'a' stands twice at line 4, column 3",
        ),
        ("labels: [x]\nrate: 4\nlabels: [y]", r"not YAML: the key 'labels' stands twice at line 3, column 1; rename"),
        ("lables:", r"lables: unknown key, did you mean 'labels'"),
        ("source: 2026-13-01", r"actionwire\.yaml: a value looks like a date .*quotes"),
        ("~: x", r"actionwire\.yaml: ~: unknown key"),
        ("labels:\n- x\n7:\n  enter: 0.5", r"actionwire\.yaml: 7: unknown key.*indented too little"),
    ],
)
def test_a_wrong_file_names_key_reason_and_remedy(file: Path, content: str, message: str) -> None:
    """Every mistake is named where it stands; a misspelt key gets the nearest right one."""
    file.write_text(content)

    with pytest.raises(ConfigurationError, match=message):
        load(file)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("LABELS", "a person falls down", r"ACTIONWIRE_LABELS holds no JSON; write a list such as '\["),
        ("KAFKA", "s3cret:9092", r"ACTIONWIRE_KAFKA holds no JSON; .*ACTIONWIRE_KAFKA__KEY$"),
    ],
)
def test_a_section_in_the_environment_is_json(
    file: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    """A variable that should hold a whole section and holds something else is named, with the remedy, not its value."""
    monkeypatch.setenv(f"ACTIONWIRE_{name}", value)

    with pytest.raises(ConfigurationError, match=message) as caught:
        load(file)

    assert value not in str(caught.value).split(";")[0]


@pytest.mark.parametrize(
    ("name", "value"),
    [("LABELS", '["a person waves"]'), ("LABELS", "no JSON"), ("EVENTS__EXIT", "0.99"), ("RATE", "many")],
)
def test_a_file_alone_is_read_without_the_environment(
    file: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """Nothing that a variable holds replaces, spoils or contradicts what the file says."""
    monkeypatch.setenv(f"ACTIONWIRE_{name}", value)

    settings = load_file(file)

    assert [label.text for label in settings.labels] == ["a person falls down", "two people fight"]
    assert (settings.rate, settings.events.exit) == (4, None)


def test_a_file_alone_is_checked_like_any(file: Path) -> None:
    """The same words for the same mistakes."""
    file.write_text("lables: [x]")

    with pytest.raises(ConfigurationError, match=r"actionwire\.yaml: lables: unknown key, did you mean 'labels'"):
        load_file(file)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """A file that was asked for and is not there is an error, not an empty configuration."""
    with pytest.raises(ConfigurationError, match=r"nowhere\.yaml.*--config"):
        load(tmp_path / "nowhere.yaml")


def test_secrets_do_not_show(file: Path) -> None:
    """Neither a representation nor an error message holds a password."""
    shown = repr(load())
    file.write_text("cameras: {a: {url: 'rtsp://u:hunter2@h', nonsense: 1}}\nkafka: {password: [hunter2]}\n")

    with pytest.raises(ConfigurationError) as caught:
        load(file)

    assert "s3cret" not in shown
    assert "hunter2" not in str(caught.value)


ALIASES = "a: &a [x]\n" + "".join(
    f"{chr(one)}: &{chr(one)} [{', '.join(['*' + chr(one - 1)] * 9)}]\n" for one in range(ord("b"), ord("k"))
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("labels: !!timestamp x", "looks like a date or a number"),
        ("rate: !!int x", "looks like a date or a number"),
        ("rate: " + "9" * 5000, "looks like a date or a number"),
        ("labels: " + "[" * 5000, "nested deeper than 30 levels at line 1"),
        ("- " * 5000, "nested deeper than 30 levels at line 1"),
        (ALIASES, "aliases unfold into too much to be settings at line"),
        ("a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 99)), "aliases unfold into too much"),
        ("labels: &a [*a]", "an alias stands inside of what it names"),
        ("kafka: &a {<<: *a}", "an alias stands inside of what it names"),
        ('"a\\nerror: all is well": 1', r"a\\nerror: all is well: unknown key"),
        ('kafka: {"a\\nb": 1}', r"kafka\.a\\nb: unknown key"),
        ('"a\\nb": 1\n"a\\nb": 2', "stands twice"),
        ('cameras: {101: {url: x}, "101": {url: y}}', "the key '101' stands twice at line 1"),
        ("\n".join(f"k{number}: 1" for number in range(2000)), "and 1990 more"),
        ("kafka: {" + ", ".join(f"k{number}: 1" for number in range(2000)) + "}", "and 1990 more"),
        ("? " + "k" * 20_000 + "\n: 1", "unknown key"),
        ("labels: [{text: x, enter: " + "z" * 20_000 + "}]", "valid number"),
        ('source: "\\ud800"', "half of a character"),
        ("worker: {rewind_seconds: .inf}", "finite"),
        ("worker: {rewind_seconds: .nan}", r"worker\.rewind_seconds"),
        ("http: {worker_port: 99999}", r"http\.worker_port"),
    ],
)
def test_a_hostile_file_is_refused_in_one_short_line(tmp_path: Path, text: str, words: str) -> None:
    """Whatever it holds it neither hangs nor fills the memory, and no key of it gets a line of its own."""
    path = tmp_path / "actionwire.yaml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=words) as caught:
        load(path)
    assert str(caught.value).isprintable() and len(str(caught.value)) < 2500


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("ACTIONWIRE_EVENTS", "[" * 50_000, "nested too deep"),
        ("ACTIONWIRE_LABELS", '{"a":' * 50_000, "nested too deep"),
        ("ACTIONWIRE_SOURCE", "\udcff", "ACTIONWIRE_SOURCE holds characters that are not text"),
        ("ACTIONWIRE_KAFKA__BOOTSTRAP", "nowhere", r"kafka\.bootstrap: 'nowhere' is no host:port"),
    ],
)
def test_a_hostile_variable_is_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, value: str, words: str
) -> None:
    """The environment is held to what the file is held to."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=words) as caught:
        load()
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "wrong",
    [
        "127.0.0.1:9092/",
        "127.0.0.1:port",
        "::::",
        "[::1",
        "'127.0.0.1:9092'",
        "127.0.0.1",
        "a:0",
        "a:65536",
        "a:1, b",
        "a..b:1",
        "[zz]:1",
    ],
)
def test_a_bootstrap_is_a_list_of_addresses(tmp_path: Path, wrong: str) -> None:
    """What is none is named, in the file and on the command line alike."""
    path = tmp_path / "actionwire.yaml"
    path.write_text(json.dumps({"kafka": {"bootstrap": wrong}}))
    with pytest.raises(ConfigurationError, match=r"kafka\.bootstrap: .* is no host:port"):
        load(path)
    with pytest.raises(ConfigurationError, match=r"the command line: kafka\.bootstrap: .* is no host:port"):
        load(overrides={"kafka": {"bootstrap": wrong}})


@pytest.mark.parametrize("wrong", ["", " ", ",", " , "])
def test_a_bootstrap_names_a_broker(wrong: str) -> None:
    """A list of nothing leads nowhere."""
    with pytest.raises(ConfigurationError, match=r"kafka\.bootstrap: it names no broker"):
        load(overrides={"kafka": {"bootstrap": wrong}})


@pytest.mark.parametrize("wrong", ["viewer:hunter2@a:9092", "a:9092,kafka://viewer:hunter2@b:9092"])
def test_a_login_in_a_bootstrap_is_refused_and_not_shown(wrong: str) -> None:
    """It has settings of its own."""
    with pytest.raises(ConfigurationError, match=r"kafka\.bootstrap: .* no login; .*username and password") as caught:
        load(overrides={"kafka": {"bootstrap": wrong}})

    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "right", ["127.0.0.1:9092", "a.b-c:1, d_e:65535", "[::1]:9092", "[fe80::1%eth0]:1", "in-process"]
)
def test_addresses_of_every_form_are_taken(right: str) -> None:
    """Names, IPv4, IPv6 in brackets, several of them."""
    assert load(overrides={"kafka": {"bootstrap": right}}).kafka.bootstrap == right


def test_aliases_that_people_write_are_taken(tmp_path: Path) -> None:
    """An anchor for what several cameras share, and `<<`, are what aliases are for."""
    path = tmp_path / "actionwire.yaml"
    path.write_text("cameras:\n  a: &one {url: x.mp4, loop: true}\n  b: {<<: *one, url: y.mp4}\n  c: *one\n")
    cameras = load(path).cameras
    assert [cameras[name].loop for name in "abc"] == [True, True, True]
    assert cameras["b"].url.get_secret_value() == "y.mp4"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_byte_order_mark_is_no_part_of_a_file(tmp_path: Path, encoding: str) -> None:
    """Editors of some systems put one before the first key."""
    path = tmp_path / "actionwire.yaml"
    path.write_text("source: /plant-7\n", encoding=encoding)

    assert load(path).source == "/plant-7"


def test_the_source_is_named_where_it_is_no_uri_reference(tmp_path: Path) -> None:
    """In one line, with the remedy."""
    path = tmp_path / "actionwire.yaml"
    path.write_text('source: "/größe halle"\n')

    with pytest.raises(ConfigurationError, match=r"source: it is no URI reference, .*as %XX"):
        load(path)
