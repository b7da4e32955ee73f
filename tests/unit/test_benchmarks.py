"""The benchmark's command, tables and measures; what it measures is run by `make bench`."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

from benchmarks import __main__ as command
from benchmarks.cases.parity import snr_db
from benchmarks.commands import plain_environment
from benchmarks.process_memory import rss_anon
from benchmarks.table import BEGIN, END, Row, failed, json_report, markdown_table, write_markdown
from benchmarks.tracks import SAMPLE_RATE, Tracks

ROOT = Path(__file__).resolve().parents[2]
ROWS = [
    Row("a", "one thing", "≤ 3 s", "2.5 s", met=True, figures={"seconds": [2.4, 2.5]}),
    Row("b", "a | b", "", "nothing was promised", met=None),
    failed("c", "another", "it broke"),
]
MACHINE = {"machine": "two cores"}


def test_list_names_every_case_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--list"]) == 0
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert listed == [case.name for case in command.CASES]
    assert len(set(listed)) == len(listed)


def test_unknown_case_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main(["no_such_case"])
    assert ended.value.code == 2
    assert "no_such_case" in capsys.readouterr().err


def test_optional_cases_run_only_when_asked_for() -> None:
    usual = command.chosen([], with_demo=False)
    assert not any(case.optional for case in usual)
    assert [case.name for case in command.chosen([], with_demo=True) if case.optional] == ["demo"]
    # Named ones come in the table's order, not in that of the command line.
    assert [case.name for case in command.chosen(["demo", "parity"], with_demo=False)] == ["parity", "demo"]


def test_markdown_has_a_row_a_promise_and_keeps_its_columns() -> None:
    lines = markdown_table(ROWS).splitlines()
    assert len(lines) == 2 + len(ROWS)
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {5}
    assert lines[2].endswith("| 2.5 s | yes |")
    assert lines[4].endswith("| could not be measured: it broke | no |")


def test_figures_land_between_the_marks_of_a_document(tmp_path: Path) -> None:
    page = tmp_path / "performance.md"
    page.write_text(f"# Figures\n{BEGIN}\nold\n{END}\nMethod\n")
    write_markdown(page, ROWS, MACHINE)
    write_markdown(page, ROWS, MACHINE)
    text = page.read_text()
    assert text.startswith("# Figures\n")
    assert text.endswith("Method\n")
    assert "old" not in text
    assert text.count("- machine: two cores") == text.count(BEGIN) == text.count(END) == 1


def test_the_performance_page_has_the_marks() -> None:
    page = (ROOT / "docs" / "performance.md").read_text()
    assert page.count(BEGIN) == page.count(END) == 1
    assert page.index(BEGIN) < page.index(END)


def test_json_report_keeps_the_single_values() -> None:
    report = json.loads(json_report(ROWS, MACHINE))
    assert report["machine"] == MACHINE
    assert report["rows"][0]["figures"] == {"seconds": [2.4, 2.5]}
    assert [row["met"] for row in report["rows"]] == [True, None, False]


def test_tracks_repeat_their_source_to_the_asked_length(tmp_path: Path) -> None:
    source = tmp_path / "source.wav"
    noise = np.random.default_rng(1).integers(-1000, 1000, (SAMPLE_RATE // 2, 2), dtype=np.int16)
    soundfile.write(source, noise, SAMPLE_RATE, subtype="PCM_16")
    samples, rate = soundfile.read(Tracks(source, tmp_path / "tracks").wav(1.25), dtype="int16")
    assert rate == SAMPLE_RATE
    expected = np.concatenate([noise, noise, noise[: SAMPLE_RATE // 4]])
    assert np.array_equal(samples, expected)


def test_snr_is_in_decibel_of_the_reference() -> None:
    reference = np.ones((100, 2), np.float32)
    assert snr_db(reference, reference) == float("inf")
    assert snr_db(reference, reference * np.float32(1.01)) == pytest.approx(40.0, abs=0.01)


def test_anonymous_memory_is_part_of_what_is_resident() -> None:
    status = Path(f"/proc/{os.getpid()}/status")
    resident = next(int(li.split()[1]) for li in status.read_text().splitlines() if li.startswith("VmRSS"))
    assert 0 < rss_anon(status) <= (resident + 65_536) * 1024


def test_children_get_neither_settings_nor_thread_counts() -> None:
    caller = {"PATH": "/bin", "OMP_NUM_THREADS": "1", "MISMO_PRECISION": "fp32", "JOBS_DIR": "/jobs"}
    kept = plain_environment(caller)
    assert kept["PATH"] == "/bin"
    assert not {"OMP_NUM_THREADS", "MISMO_PRECISION", "JOBS_DIR"} & kept.keys()
    assert kept["MISMO_HUB"] == "false"
