"""The OpenAPI 3.1 document, made from the route tables and the records."""

import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

import msgspec
from msgspec import Struct

from overair import __version__
from overair.doors.thingspace import errors
from overair.doors.thingspace.errors import Problem
from overair.doors.thingspace.guards import SECURITY_SCHEMES
from overair.doors.thingspace.http import JSON, NO_BODY, AnyRoute, Parameter
from overair.records import ErrorBody, FaultBody, TokenError

Json = dict[str, Any]

_REF = "#/components/schemas/{name}"
_BODY_PROBLEMS = (errors.BODY_TOO_SLOW, errors.BODY_TOO_LARGE)


def document(routes: Iterable[AnyRoute]) -> Json:
    """Return the document of these routes."""
    table = list(routes)
    paths: dict[str, Json] = {}
    for route in table:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.1",
        "info": {
            "title": "Overair",
            "version": __version__,
            "summary": "Software management for fleets of cellular IoT devices, as the ThingSpace API has it",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {"schemas": _schemas(table), "securitySchemes": SECURITY_SCHEMES},
    }


def _schemas(routes: list[AnyRoute]) -> Json:
    types: set[type[Struct]] = {ErrorBody, FaultBody, TokenError}
    for route in routes:
        types |= {route.answer} if route.answer else set()
        types |= {route.body.schema} if isinstance(route.body.schema, type) else set()
    ordered = sorted(types, key=lambda record: record.__name__)
    return msgspec.json.schema_components(ordered, ref_template=_REF)[1]


def _operation(route: AnyRoute) -> Json:
    operation: Json = {
        "operationId": f"{route.method.lower()}{re.sub('[^A-Za-z0-9]+', '_', route.path)}".rstrip("_"),
        "summary": route.summary,
        "responses": {"200": _success(route.answer, listed=route.listed), **_failures(route)},
    }
    if route.guard.schemes:
        operation["security"] = [{scheme: [] for scheme in route.guard.schemes}]
    if route.parameters:
        operation["parameters"] = [_parameter(parameter) for parameter in route.parameters]
    if route.body.schema is not None:
        schema = route.body.schema
        content = {route.body.media_type: {"schema": _ref(schema) if isinstance(schema, type) else schema}}
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _parameter(parameter: Parameter[Any]) -> Json:
    return {
        "name": parameter.name,
        "in": parameter.place,
        "required": parameter.place == "path",
        "description": parameter.description,
        "schema": parameter.schema,
    }


def _success(answer: type[Struct] | None, *, listed: bool) -> Json:
    if answer is None:
        return {"description": "Done; the body is empty"}
    schema = {"type": "array", "items": _ref(answer)} if listed else _ref(answer)
    return {"description": "Done", "content": {JSON: {"schema": schema}}}


def _failures(route: AnyRoute) -> Json:
    problems = [
        *route.guard.problems,
        *(_BODY_PROBLEMS if route.body is not NO_BODY else ()),
        *route.body.problems,
        *(problem for parameter in route.parameters for problem in parameter.problems),
        *route.problems,
        errors.INTERNAL,
    ]
    by_status: dict[int, list[Problem]] = {}
    for problem in problems:
        by_status.setdefault(problem.status, []).append(problem)
    return {str(status): _failure(status, by_status[status]) for status in sorted(by_status)}


def _failure(status: int, problems: list[Problem]) -> Json:
    types = sorted({type(problem.body).__name__ for problem in problems})
    refs = [{"$ref": _REF.format(name=name)} for name in types]
    examples = {
        f"{number}": {"value": msgspec.to_builtins(problem.body)}
        for number, problem in enumerate(problems, start=1)
    }
    schema = refs[0] if len(refs) == 1 else {"anyOf": refs}
    return {
        "description": HTTPStatus(status).phrase,
        "content": {JSON: {"schema": schema, "examples": examples}},
    }


def _ref(record: type[Struct]) -> Json:
    return {"$ref": _REF.format(name=record.__name__)}
