"""The app server's fixed start command: python -m uvicorn src.app:app --host 127.0.0.1 --port 8000."""

from __future__ import annotations

from mismo_grpc.asgi import create_app

app = create_app()
