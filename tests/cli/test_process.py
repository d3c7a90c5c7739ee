"""The commands as processes: what is imported, signals, pipes and terminals."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from polyvae.cli import main

POLYVAE = [sys.executable, "-m", "polyvae"]
TINY = ["--data", "digits", "--network", "mlp", "--widths", "16", "--latent", "3"]


@pytest.mark.parametrize(("arguments", "code"), [("--help", 0), ("--version", 0), ("", 0), ("trian", 2)])
def test_the_top_level_does_not_import_torch(arguments: str, code: int) -> None:
    script = (
        "import sys; from polyvae.cli import main; code = main(sys.argv[1:]); "
        "print('heavy:', sorted({'torch', 'numpy', 'rich', 'shtab'} & set(sys.modules))); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", script, *arguments.split()], capture_output=True, text=True)
    assert done.returncode == code
    assert "heavy: []" in done.stdout


def test_help_takes_less_time_than_importing_torch() -> None:
    def seconds(*command: str) -> float:
        times = []
        for _ in range(2):
            began = time.monotonic()
            subprocess.run(command, capture_output=True, check=True)
            times.append(time.monotonic() - began)
        return min(times)

    assert seconds(*POLYVAE, "--help") < seconds(sys.executable, "-c", "import torch")


def test_an_interrupted_training_can_be_resumed_and_a_pipe_gets_no_control_characters(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    command = [*POLYVAE, "train", "vae", *TINY, "--epochs", "100000", "--run", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 60
    while not (folder / "metrics.csv").exists() and time.monotonic() < end:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert out == ""
    assert f"polyvae: interrupted; go on with `polyvae train --resume --run {folder}" in err
    assert "Traceback" not in err
    assert "\x1b" not in err
    done = len((folder / "metrics.csv").read_text().splitlines()) - 1
    assert done >= 1
    capsys.readouterr()
    assert main(["train", "--resume", "--run", str(folder), "--epochs", str(done + 1), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["epochs"] == done + 1


def test_a_terminal_shows_a_bar_and_the_result_still_goes_to_the_pipe(tmp_path: Path) -> None:
    terminal, end = pty.openpty()
    command = [*POLYVAE, "train", "vae", *TINY, "--epochs", "2", "--run", str(tmp_path / "run"), "--json"]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=end, text=True, env=environment)
    os.close(end)
    shown = b""
    while True:
        try:
            piece = os.read(terminal, 4096)
        except OSError:  # Linux says so when the other end has closed
            break
        if not piece:
            break
        shown += piece
    os.close(terminal)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert json.loads(out)["epochs"] == 2
    text = shown.decode()
    assert "epoch " in text
    assert "\x1b[" in text
    assert "/s" in text


@pytest.mark.parametrize("command", ["recipes", "recipes --json", "datasets"])
def test_output_that_nobody_reads_ends_quietly_as_a_shell_says_it_of_other_programs(command: str) -> None:
    process = subprocess.Popen([*POLYVAE, *command.split()], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 141
    assert err == b""


def test_a_mistake_is_a_mistake_where_nobody_reads_it() -> None:
    process = subprocess.Popen([*POLYVAE, "trian"], stderr=subprocess.PIPE)
    assert process.stderr is not None
    process.stderr.close()
    assert process.wait(timeout=60) == 2


def shell(line: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize(
    "line", ["--help >&-", "--nothing >&-", "--nothing 2>&-", "--help <&- >&- 2>&-", "recipes >&-"]
)
def test_streams_that_are_closed_end_a_command_quietly(line: str) -> None:
    done = shell(f"{sys.executable} -m polyvae {line}")
    assert done.returncode == (2 if "nothing" in line else 0)
    assert done.stdout == ""
    assert ("there is no option" in done.stderr) == (line == "--nothing >&-")
    assert "Error" not in done.stderr


@pytest.mark.parametrize("command", ["--help", "--nothing 2>&1", "recipes --json"])
def test_a_pipe_that_is_closed_early_ends_quietly(command: str) -> None:
    done = shell(f"({sys.executable} -m polyvae {command}; echo $? >&2) | true")
    assert done.stderr.strip() in ("0", "141", "2")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no device that is always full")
@pytest.mark.parametrize("command", ["recipes --json", "recipes"])
def test_output_without_room_is_said_in_one_line(command: str) -> None:
    done = shell(f"{sys.executable} -m polyvae {command} > /dev/full")
    assert (done.returncode, done.stderr) == (1, "polyvae: standard output: No space left on device\n")


def test_two_processes_train_one_model_and_say_one_thing(tmp_path: Path) -> None:
    command = [*POLYVAE, "train", "vae", *TINY, "--epochs", "1", "--devices", "2", "--device", "cpu"]
    command += ["--run", str(tmp_path / "run"), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["epochs"] == 1
