"""Real storage services for tests: Azurite for Azure, OpenStack Swift for S3, each a process on a free port.

What a service needs may be missing on a user's machine, where its tests are then skipped; in CI they must run.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import shutil
import socket
import subprocess
import sys
import urllib.request
from dataclasses import replace
from datetime import timedelta
from email.utils import formatdate
from pathlib import Path
from urllib.parse import quote, urlsplit

import obstore
import pytest
from obstore.store import S3Store

from mismo_grpc.storage.blobs.azure_account import (
    DEVELOPMENT_ACCOUNT,
    DEVELOPMENT_KEY,
    AzureAccount,
)
from mismo_grpc.storage.blobs.containers import S3Account
from tests.support.packages import missing_packages

TESTS = Path(__file__).resolve().parent.parent
AZURITE = TESTS / "azurite/node_modules/azurite/dist/src/blob/main.js"
AZURE_VERSION = "2023-11-03"
START_SECONDS = 60
STOP_SECONDS = 10


class StorageServer:
    """A process that serves blobs; it can be ended and started again, with the same data (`folder`) and port."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Starts the process and waits until it serves."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(self.command(), stdout=subprocess.PIPE, stderr=log)
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if b"successfully listens" in line or line.startswith(b"ready"):
                return
        self.stop()
        raise AssertionError(f"it did not start: {(self.folder / 'log').read_text()[-2000:]}")

    def stop(self) -> None:
        """Ends the process."""
        if (process := self._process) is None:
            return
        self._process = None
        # Azurite writes its index at the end.
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        assert process.stdout is not None
        process.stdout.close()

    def command(self) -> list[str]:
        """The program and its arguments."""
        raise NotImplementedError


class Azurite(StorageServer):
    """Azure's own emulator of its blob storage."""

    def command(self) -> list[str]:
        """See StorageServer."""
        node = shutil.which("node") or "node"
        arguments = ["--blobHost", "127.0.0.1", "--blobPort", str(self.port), "--location", str(self.folder)]
        return [node, str(AZURITE), *arguments, "--silent", "--disableTelemetry"]

    def account(self, address: str = "", key: str = DEVELOPMENT_KEY) -> AzureAccount:
        """The account, as seen through another address if one is given."""
        endpoint = f"http://{address or self.address}/{DEVELOPMENT_ACCOUNT}"
        return AzureAccount(DEVELOPMENT_ACCOUNT, endpoint, key)

    def sas_account(self, expires: str, address: str = "") -> AzureAccount:
        """The account with an account SAS that ends at a time, written as 2030-01-01T00:00:00Z."""
        permissions = "rwdlc"
        fields = [DEVELOPMENT_ACCOUNT, permissions, "b", "sco", "", expires, "", "", AZURE_VERSION, ""]
        signature = quote(_signed("\n".join([*fields, ""])), safe="")
        sas = f"sv={AZURE_VERSION}&ss=b&srt=sco&sp={permissions}&se={expires.replace(':', '%3A')}&sig={signature}"
        return replace(self.account(address), key="", sas=sas)

    def create(self, name: str) -> None:
        """Creates a container."""
        date = formatdate(usegmt=True)
        headers = {"x-ms-date": date, "x-ms-version": AZURE_VERSION, "Content-Length": "0"}
        path = f"/{DEVELOPMENT_ACCOUNT}/{name}"
        signed_headers = f"x-ms-date:{date}\nx-ms-version:{AZURE_VERSION}\n"
        text = "PUT" + "\n" * 12 + f"{signed_headers}/{DEVELOPMENT_ACCOUNT}{path}\nrestype:container"
        headers["Authorization"] = f"SharedKey {DEVELOPMENT_ACCOUNT}:{_signed(text)}"
        _send("PUT", f"http://{self.address}{path}?restype=container", headers)


class Swift(StorageServer):
    """OpenStack Swift, through its S3 API."""

    def command(self) -> list[str]:
        """See StorageServer."""
        script = TESTS / "support" / "swift_server.py"
        # -P: the modules beside the script would hide those of the standard library that have their names.
        return [sys.executable, "-P", str(script), str(self.folder), str(self.port)]

    def account(self, address: str = "", key: str = "testing") -> S3Account:
        """The keys, for the service as seen through another address if one is given."""
        return S3Account("us-east-1", f"http://{address or self.address}", "test:tester", key)

    def create(self, name: str) -> None:
        """Creates a bucket."""
        link = obstore.sign(_client(name, self.account()), "PUT", "", timedelta(minutes=5))
        _send("PUT", link, {})

    def stored_objects(self) -> int:
        """The objects of all buckets, the parts of unfinished uploads among them."""
        return sum(1 for _ in (self.folder / "devices").rglob("*.data"))


def azurite(folder: Path) -> Azurite:
    """Starts Azurite; skips the test where it is not installed, but never in CI."""
    if not os.environ.get("CI") and not (AZURITE.exists() and shutil.which("node")):
        pytest.skip("Azurite is not installed: npm ci in tests/azurite")
    return Azurite(folder)


def swift(folder: Path) -> Swift:
    """Starts Swift; skips the test where it is not installed, but never in CI."""
    # Imported by the other process alone.
    if missing := missing_packages("eventlet", "swift", "pyeclib"):
        pytest.skip(missing)
    return Swift(folder)


def _client(name: str, account: S3Account) -> S3Store:
    return S3Store(
        name,
        endpoint=account.endpoint,
        region=account.region,
        access_key_id=account.access_key_id,
        secret_access_key=account.secret_access_key,
        virtual_hosted_style_request=False,
        client_options={"allow_http": True},
        retry_config={"max_retries": 0},
    )


def _signed(text: str) -> str:
    key = base64.b64decode(DEVELOPMENT_KEY)
    return base64.b64encode(hmac.new(key, text.encode(), hashlib.sha256).digest()).decode()


def _send(method: str, url: str, headers: dict[str, str]) -> None:
    assert urlsplit(url).scheme == "http"
    with urllib.request.urlopen(
        urllib.request.Request(url, method=method, headers=headers), timeout=START_SECONDS
    ):
        pass


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
