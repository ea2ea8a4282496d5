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

from api.routes.examples import GENERATED, JOB, TWIN_ROW
from tests.unit.clients.served import event

# Sets the terminal's title, colours what follows, and writes backwards.
HOSTILE = "\x1b]0;title\x07\x9b31m\u202ebackwards[/w]"
HOSTILE_STAGE = {"stage": HOSTILE, "done": 1, "total": 2, "unit": HOSTILE}

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
}


class _Handler(BaseHTTPRequestHandler):
    bodies: ClassVar[list[bytes]] = []

    def do_GET(self) -> None:
        status, document = ANSWERS.get(f"{self.command} {self.path}", (404, {"error": f"nothing at {self.path}"}))
        data = (document if isinstance(document, str) else json.dumps(document)).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(data)))
        self.send_header("retry-after", "3600")
        self.end_headers()
        self.wfile.write(data)

    def do_POST(self) -> None:
        self.bodies.append(self.rfile.read(int(self.headers["content-length"])))
        self.do_GET()

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


def test_deleting_asks_first(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    code, _, err = command("twins", "delete", "ada:night")
    assert code == 1 and "Delete ada:night" in err


def test_the_version(command: Command) -> None:
    assert command("--version")[0] == 0
