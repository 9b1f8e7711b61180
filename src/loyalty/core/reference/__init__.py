"""The interactive reference: Swagger UI over this application's own document, served whole from here.

`swagger-ui/` holds swagger-ui-dist 5.35.0 as published (Apache-2.0); the page asks nothing of any other host.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
from litestar import MediaType, Request, Response, get
from litestar.datastructures import State
from litestar.handlers import HTTPRouteHandler
from litestar.static_files import create_static_files_router

_FILES: Final = Path(__file__).parent / "swagger-ui"
_SECURITY: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        "connect-src 'self'; frame-ancestors 'none'"
    )
}
_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Loyalty API reference</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/reference/files/swagger-ui.css">
</head>
<body>
<div id="reference"></div>
<script src="/reference/files/swagger-ui-bundle.js"></script>
<script src="/reference/start.js"></script>
</body>
</html>
"""
_START: Final = """SwaggerUIBundle({url: "/openapi.json", dom_id: "#reference", deepLinking: true, validatorUrl: null});
"""


@get("/openapi.json", include_in_schema=False, security=[])
async def document(request: Request[object, object, State]) -> Response[bytes]:
    """The OpenAPI 3.1 document."""
    return Response(openapi_json(request.app.openapi_schema.to_schema()), media_type=MediaType.JSON)


@get("/reference", include_in_schema=False, media_type=MediaType.HTML, response_headers=_SECURITY)
async def page() -> str:
    """The reference for people."""
    return _PAGE


@get("/reference/start.js", include_in_schema=False, media_type="text/javascript")
async def start() -> str:
    return _START


def reference_routes() -> list[Any]:
    files = create_static_files_router(path="/reference/files", directories=[_FILES], include_in_schema=False)
    handlers: list[HTTPRouteHandler] = [document, page, start]
    return [*handlers, files]


def openapi_json(schema: Mapping[str, Any]) -> bytes:
    """Write the document the same way every time, so that a change of it is a change of the API.

    An operation's summary is the first line of what its handler says of itself.
    """
    for path in schema["paths"].values():
        for operation in path.values():
            if isinstance(operation, dict):
                operation["summary"] = operation["description"].partition("\n")[0]
    return msgspec.json.format(msgspec.json.encode(schema, order="sorted"), indent=1) + b"\n"
