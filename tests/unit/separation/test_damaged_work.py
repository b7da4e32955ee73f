"""Work that was damaged after its process was killed is done again: the stems are the same to the last bit."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from mismo_grpc.separation.engine import SeparationSpec
from mismo_grpc.storage.run_files import RunFiles
from tests.unit.separation.bags import tiny_htdemucs, write_safetensors_bag
from tests.unit.separation.test_engine import Rig, make_mix, read_all, spec_of

FRAMES = 150_000
SEGMENTS_BEFORE = 4


def zero(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def zero_the_samples(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:100] + bytes(len(content) - 100))


def flip_one_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    # In the middle of what was written: the first segments are at the start of the track.
    content[len(content) // 8] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def empty(path: Path) -> None:
    path.write_bytes(b"")


DAMAGES: dict[str, tuple[str, Callable[[Path], object]]] = {
    "a stem zeroed": ("stems/bass.wav", zero),
    "the samples of a stem zeroed": ("stems/bass.wav", zero_the_samples),
    "one bit of a stem": ("stems/drums.wav", flip_one_bit),
    "a stem cut": ("stems/vocals.wav", cut),
    "a stem missing": ("stems/other.wav", Path.unlink),
    "pieces zeroed": ("work/pieces/*", zero),
    "pieces cut": ("work/pieces/*", cut),
    "pieces missing": ("work/pieces/*", Path.unlink),
    "the journal zeroed": ("work/journal", zero),
    "the journal empty": ("work/journal", empty),
    "the journal missing": ("work/journal", Path.unlink),
    "the peaks missing": ("work/peaks", Path.unlink),
    "unconverted frames zeroed": ("work/final.f32", zero),
    "unconverted frames missing": ("work/final.f32", Path.unlink),
}


def interrupted(models: Path, spec: SeparationSpec) -> int:
    """Separates some segments and stops there; answers how many are done."""
    rig = Rig(models)
    rig.device.permits = threading.Semaphore(SEGMENTS_BEFORE)
    separation = rig.open("tiny", spec)
    assert rig.device.out_of_permits.wait(30)
    rig.device.permits.release()
    rig.engine.stop(10)
    done = separation.segments_done
    separation.record.close()
    separation.stems.close()
    return done


def finished(models: Path, spec: SeparationSpec) -> tuple[bytes, int]:
    """Separates the rest; answers the stems and how many segments that took."""
    rig = Rig(models)
    separation = rig.open("tiny", spec)
    separation.finished.result(60)
    stems = read_all(separation).tobytes()
    rig.engine.stop(10)
    separation.record.close()
    separation.stems.close()
    return stems, rig.device.forwards


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    write_safetensors_bag(folder, "tiny", [tiny_htdemucs(1)])
    return folder


Expected = dict[int, tuple[bytes, int]]


@pytest.fixture(scope="module")
def expected(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Expected:
    """The undisturbed stems and their number of segments, by sample rate."""
    folder = tmp_path_factory.mktemp("undisturbed")
    mix = make_mix(folder, FRAMES)
    return {
        rate: finished(models, replace(spec_of(folder, mix, str(rate)), sample_rate=rate))
        for rate in (0, 48_000)
    }


@pytest.mark.parametrize("rate", [0, 48_000])
@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_work_is_done_again(
    tmp_path: Path, models: Path, expected: Expected, damage: str, rate: int
) -> None:
    pattern, spoil = DAMAGES[damage]
    spec = replace(spec_of(tmp_path, make_mix(tmp_path, FRAMES)), sample_rate=rate)
    interrupted(models, spec)
    for path in spec.files.folder.glob(pattern):
        spoil(path)
    assert finished(models, spec)[0] == expected[rate][0]


@pytest.mark.parametrize("change", [{"boot": "another"}, {"model_fingerprint": "cpu bf16"}, {"boot": ""}])
def test_work_of_another_boot_or_precision_is_done_again(
    tmp_path: Path, models: Path, expected: Expected, change: dict[str, str]
) -> None:
    spec = spec_of(tmp_path, make_mix(tmp_path, FRAMES))
    assert interrupted(models, spec) >= SEGMENTS_BEFORE
    assert finished(models, replace(spec, **change)) == expected[0]


def test_work_of_another_mix_is_not_taken_up(tmp_path: Path, models: Path) -> None:
    spec = spec_of(tmp_path, make_mix(tmp_path, FRAMES))
    interrupted(models, spec)
    other = replace(make_mix(tmp_path / "other", FRAMES, seed=2), crc32c=2)
    straight = finished(models, replace(spec, mix=other, files=RunFiles(tmp_path / "straight")))
    assert finished(models, replace(spec, mix=other)) == straight


def test_whole_work_is_taken_up_without_a_segment_more(
    tmp_path: Path, models: Path, expected: Expected
) -> None:
    spec = spec_of(tmp_path, make_mix(tmp_path, FRAMES))
    done = interrupted(models, spec)
    stems, forwards = finished(models, spec)
    assert (stems, forwards + done) == expected[0]


def test_frames_lost_after_their_conversion_are_converted_again(
    tmp_path: Path, models: Path, expected: Expected
) -> None:
    spec = replace(spec_of(tmp_path, make_mix(tmp_path, FRAMES)), sample_rate=48_000)
    finished(models, spec)
    zero_the_samples(spec.files.stem("bass"))
    stems, forwards = finished(models, spec)
    assert (stems, forwards) == (expected[48_000][0], 0)
