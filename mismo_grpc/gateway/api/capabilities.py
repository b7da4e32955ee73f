"""What the server can do, for pages that offer choices."""

from __future__ import annotations

from typing import Any

from mismo_grpc import __version__
from mismo_grpc.gateway.api.formats import ARCHIVES
from mismo_grpc.gateway.api.requests import ALL_STEMS
from mismo_grpc.gateway.services import Services
from mismo_grpc.gateway.submission import PRIORITIES
from mismo_grpc.orchestration.server_status import ModelStatus
from mismo_grpc.separation.catalog import ModelState

SOCKET_IO_PATH = "/socket.io"
NAMESPACE = "/progress"
TYPES = {
    ".wav": "audio/wav",
    ".flac": "audio/flac",
    ".mp3": "audio/mpeg",
    ".m4a": "audio/mp4",
    ".aac": "audio/aac",
    ".ogg": "audio/ogg",
    ".opus": "audio/ogg",
    ".aif": "audio/aiff",
    ".aiff": "audio/aiff",
    ".caf": "audio/x-caf",
    ".webm": "audio/webm",
    ".mp4": "video/mp4",
    ".mka": "audio/x-matroska",
}
"""For file choosers: the usual extensions of what is read, and their types. The content of a file decides."""


def capabilities(services: Services) -> dict[str, object]:
    """The document of `GET /api/info`; blocks."""
    models = services.status.models()
    devices = services.status.devices()
    settings = services.settings
    available = [each for each in models if each.description.state is not ModelState.UNAVAILABLE]
    default = next((each for each in models if each.default), None)
    stems = dict.fromkeys(stem for each in available for stem in each.description.sources)
    return {
        "name": "mismo_grpc",
        "version": __version__,
        "default_model": None if default is None else default.description.name,
        "models": [_model(each) for each in models],
        "stems": [ALL_STEMS, *stems],
        "formats": list(ARCHIVES),
        "priorities": list(PRIORITIES),
        "allowed_extensions": list(TYPES),
        "allowed_types": list(dict.fromkeys(TYPES.values())),
        "max_upload_bytes": settings.max_upload_bytes,
        "max_track_seconds": settings.max_track_seconds,
        "retention_hours": settings.job_retention_hours,
        "device": None
        if not devices
        else {
            "name": devices[0].name,
            "description": devices[0].description,
            "precision": devices[0].precision,
        },
        "jobs": {
            "queued": services.jobs.queued_count,
            "processing": services.jobs.running_count,
            "capacity": services.jobs.queue_capacity,
        },
        "socket_io": {"path": SOCKET_IO_PATH, "namespace": NAMESPACE},
    }


def _model(each: ModelStatus) -> dict[str, Any]:
    model = each.description
    available = model.state is not ModelState.UNAVAILABLE
    return {
        "name": model.name,
        "available": available,
        "reason": None if available else model.reason,
        "loaded": model.state is ModelState.WARM,
        "default": each.default,
        "stems": list(model.sources),
        "realtime_factor": round(each.realtime_factor, 2) or None,
    }
