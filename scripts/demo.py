"""The two-minute demo: starts a server, separates the track in examples/ over gRPC, writes the stems to ./out/.

It also prints tempo, key, sections and chords, if the server offers these analyses.

make demo                                  # the included track, from its middle
make demo ARGS='--track ~/song.mp3'        # your own track
make demo ARGS='--loudness'                # also its loudness
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, cast

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from mismo.analysis.v1 import stage_pb2
from mismo_client import Client, stage_name

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 60.0
STOP_SECONDS = 10.0
ANALYSES = (stage_pb2.STAGE_BASIC_FEATURES, stage_pb2.STAGE_SECTIONS, stage_pb2.STAGE_CHORDS)
EXIT_INTERRUPTED = 130


def main() -> int:
    """Runs the demo; returns the client's exit status."""
    parser = argparse.ArgumentParser(
        description="Starts a server, separates a track on it, and writes the stems to a folder."
    )
    parser.add_argument(
        "--track", type=Path, default=ROOT / "examples" / "demo_track.ogg", help="any audio file"
    )
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for the stems (./out)")
    parser.add_argument(
        "--playhead", default="0:15", help="position to separate first; the rest follows (0:15)"
    )
    parser.add_argument("--model", default="", help="name of a model (the server's default)")
    parser.add_argument("--loudness", action="store_true", help="also measure the track's loudness")
    arguments = parser.parse_args()
    track = arguments.track.expanduser().resolve()
    if not track.is_file():
        parser.error(f"there is no file {track}")
    with tempfile.TemporaryDirectory(prefix="mismo-demo-") as folder:
        ready = Path(folder, "ready.json")
        print("starting the server ...", flush=True)
        begin = time.perf_counter()
        server = subprocess.Popen(
            [
                *(
                    sys.executable,
                    str(ROOT / "server.py"),
                    "--grpc-port",
                    "0",
                    "--http-port",
                    "0",
                    "--ready-file",
                    str(ready),
                ),
                *(
                    "--jobs-dir",
                    str(Path(folder, "jobs")),
                    "--allow-path",
                    str(track.parent),
                    # Of other models than the one asked for the client tells.
                    "--log-level",
                    "error",
                ),
            ],
            env={**os.environ, "MISMO_HUB": os.environ.get("MISMO_HUB", "false")},
        )
        try:
            port = wait_until_ready(server, ready)
            if port is None:
                print("the server did not start; its last lines say why", file=sys.stderr)
                return 1
            print(f"accepting jobs on 127.0.0.1:{port} after {time.perf_counter() - begin:.1f} s", flush=True)
            wait_until_warm(port)
            print(f"model warm after {time.perf_counter() - begin:.1f} s\n", flush=True)
            command = [
                sys.executable,
                "-m",
                "mismo_command",
                "separate",
                str(track),
                "-o",
                str(arguments.out),
            ]
            command += ["--server", f"127.0.0.1:{port}", "--playhead", arguments.playhead]
            if arguments.model:
                command += ["--model", arguments.model]
            if arguments.loudness:
                command += ["--loudness"]
            for name in offered_analyses(port):
                command += ["--stage", name]
            status = subprocess.run(command, check=False).returncode
        except KeyboardInterrupt:
            return EXIT_INTERRUPTED
        finally:
            stop(server)
    if status == 0:
        print(f"\nlisten: {arguments.out}/{track.stem}/*.wav")
    return status


def wait_until_ready(server: subprocess.Popen[bytes], ready: Path) -> int | None:
    """Returns the server's gRPC port; None if the server ended or took too long."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        if ready.exists():
            return int(json.loads(ready.read_text())["grpc_port"])
        time.sleep(0.05)
    return None


def wait_until_warm(port: int) -> None:
    """Waits for the default model, so that the demo shows the speed of a running server."""
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        request = health_pb2.HealthCheckRequest(service="mismo.analysis.v1.Model")
        # The stub's type omits Watch.
        health = cast("Any", health_pb2_grpc.HealthStub(channel))
        for state in health.Watch(request, timeout=START_SECONDS):
            if state.status == health_pb2.HealthCheckResponse.SERVING:
                return


def offered_analyses(port: int) -> list[str]:
    """Names of those ANALYSES that the server offers; the others need extras that are not installed."""
    with Client(f"127.0.0.1:{port}") as client:
        offered = {info.stage for info in client.stages() if info.available}
    return [stage_name(stage) for stage in ANALYSES if stage in offered]


def stop(server: subprocess.Popen[bytes]) -> None:
    """Sends SIGTERM, and SIGKILL if the server does not end."""
    server.send_signal(signal.SIGTERM)
    try:
        server.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


if __name__ == "__main__":
    sys.exit(main())
