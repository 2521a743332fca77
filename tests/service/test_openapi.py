"""The OpenAPI document says what is served: nothing more, nothing less, and well-formed."""

import re
from typing import Any

import msgspec
import pytest

from overair.doors.thingspace.app import ROUTES, openapi_document

from .harness import ACCOUNT, DEVICES, IMEI, open_door, vector

DOCUMENT: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(openapi_document()))


def operations() -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (method, path, operation)
        for path, methods in DOCUMENT["paths"].items()
        for method, operation in methods.items()
    ]


def walk(node: object) -> list[dict[str, Any]]:
    """Return every object of the document."""
    if isinstance(node, list):
        return [found for entry in node for found in walk(entry)]
    if not isinstance(node, dict):
        return []
    return [node, *(found for entry in node.values() for found in walk(entry))]


async def test_it_is_served_to_anyone() -> None:
    door = await open_door()
    async with door.client:
        answer = await door.client.get("/openapi.json")
    assert (answer.status_code, answer.json()) == (200, DOCUMENT)


def test_it_has_every_route_and_no_other() -> None:
    documented = {(method.upper(), path) for method, path, _ in operations()}
    assert documented == {(route.method, route.path) for route in ROUTES}
    assert DOCUMENT["openapi"].startswith("3.1.")


def test_every_reference_leads_somewhere() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    references = {node["$ref"] for node in walk(DOCUMENT) if "$ref" in node}
    assert references
    assert {reference.rpartition("/")[2] for reference in references} <= set(schemas)


def test_operations_have_one_name_each_and_declare_the_parameters_of_their_path() -> None:
    names = [operation["operationId"] for _, _, operation in operations()]
    assert len(set(names)) == len(names)
    for _, path, operation in operations():
        declared = [p["name"] for p in operation.get("parameters", []) if p["in"] == "path"]
        assert declared == re.findall(r"{(\w+)}", path)
        assert all(p["required"] for p in operation.get("parameters", []) if p["in"] == "path")


def test_every_call_on_an_account_needs_both_tokens() -> None:
    schemes = DOCUMENT["components"]["securitySchemes"]
    assert set(schemes) == {"basic", "bearer", "session"}
    for _, path, operation in operations():
        needed = {name for scheme in operation["security"] for name in scheme}
        assert needed <= set(schemes)
        if "{acc}" in path:
            assert needed == {"bearer", "session"}
            assert {"400", "401", "500"} <= set(operation["responses"])


def test_every_documented_error_is_an_example_of_its_schema() -> None:
    messages = {
        example["value"].get("errorMessage")
        for _, path, operation in operations()
        if path == "/api/fota/v3/devices/{acc}"
        for example in operation["responses"]["400"]["content"]["application/json"]["examples"].values()
    }
    assert {"Inactive account", "Device list is empty", "Invalid protocol", "Input binding error"} <= messages
    for _, _, operation in operations():
        for status, response in operation["responses"].items():
            if status != "200":
                (content,) = response["content"].values()
                fields = {tuple(sorted(one["value"])) for one in content["examples"].values()}
                assert fields <= {
                    ("errorCode", "errorMessage"),
                    ("fault",),
                    ("error", "error_description"),
                    ("error", "error_description", "fault"),
                }


@pytest.mark.parametrize(
    ("method", "path", "sample"),
    [
        ("get", "/api/fota/v3/devices/{acc}", "v3-get-devices.response"),
        ("post", "/api/fota/v3/devices/{acc}", "v3-post-devices.response"),
        ("put", "/api/fota/v3/firmware/{acc}/devices", "v3-put-firmware-devices.response"),
        ("post", "/api/ts/v1/oauth2/token", "auth-post-token.response"),
        ("post", "/api/m2m/v1/session/login", "auth-post-session-login.response"),
    ],
)
def test_the_answer_of_a_call_has_the_fields_of_its_sample(method: str, path: str, sample: str) -> None:
    success = DOCUMENT["paths"][path][method]["responses"]["200"]
    name = success["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
    schema = DOCUMENT["components"]["schemas"][name]
    assert set(vector(sample)) <= set(schema["properties"])
    assert set(schema["required"]) <= set(vector(sample))


async def test_statuses_that_calls_answer_are_documented() -> None:
    door = await open_door()
    documented = DOCUMENT["paths"]["/api/fota/v3/devices/{acc}"]["post"]["responses"]
    async with door.client:
        headers = await door.signed_in()
        asked = {"deviceList": [IMEI]}
        answers = [
            await door.client.post(DEVICES, json=asked, headers=headers),
            await door.client.post(DEVICES, json=asked),
            await door.client.post(DEVICES, json={}, headers=headers),
            await door.client.post(DEVICES, content=b" " * (2 << 20), headers=headers),
            await door.client.post(DEVICES.replace(ACCOUNT, "x"), json=asked, headers=headers),
        ]
    assert [answer.status_code for answer in answers] == [200, 401, 400, 413, 400]
    assert {str(answer.status_code) for answer in answers} <= set(documented)
