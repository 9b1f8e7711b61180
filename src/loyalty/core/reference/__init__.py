"""The interactive reference: Swagger UI over this application's own document, served whole from here.

`swagger-ui/` holds swagger-ui-dist 5.35.0 as published (Apache-2.0); the page asks nothing of any other host.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
from litestar import Controller, Litestar, MediaType, Request, Response, Router, get
from litestar.config.app import AppConfig
from litestar.datastructures import State
from litestar.plugins import InitPlugin
from litestar.routes import HTTPRoute
from litestar.static_files import create_static_files_router
from pydantic.json_schema import models_json_schema

from loyalty.core.fields import Body

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


class OwnPagesOnly(InitPlugin):
    """Takes the framework's documentation pages off the application: they load from elsewhere.

    To the framework an empty list of them means all, and it puts them on after the plugins that it was given; so this
    one has itself called once more, last.
    """

    pages = "/framework-pages"

    def on_app_init(self, app_config: AppConfig) -> AppConfig:
        if app_config.plugins[-1] is not self:
            app_config.plugins.append(self)
            return app_config
        handlers = app_config.route_handlers
        app_config.route_handlers = [
            handler for handler in handlers if not (isinstance(handler, Router) and handler.path == self.pages)
        ]
        return app_config


class ReferenceRoutes(Controller):
    path = "/"
    include_in_schema = False
    security = ()

    @get("/openapi.json")
    async def document(self, request: Request[object, object, State]) -> Response[bytes]:
        """The OpenAPI 3.1 document."""
        state = request.app.state
        if "openapi" not in state:
            state["openapi"] = openapi_json(request.app)
        return Response(state["openapi"], media_type=MediaType.JSON)

    @get("/reference", media_type=MediaType.HTML, response_headers=_SECURITY)
    async def page(self) -> str:
        """The reference for people."""
        return _PAGE

    @get("/reference/start.js", media_type="text/javascript")
    async def start(self) -> str:
        """What sets the page going; a file of its own, since the page allows no script within it."""
        return _START


def reference_files() -> Router:
    return create_static_files_router(path="/reference/files", directories=[_FILES], include_in_schema=False)


def openapi_json(application: Litestar) -> bytes:
    """Write the document the same way every time, so that a change of it is a change of the API.

    Bodies are described by the very models that read them, an operation's summary is the first line of what its handler
    says of itself, and an operation that names no scope is open to all.
    """
    schema = application.openapi_schema.to_schema()
    schemas = schema["components"]["schemas"]
    schemas.update({name: bodies for name, bodies in _body_schemas().items() if name in schemas})
    open_to_all = set(_open_operations(application))
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            operation["summary"] = operation["description"].partition("\n")[0]
            if (path, method) in open_to_all:
                operation["security"] = []
    return msgspec.json.format(msgspec.json.encode(schema, order="sorted"), indent=1) + b"\n"


def _body_schemas() -> dict[str, Any]:
    """Describe every request body: bounds, patterns, and that unknown fields are refused."""
    _, described = models_json_schema(
        [(model, "validation") for model in _descendants(Body)], ref_template="#/components/schemas/{model}"
    )
    found: dict[str, Any] = described["$defs"]
    return found


def _descendants(model: type[Body]) -> Iterator[type[Body]]:
    for child in model.__subclasses__():
        yield child
        yield from _descendants(child)


def _open_operations(application: Litestar) -> Iterator[tuple[str, str]]:
    for route in application.routes:
        for handler in route.route_handlers if isinstance(route, HTTPRoute) else []:
            if "scope" not in handler.opt:
                yield from ((route.path_format, method.lower()) for method in handler.http_methods)
