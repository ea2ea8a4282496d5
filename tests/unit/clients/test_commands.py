"""The installed command line, in this process: its exit codes, and its messages."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
from producer_twin.cli import main, output
from rich.console import Console

from api.routes.examples import GENERATED, JOB, SUBMITTED, TRACK, TWIN_ROW
from tests.unit.clients.served import event

# Sets the terminal's title, colours what follows, and writes backwards.
HOSTILE = "\x1b]0;title\x07\x9b31m\u202ebackwards[/w]"
HOSTILE_STAGE = {"stage": HOSTILE, "done": 1, "total": 2, "unit": HOSTILE}

UPLOAD = "/data/uploads/ada/a/song.wav"
DONE = SUBMITTED | {"state": "done", "track": TRACK}

# What the service answers: the status and the document, by method and path.
ANSWERS: dict[str, tuple[int, object]] = {
    "GET /loras": (200, {"loras": [TWIN_ROW | {"reason": "it is [red]partial[/w]"}]}),
    "GET /loras/ada:absent": (404, {"error": "lora_id: there is no twin ada:absent"}),
    "GET /loras/ada:secret": (403, {"error": "this API key may not [/w]"}),
    "GET /loras/ada:busy": (503, {"error": "storage does not answer"}),
    "GET /jobs/failed": (200, JOB | {"job_id": "failed"}),
    "GET /jobs/failed/events": (200, event("1", JOB | {"state": "failed", "error": "no music [/w]"})),
    "GET /jobs/hostile": (200, JOB | {"job_id": "hostile"}),
    "GET /jobs/hostile/events": (200, event("1", JOB | {"state": "failed", "progress": HOSTILE_STAGE})),
    "GET /loras/ada:hostile": (200, TWIN_ROW | {"reason": HOSTILE}),
    "POST /generate": (200, {"url": "x"} | GENERATED),
    "POST /generate/form": (200, {"url": "x"} | GENERATED),
    "GET /data/outputs/ada/track.wav": (200, "RIFF"),
    "GET /loras/ada:elsewhere": (404, "<html>nothing here</html>"),
    "GET /loras/ada:page": (200, "<html>another site</html>"),
    "GET /loras/ada:text": (200, "another site"),
    "GET /loras/ada:other": (200, {"id": "of another service"}),
    "POST /uploads": (200, {"path": UPLOAD, "producer_id": "ada", "job_id": "a", "warnings": []}),
    "POST /generate/submit": (200, SUBMITTED),
    "GET /tracks?limit=2": (200, {"tracks": [TRACK], "next_cursor": "next"}),
    "GET /tracks?cursor=next&limit=1": (200, {"tracks": [TRACK | {"title": "Night [red] drive"}], "next_cursor": "x"}),
    "GET /tracks/base:made": (200, TRACK),
    f"GET {TRACK['output_path']}": (200, "RIFF"),
    "GET /tracks/base:queued": (200, SUBMITTED | {"track_id": "base:queued"}),
    "GET /tracks/base:failed": (200, SUBMITTED | {"state": "failed", "error": "no memory [/w]"}),
    "GET /tracks/base:made/events": (200, event("1", SUBMITTED) + event("2", DONE)),
    "GET /tracks/base:failed/events": (200, event("1", SUBMITTED | {"state": "failed", "error": "no memory [/w]"})),
    "GET /tracks/base:cancelled/events": (200, event("1", SUBMITTED | {"state": "cancelled"})),
    "DELETE /tracks/base:queued": (200, {"track_id": "base:queued", "deleted": []}),
}


class _Handler(BaseHTTPRequestHandler):
    bodies: ClassVar[list[bytes]] = []

    def do_GET(self) -> None:
        status, document = ANSWERS.get(f"{self.command} {self.path}", (404, {"error": f"nothing at {self.path}"}))
        data = (document if isinstance(document, str) else json.dumps(document)).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(data)))
        self.send_header("retry-after", "3600")
        if data.startswith(b"<html"):
            self.send_header("content-type", "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write(data)

    def do_POST(self) -> None:
        self.bodies.append(self.rfile.read(int(self.headers["content-length"])))
        self.do_GET()

    do_DELETE = do_GET

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.fixture
def command(url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    monkeypatch.setenv("PRODUCER_TWIN_URL", url)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return Command(monkeypatch, capsys)


class Command:
    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch, self._capsys = monkeypatch, capsys

    def __call__(self, *arguments: object) -> tuple[int, str, str]:
        """The exit code, stdout and stderr."""
        self._monkeypatch.setattr("sys.argv", ["producer-twin", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = self._capsys.readouterr()
        code = ended.value.code or 0
        assert isinstance(code, int)
        return code, out, err


def test_results_go_to_stdout(command: Command) -> None:
    code, out, err = command("twins", "list")
    assert code == 0 and "ada:night" in out and "[red]partial[/w]" in out.replace("\n", " ") and not err
    code, out, err = command("twins", "list", "--json")
    assert code == 0 and json.loads(out)[0]["lora_id"] == "ada:night"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("twins", "show", "ada:absent"), 1, "lora_id: there is no twin ada:absent"),
        (("twins", "show", "ada:secret"), 4, "this API key may not [/w]"),
        (("twins", "show", "ada:busy"), 3, "storage does not answer"),
        (("--url", "http://127.0.0.1:1", "doctor", "--json"), 3, ""),
        (("jobs", "watch", "failed"), 5, "no music [/w]"),
        (("twins", "show"), 2, "Missing argument"),
        (("train", "no [/w], such.wav", "-p", "ada"), 2, "no [/w], such.wav"),
        (("generate", "trap", "--out", "track.xyz"), 2, "track.xyz"),
        (("generate", "trap", "--twin", "ada:night=much"), 2, "much is not a number"),
        (("edit", "no [/w].wav", "trap", "--task", "cover"), 2, "there is no file no [/w].wav"),
        (("edit", __file__, "trap"), 2, "Missing option"),
        (("edit", __file__, "trap", "--task", "sing"), 2, "sing"),
        (("twins", "import", "night", __file__), 2, "producer:model"),
        (("--url", "localhost:3000", "twins", "list"), 2, "localhost:3000 is no URL of a service"),
        (("twins", "show", "ada:elsewhere"), 1, "is that the URL of a Producer Twin service?"),
        (("twins", "show", "ada:page"), 1, "is that the URL of a Producer Twin service?"),
        (("twins", "show", "ada:text"), 1, "is not understood"),
        (("twins", "show", "ada:other"), 1, "is not understood"),
        (("generate", "trap", "--submit", "--out", "track.wav"), 2, "--submit writes no file"),
        (("generate", "trap", "--webhook", "https://studio.example"), 2, "add --submit"),
        (("edit", __file__, "trap", "--task", "cover", "--submit"), 2, "name the producer"),
        (("tracks", "wait", "base:failed"), 5, "failed: no memory [/w]"),
        (("tracks", "wait", "base:cancelled"), 5, "was cancelled"),
        (("tracks", "wait", "base:made", "--out", "track.xyz"), 2, "track.xyz"),
        (("tracks", "save", "base:queued"), 1, "is not made yet"),
        (("tracks", "save", "base:failed"), 1, "failed: no memory [/w]"),
        (("tracks", "save", "base:absent"), 1, "nothing at /tracks/base:absent"),
        (("tracks", "cancel", "base:made"), 1, "is made already"),
        (("tracks", "list", "--limit", "0"), 2, "greater than or equal to 1"),
        (("--home", "/", "keys", "list"), 2, "has no service"),
        (("--home", "/", "serve"), 2, "has no service"),
    ],
)
def test_exit_codes(command: Command, arguments: tuple[str, ...], code: int, message: str) -> None:
    found, _, err = command(*arguments)
    assert found == code, err
    assert message in " ".join(err.replace("│", " ").split())
    assert "Traceback" not in err


def test_texts_of_the_service_do_not_control_the_terminal(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    _, out, _ = command("twins", "show", "ada:hostile", "--json")
    assert json.loads(out)["reason"] == HOSTILE
    written = io.StringIO()
    monkeypatch.setattr(output, "messages", Console(file=written, force_terminal=True, width=200))
    assert command("jobs", "watch", "hostile")[0] == 5
    assert "backwards[/w]" in written.getvalue()
    for text in (out, written.getvalue()):
        assert not any(control in text for control in ("\x1b]", "\x07", "\x9b", "\u202e"))


def test_a_blend_is_asked_for_and_written(command: Command, tmp_path: Path) -> None:
    out = tmp_path / "new [/w]" / "x.wav"
    code, printed, err = command(
        "generate", "trap", "-t", "ada:night", "-t", "bob:dawn=0.5", "-o", out, "--bpm", "92 bpm"
    )
    assert code == 0, err
    assert out.read_text() == "RIFF" and str(out) in printed
    sent = json.loads(_Handler.bodies[-1])
    assert sent["loras"] == [{"lora_id": "ada:night"}, {"lora_id": "bob:dawn", "weight": 0.5}]
    assert (sent["bpm"], sent["output_format"]) == ("92 bpm", "wav") and "seed" not in sent


def test_a_loop_for_a_daw_is_asked_for(command: Command, tmp_path: Path) -> None:
    delivery = ("--bit-depth", "32f", "--loudness", "-14", "--loop", "--bpm", 120)
    assert command("generate", "trap", "-o", tmp_path / "a.wav", *delivery)[0] == 0
    sent = json.loads(_Handler.bodies[-1])
    assert (sent["bit_depth"], sent["loudness"], sent["loop"]) == ("32f", -14, True)


def test_the_delivery_is_left_to_the_service(command: Command, tmp_path: Path) -> None:
    assert command("generate", "trap", "-o", tmp_path / "a.wav")[0] == 0
    assert not {"bit_depth", "loudness", "loop"} & json.loads(_Handler.bodies[-1]).keys()


def test_an_edit_sends_a_file_or_names_a_path(command: Command, tmp_path: Path) -> None:
    song = tmp_path / "one, two [take 3].wav"
    song.write_bytes(b"RIFF")
    rest = ("drum fill", "--task", "repaint", "--start", 1, "-t", "ada:night", "-o", tmp_path / "x.wav")
    code, _, err = command("edit", song, *rest, "--reference", "producer:ada", "--json")
    assert code == 0, err
    form = _Handler.bodies[-1].decode()
    assert 'name="source"; filename="one, two [take 3].wav"' in form and "RIFF" in form and "producer:ada" in form
    stored = "/data/outputs/ada/track.wav"
    code, _, err = command(
        "edit", stored, "drums", "--task", "complete", "--track", "drums", "--track", "bass", *rest[5:]
    )
    assert code == 0, err
    sent = json.loads(_Handler.bodies[-1])
    assert (sent["source"], sent["tracks"], sent["task"]) == (stored, ["drums", "bass"], "complete")
    assert sent["lora_id"] == "ada:night" and "start" not in sent


def test_a_track_is_submitted(command: Command) -> None:
    delivery = ("--submit", "--webhook", "https://studio.example/hook")
    code, out, err = command("generate", "trap", "-t", "ada:night", "-s", 20, *delivery)
    assert (code, out) == (0, f"{SUBMITTED['track_id']}\n"), err
    sent = json.loads(_Handler.bodies[-1])
    assert (sent["lora_id"], sent["duration_seconds"]) == ("ada:night", 20)
    assert sent["webhook_url"] == "https://studio.example/hook" and "output_format" not in sent
    _, out, _ = command("generate", "trap", "--submit", "--json")
    assert json.loads(out)["state"] == "queued"


def test_a_file_that_a_submitted_edit_needs_is_kept_as_an_upload(command: Command, tmp_path: Path) -> None:
    song = tmp_path / "one, two [take 3].wav"
    song.write_bytes(b"RIFF")
    rest = ("drums", "--task", "repaint", "--submit")
    code, out, err = command("edit", song, *rest, "-p", "ada", "--reference", "base:made")
    assert (code, out) == (0, f"{SUBMITTED['track_id']}\n"), err
    assert 'filename="one, two [take 3].wav"' in _Handler.bodies[-2].decode()
    sent = json.loads(_Handler.bodies[-1])
    assert (sent["source"], sent["reference"], sent["task"]) == (UPLOAD, "base:made", "repaint")


def test_tracks_are_listed_by_pages(command: Command) -> None:
    code, out, _ = command("tracks", "list", "--limit", 2)
    assert code == 0 and TRACK["track_id"] in out and "Night [red] drive" in out and len(out.splitlines()) == 3
    _, out, _ = command("tracks", "list", "--limit", 2, "--json")
    assert [row["title"] for row in json.loads(out)] == [TRACK["title"], "Night [red] drive"]


def test_a_submitted_track_is_followed_and_written(command: Command, tmp_path: Path) -> None:
    code, out, err = command("tracks", "wait", "base:made", "-o", tmp_path / "a.wav", "--json")
    assert code == 0 and "queued" in err, err
    assert json.loads(out)["file"] == str(tmp_path / "a.wav") and (tmp_path / "a.wav").read_text() == "RIFF"
    code, out, err = command("tracks", "save", "base:made", "-o", tmp_path / "b.wav")
    assert (code, out) == (0, f"{tmp_path / 'b.wav'}\n"), err
    assert (tmp_path / "b.wav").read_text() == "RIFF"
    _, out, _ = command("tracks", "show", "base:queued", "--json")
    assert json.loads(out)["state"] == "queued"


def test_a_track_that_is_not_made_yet_is_cancelled(command: Command) -> None:
    assert command("tracks", "cancel", "base:queued")[:2] == (0, "base:queued is cancelled\n")


@pytest.mark.parametrize(
    ("method", "arguments", "message"),
    [
        ("generate", ("generate", "trap", "-o", "a.wav"), "the track is cancelled"),
        ("wait", ("tracks", "wait", "base:made"), "the track goes on: producer-twin tracks wait base:made"),
        ("save", ("generate", "trap", "-o", "a.wav"), "the track is made: producer-twin tracks save ada:track"),
    ],
)
def test_an_interruption_says_what_becomes_of_the_track(
    command: Command, monkeypatch: pytest.MonkeyPatch, method: str, arguments: tuple[str, ...], message: str
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(f"producer_twin._sync.tracks.Tracks.{method}", interrupted)
    code, out, err = command(*arguments)
    assert code == 130 and message in err and not out


def test_deleting_asks_first(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    code, _, err = command("twins", "delete", "ada:night")
    assert code == 1 and "Delete ada:night" in err


def test_the_version(command: Command) -> None:
    assert command("--version")[0] == 0
