"""The dashboard, the alerts and the documentation name metrics that the server has."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.service.conftest import StartServer
from tests.service.gateway.test_gateway import client_of, ended, request_for
from tests.support.http import receiver
from tests.support.tracks import write_track

ROOT = Path(__file__).resolve().parents[3]
DASHBOARD: dict[str, Any] = json.loads((ROOT / "deploy/grafana/mismo.json").read_text(encoding="utf-8"))
ALERTS = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yaml").read_text(encoding="utf-8"))
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
COLUMNS = 24
METRIC = re.compile(r"\b((?:mismo|process)_[a-z0-9_]+)(\{[^}]*\})?")
LABEL = re.compile(r'([a-z_]+)\s*(?:=~|!~|!=|=)\s*"')
OF_THE_SCRAPE = {"instance", "job"}


def queries() -> dict[str, str]:
    """All queries, by where they stand."""
    found = {
        f"{panel['title']} {target['refId']}": target["expr"]
        for panel in PANELS
        for target in panel.get("targets", [])
    }
    return found | {rule["alert"]: rule["expr"] for group in ALERTS["groups"] for rule in group["rules"]}


async def metrics_after_work(start: StartServer, music: Path) -> str:
    """The metrics once a job was accepted, was separated and told, and another one has failed."""
    server = await start()
    async with client_of(server) as http, receiver() as app_server:
        track = write_track(music / "track.wav", 1.0)
        job = request_for(track, track_hash="good", callback_url=app_server.url)
        (await http.post("/jobs", json=job)).raise_for_status()
        (music / "empty.wav").write_bytes(track.read_bytes()[:44])
        await http.post("/jobs", json=request_for(music / "empty.wav", track_hash="bad"))
        assert (await ended(http, "good"))["status"] == "completed"
        assert (await ended(http, "bad"))["status"] == "failed"
        await app_server.received()
        return (await http.get("/metrics")).text


async def test_every_query_finds_its_metric_and_labels(start: StartServer, music: Path) -> None:
    text = await metrics_after_work(start, music)
    labels: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        # A counter of what has not happened yet, such as a retry, has no sample.
        names = [family.name, f"{family.name}_total", f"{family.name}_bucket", f"{family.name}_sum"]
        for name in names if not family.samples else []:
            labels.setdefault(name, set())
        for sample in family.samples:
            labels.setdefault(sample.name, set()).update(sample.labels)
    assert len(queries()) > 40
    for where, query in queries().items():
        found = METRIC.findall(query)
        assert found or "up{" in query, f"{where}: no metric in {query}"
        for name, selector in found:
            assert name in labels, f"{where}: there is no {name}"
            assert set(LABEL.findall(selector)) <= labels[name] | OF_THE_SCRAPE, f"{where}: {name}{selector}"
        known = {label for name, _ in found for label in labels[name]} | OF_THE_SCRAPE | {"le"}
        if all(labels[name] for name, _ in found):
            for grouped in re.findall(r"by \(([^)]*)\)", query):
                assert {each.strip() for each in grouped.split(",")} <= known, f"{where}: by ({grouped})"


async def test_failures_and_audio_are_counted(start: StartServer, music: Path) -> None:
    text = await metrics_after_work(start, music)
    for line in (
        'mismo_job_failures_total{reason="EMPTY_AUDIO"} 1.0',
        'mismo_stage_failures_total{reason="EMPTY_AUDIO",stage="decode"} 1.0',
        'mismo_audio_seconds_total{model="tiny"} 1.0',
        'mismo_warm_models{model="tiny"} 1.0',
        "mismo_separating 1.0",
        "mismo_draining 0.0",
        "mismo_uploads_open 0.0",
        'mismo_device_info{description="1 thread",device="cpu",precision="fp32"} 1.0',
    ):
        assert line in text, line
    assert re.search(r'mismo_http_requests_total\{method="POST",status="200"\} 2\.0', text)
    assert re.search(r"mismo_disk_free_bytes [1-9]", text)
    assert re.search(r'mismo_host_cpu_seconds_total\{mode="busy"\} [1-9]', text)


async def test_the_documentation_has_every_metric_with_its_help_and_labels(
    start: StartServer, music: Path
) -> None:
    text = await metrics_after_work(start, music)
    rows = re.findall(
        r"^\| `(mismo_\w+)` \| (\w+) \| ([^|]*) \| (.*) \|$",
        (ROOT / "docs/monitoring.md").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    served = {
        f"{family.name}_total" if family.type == "counter" else family.name: (
            family.type,
            family.documentation,
        )
        for family in text_string_to_metric_families(text)
        if family.name.startswith("mismo_") and not family.name.endswith("_created")
    }
    assert {name: (kind, meaning) for name, kind, _, meaning in rows} == served


def test_panels_have_ids_and_places_of_their_own() -> None:
    ids = [panel["id"] for panel in PANELS]
    assert len(set(ids)) == len(ids)
    taken: set[tuple[int, int]] = set()
    for panel in PANELS:
        place = panel["gridPos"]
        assert place["x"] >= 0
        assert place["x"] + place["w"] <= COLUMNS, panel["title"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, f"{panel['title']} lies on another panel"
        taken |= cells


def test_the_dashboard_is_one_that_grafana_imports_on_any_data_source() -> None:
    assert DASHBOARD["id"] is None
    assert DASHBOARD["schemaVersion"] >= 39
    variables = {each["name"]: each for each in DASHBOARD["templating"]["list"]}
    assert (variables["datasource"]["type"], variables["datasource"]["query"]) == ("datasource", "prometheus")
    rows = [panel["title"] for panel in PANELS if panel["type"] == "row"]
    assert rows == [
        *("Overview", "First audio", "Queue", "Device", "Streams and requests"),
        *("Callbacks", "Disk", "Failures"),
    ]
    for panel in PANELS:
        if panel["type"] != "row":
            assert panel["datasource"]["uid"] == "${datasource}", panel["title"]
            assert panel["description"], panel["title"]
            refs = [target["refId"] for target in panel["targets"]]
            assert len(set(refs)) == len(refs)


def test_each_alert_says_what_to_do() -> None:
    for group in ALERTS["groups"]:
        for rule in group["rules"]:
            assert set(rule["annotations"]) == {"summary", "action"}, rule["alert"]
