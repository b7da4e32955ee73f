"""How stems are sent: the encoding, the size of chunks, the choice of stems."""

from __future__ import annotations

from collections.abc import Sequence

from mismo_grpc.audio.encode import Encoding, convert_pcm, pcm_integers, sample_bytes
from mismo_grpc.audio.flac import BLOCK_FRAMES, FlacBlocks
from mismo_grpc.errors import InvalidFieldError, StemNotFoundError
from mismo_grpc.separation.stems import StemLayout
from mismo_grpc.streaming.blocks import Block, FlacBlock, PcmBlock
from mismo_grpc.streaming.messages import Info
from mismo_grpc.streaming.reader import SourceRun

DEFAULT_CHUNK_BYTES = 65_536
MIN_CHUNK_BYTES = 4_096
MAX_CHUNK_BYTES = 1_048_576


class WireFormat:
    """How stems of one layout are sent in one encoding."""

    def __init__(self, layout: StemLayout, encoding: Encoding) -> None:
        self.layout = layout
        self.encoding = encoding
        self.unit_frames = BLOCK_FRAMES if encoding is Encoding.FLAC else 1
        """Audio is cut at multiples of this number of frames, or at the end of the track."""
        sized_as = layout.encoding if encoding is Encoding.FLAC else encoding
        self.frame_bytes = layout.channels * sample_bytes(sized_as)
        """The bytes of one frame as PCM; for FLAC an upper bound, without FLAC's frame headers."""
        flac_bits = 16 if layout.encoding is Encoding.PCM_S16LE else 24
        self.bits_per_sample = flac_bits if encoding is Encoding.FLAC else sample_bytes(encoding) * 8
        """The bits of a sample as a decoder returns it."""
        self._flac: FlacBlocks | None = None
        if encoding is Encoding.FLAC:
            try:
                self._flac = FlacBlocks(layout.sample_rate, layout.channels, flac_bits)
            except ValueError as error:
                raise InvalidFieldError(
                    "encoding: FLAC does not fit these stems; ask for PCM", field="encoding"
                ) from error

    @property
    def codec_header(self) -> bytes:
        """FLAC's stream header; empty for PCM."""
        return self._flac.stream_header(self.layout.total_frames) if self._flac is not None else b""

    def chunk_frames(self, chunk_bytes: int) -> int:
        """The most frames of a chunk of at most `chunk_bytes` bytes.

        A FLAC chunk has at most the frames of a PCM chunk of that size, even if silence needs few bytes, but at least
        one FLAC frame.
        """
        frames = chunk_bytes // self.frame_bytes
        return max(self.unit_frames, frames - frames % self.unit_frames)

    def align(self, frame: int) -> int:
        """The start of the unit that contains a frame; the end of the track is returned unchanged."""
        return frame if frame >= self.layout.total_frames else frame - frame % self.unit_frames

    def align_up(self, frame: int) -> int:
        """The end of the last unit that is needed for the frames before `frame`, at most the end of the track."""
        return min(frame + -frame % self.unit_frames, self.layout.total_frames)

    def blocks(self, start_frame: int, frame_count: int, stored: Sequence[bytes]) -> list[Block]:
        """Converts stored audio of the same frames of several stems to blocks; blocks the thread while it encodes."""
        if self.encoding is self.layout.encoding:
            return [PcmBlock(start_frame, data, self.frame_bytes) for data in stored]
        return [self._block(start_frame, frame_count, data) for data in stored]

    def _block(self, start_frame: int, frame_count: int, stored: bytes) -> Block:
        layout = self.layout
        if self._flac is None:
            data = convert_pcm(stored, layout.encoding, self.encoding, layout.channels)
            return PcmBlock(start_frame, data, self.frame_bytes)
        samples = pcm_integers(stored, layout.encoding, layout.channels)
        flac_frames = self._flac.encode_blocks(samples, start_frame // BLOCK_FRAMES)
        return FlacBlock(start_frame, start_frame + frame_count, flac_frames)


def info_of(
    run: SourceRun,
    wire_format: WireFormat,
    stem_names: Sequence[str],
    chunk_bytes: int,
    server_epoch: str,
    idle_seconds: float = 0.0,
) -> Info:
    """The description of a stream of these stems of a run."""
    layout = wire_format.layout
    return Info(
        run.job_id,
        run.run_id,
        server_epoch,
        run.model,
        wire_format.encoding,
        tuple(stem_names),
        layout.total_frames,
        layout.sample_rate,
        layout.channels,
        wire_format.bits_per_sample,
        wire_format.codec_header,
        chunk_bytes,
        wire_format.chunk_frames(chunk_bytes),
        run.segment_frames,
        idle_seconds,
    )


def choose_stems(layout: StemLayout, names: Sequence[str], field: str) -> list[int]:
    """The positions of the requested stems in the layout, in the requested order; all stems if none are named.

    Raises StemNotFoundError, and InvalidFieldError for one that is named twice.
    """
    if not names:
        return list(range(len(layout.stem_names)))
    if len(set(names)) != len(names):
        raise InvalidFieldError(f"{field} names a stem twice; name each once", field=field)
    return [stem_index(layout, name, field) for name in names]


def stem_index(layout: StemLayout, name: str, field: str) -> int:
    """The position of a stem in the layout; raises StemNotFoundError."""
    try:
        return layout.stem_names.index(name)
    except ValueError:
        known = ", ".join(layout.stem_names)
        raise StemNotFoundError(
            f"{field}: this job has no stem {name!r}; it has {known}", field=field
        ) from None


def check_chunk_bytes(chunk_bytes: int, field: str) -> int:
    """The most payload bytes of a chunk; 0 means the default. Raises InvalidFieldError."""
    if chunk_bytes == 0:
        return DEFAULT_CHUNK_BYTES
    if not MIN_CHUNK_BYTES <= chunk_bytes <= MAX_CHUNK_BYTES:
        raise InvalidFieldError(
            f"{field} must be 0 or {MIN_CHUNK_BYTES} to {MAX_CHUNK_BYTES} bytes", field=field
        )
    return chunk_bytes
