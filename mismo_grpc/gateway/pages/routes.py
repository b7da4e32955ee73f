"""The routes of the pages: `/`, `/status`, `/docs`, and `/static/` with what they load."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from fastapi import APIRouter, Request
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from mismo_grpc.gateway.pages.assets import Asset
from mismo_grpc.gateway.pages.security import PAGE_HEADERS, content_security_policy
from mismo_grpc.gateway.ranges import etag_matches
from mismo_grpc.gateway.services import services_of

PAGES = {
    "/": "index.html",
    "/status": "status.html",
    "/docs": "docs.html",
    # What browsers ask for by themselves, such as beside a response in JSON.
    "/favicon.ico": "img/favicon.svg",
}


def build_router(assets: Mapping[str, Asset]) -> APIRouter:
    """The routes for these files, by their path in `static/`; a path that is not among them gets 404."""
    router = APIRouter()
    for path, name in PAGES.items():
        router.add_api_route(path, _page(assets, name), methods=["GET", "HEAD"], include_in_schema=False)

    async def why_not(request: Request) -> dict[str, str]:
        health = services_of(request).engine_health()
        return {"not_separating": health.failure, "model_not_loaded": health.model_failure}

    # For the status page: /ready says it too, with a status that browsers report in the console as an error.
    router.add_api_route("/status.json", why_not, methods=["GET"], include_in_schema=False)

    async def static(request: Request, name: str) -> Response:
        return await _response(request, assets, name)

    router.add_api_route("/static/{name:path}", static, methods=["GET", "HEAD"], include_in_schema=False)
    return router


def _page(assets: Mapping[str, Asset], name: str) -> Callable[[Request], Awaitable[Response]]:
    async def page(request: Request) -> Response:
        return await _response(request, assets, name)

    return page


async def _response(request: Request, assets: Mapping[str, Asset], name: str) -> Response:
    asset = assets.get(name)
    if asset is None:
        raise HTTPException(404)
    content, etag = asset.content, asset.sha256[:32]
    headers = {
        **PAGE_HEADERS,
        "Content-Security-Policy": content_security_policy(request.headers.get("host", "")),
        # A new version of the server has new files under the old names: browsers ask each time, mostly for a 304.
        "Cache-Control": "no-cache",
        "Vary": "Accept-Encoding",
    }
    if accepts_gzip(request.headers.get("accept-encoding", "")):
        compressed = await asset.gzipped()
        if compressed is not None:
            content, etag = compressed, f"{etag}-gzip"
            headers["Content-Encoding"] = "gzip"
    headers["ETag"] = f'"{etag}"'
    if etag_matches(request.headers.get("if-none-match", ""), etag):
        headers.pop("Content-Encoding", None)
        return Response(status_code=304, headers=headers)
    headers["Content-Length"] = str(len(content))
    body = b"" if request.method == "HEAD" else content
    return Response(body, headers=headers, media_type=asset.content_type)


def accepts_gzip(header: str) -> bool:
    """Whether Accept-Encoding allows gzip (RFC 9110, section 12.5.3)."""
    weights: dict[str, float] = {}
    for part in header.lower().split(","):
        name, _, parameter = part.strip().partition(";")
        key, _, value = parameter.strip().partition("=")
        try:
            weights[name.strip()] = float(value) if key.strip() == "q" else 1.0
        except ValueError:
            weights[name.strip()] = 0.0
    return weights.get("gzip", weights.get("*", 0.0)) > 0
