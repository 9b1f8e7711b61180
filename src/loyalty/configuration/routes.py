from dataclasses import dataclass
from typing import Any, Final

from litestar import Controller, Request, Response, get, put
from litestar.openapi.spec import OpenAPIResponse, Operation, RequestBody
from litestar.params import JSONBody
from litestar.serialization import default_serializer

from loyalty.access.guards import Caller, Now
from loyalty.access.rules import Scope
from loyalty.configuration import service as configuration
from loyalty.configuration.schemas import (
    ConfigurationIn,
    ConfigurationOut,
    ConfigurationResult,
    configuration_out,
    configuration_result,
    configuration_yaml,
)
from loyalty.core import yaml
from loyalty.core.problems import problems
from loyalty.core.web import JSON, DryRun, Session

YAML: Final = "application/yaml"
_MAX_BYTES: Final = 512 * 1024


class YamlRequest(Request[Any, Any, Any]):
    """Reads YAML where the body says that it is."""

    async def json(self) -> Any:
        return yaml.read(await self.body()) if self.content_type[0] == YAML else await super().json()


class YamlResponse(Response[ConfigurationOut]):
    """Writes YAML where that is what was asked for."""

    def render(self, content: Any, media_type: str, enc_hook: Any = default_serializer) -> bytes:
        is_yaml = media_type == YAML
        return configuration_yaml(content).encode() if is_yaml else super().render(content, media_type, enc_hook)


@dataclass
class YamlToo(Operation):
    """Documents that the body, or the reply where there is none, may be YAML as well."""

    def __post_init__(self) -> None:
        told = self.request_body or (self.responses or {}).get("200")
        if isinstance(told, RequestBody | OpenAPIResponse) and told.content:
            told.content[YAML] = told.content[JSON]


class ConfigurationRoutes(Controller):
    path = "/v1/configuration"
    tags = ("Program",)
    request_class = YamlRequest

    @get(
        "/",
        operation_id="get_configuration",
        operation_class=YamlToo,
        scope=Scope.PROGRAM_READ,
        responses=problems(403, 409),
    )
    async def read(
        self, caller: Caller, session: Session, now: Now, request: Request[Any, Any, Any]
    ) -> Response[ConfigurationOut]:
        """Tell what is configured from now on, as JSON or, with `Accept: application/yaml`, as a file to keep.

        It needs `rewards:read` and `referrals:read` as well.
        """
        caller.demand(Scope.REWARDS_READ)
        caller.demand(Scope.REFERRALS_READ)
        found = await configuration.read(session, program_id=caller.program.id, now=now)
        media_type = request.accept.best_match([JSON, YAML]) or JSON
        return YamlResponse(configuration_out(found), media_type=media_type, headers={"Vary": "Accept"})

    @put(
        "/",
        operation_id="apply_configuration",
        operation_class=YamlToo,
        scope=Scope.PROGRAM_WRITE,
        body_types={JSON, YAML},
        request_max_body_size=_MAX_BYTES,
        responses=problems(403, 409),
    )
    async def apply(
        self, data: JSONBody[ConfigurationIn], caller: Caller, session: Session, now: Now, dry_run: DryRun = False
    ) -> ConfigurationResult:
        """Make the configuration what this says, all of it or nothing, and tell what that changes.

        It takes JSON, or YAML as `application/yaml`, and needs no Idempotency-Key: a second time, nothing changes. For
        rewards it needs `rewards:write` as well.
        """
        wish = data.wish(caller.program.rules, now=now)
        if wish.rewards is not None:
            caller.demand(Scope.REWARDS_WRITE)
        result = await configuration.apply(
            session, program_id=caller.program.id, wish=wish, actor=caller.actor, now=now
        )
        if dry_run:
            await session.rollback()
        return configuration_result(result, dry_run=dry_run)
