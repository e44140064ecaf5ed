"""What schemathesis has to know about EasyConnect beyond its OpenAPI file. schemathesis.toml names this module as its hooks.

`EASYCONNECT_AGENT` tells whether the agent is `up` or `away`, `EASYCONNECT_KEY` whether the key is `valid`, `missing` or
`invalid`, and `EASYCONNECT_SEED` is the seed of the run.
"""

import os
import random
import re
import uuid
from collections import deque
from typing import Any
from urllib.parse import unquote

import forms
import schemathesis
from schemathesis import Case, CheckContext, HookContext, Response
from schemathesis.core.failures import AcceptedNegativeData, Failure, ServerError
from schemathesis.core.parameters import ParameterLocation

AGENT_AWAY = {"up": False, "away": True}[os.environ["EASYCONNECT_AGENT"]]
REFUSAL = {"valid": None, "missing": "missing_key", "invalid": "invalid_key"}[os.environ["EASYCONNECT_KEY"]]
# Why a read may get 503 while nobody beside the PBX can answer it.
NOBODY_ANSWERS = ("agent_offline", "pbx_offline", "agent_no_answer", "unavailable")
# What answers have named lately. Nobody can make it up, and with it requests meet calls and commands that exist.
# By the names of parameters; in bodies `CallId` has a capital.
SEEN = {"callId": deque[str](maxlen=16), "commandId": deque[str](maxlen=16)}
# Hypothesis keeps the module's own generator for itself.
CHANCE = random.Random(os.environ["EASYCONNECT_SEED"])


@schemathesis.hook
def before_load_schema(context: HookContext, raw_schema: dict[str, Any]) -> None:
    forms.widen(raw_schema)


@schemathesis.hook
def after_call(context: HookContext, case: Case, response: Response) -> None:
    if response.status_code in (200, 202) and case.operation.path.startswith("/rcc/"):
        answer = response.json()
        SEEN["commandId"].extend(filter(None, [answer.get("commandId")]))
        calls = answer["calls"] if isinstance(answer.get("calls"), list) else [answer]
        SEEN["callId"].extend(filter(None, (call.get("CallId") for call in calls)))


@schemathesis.hook
def before_call(context: HookContext, case: Case, kwargs: dict[str, Any]) -> None:
    """Lets valid requests get beyond the first look at them. What is not valid stays: its refusal is what is tested."""
    if valid(case, ParameterLocation.PATH):
        name_what_exists(case.path_parameters)
    if valid(case, ParameterLocation.QUERY):
        # Only an answer can give one.
        case.query.pop("cursor", None)
        if case.operation.path == "/stats":
            # Each is a time, but they have to lie close together.
            case.query.pop("from", None)
            case.query.pop("to", None)
    if waits(case):
        # Both answers, 200 and 202, without much waiting, above all for the slowest operation.
        at_once = case.operation.path == "/rcc/connect" or case.query.get("order") == "newest"
        case.query["wait"] = 0 if at_once else CHANCE.choice((0, 1))
    if isinstance(case.body, dict) and valid(case, ParameterLocation.BODY, ParameterLocation.HEADER):
        name_what_exists(case.body)
        # Two keys of idempotency have to agree, and one that was used before belongs to another request.
        if key := case.headers.get("Idempotency-Key"):
            case.headers["Idempotency-Key"] = unique(key, 255)
            case.body.pop("requestId", None)
        elif key := case.body.get("requestId"):
            case.body["requestId"] = unique(str(key), 255)
        reconcile(case.operation.path, case.body)


def waits(case: Case) -> bool:
    """Whether an answer may take its time. What else is wrong may get lost on the way, such as a parameter without a value."""
    parameter = case.operation.query.get("wait")
    if parameter is None or not isinstance(case.query, dict):
        return False
    wait = str(case.query.get("wait", 0))
    return wait.isdecimal() and int(wait) <= parameter.definition["schema"]["maximum"]


def name_what_exists(values: dict[str, Any]) -> None:
    for name, value in values.items():
        # Some requests still name what does not exist.
        if value and (seen := SEEN.get(camel(name.rstrip("AB")))) and CHANCE.random() < 0.8:
            values[name] = CHANCE.choice(seen)


def camel(name: str) -> str:
    return name[:1].lower() + name[1:]


def unique(text: str, longest: int) -> str:
    tail = uuid.uuid4().hex
    return text[: longest - len(tail)] + tail


def reconcile(path: str, body: dict[str, Any]) -> None:
    """Changes fields that are right one by one but not together, or not at this time. The OpenAPI file has only words for it."""
    match path:
        case "/rcc/transfer" | "/rcc/mediatransfer" if body["CallIdA"].lower() == body["CallIdB"].lower():
            body["CallIdB"] = str(uuid.uuid4())
        case "/rcc/redirect" if body.get("honourForwarding"):
            body.pop("remoteControl", None)
        case "/rcc/connect" if digits(body["a"]) == digits(body["b"]):
            body["b"] = "43" if digits(body["a"]) == "42" else "42"
        case "/rcc/pickup" if forms.given(body, "CallId") == forms.given(body, "at"):
            body["at"] = None if forms.given(body, "CallId") else "42"
        case "/rcc/info" if not any(forms.given(body, name) for name in ("digits", "keypad", "display")):
            body["keypad"] = "*21#"
        case "/webhooks" | "/webhooks/{webhookId}":
            # A URL is more than a text, a name and a password come together, only a header that the webhook has already needs no
            # value, and not every text is the name of a header that may be set.
            body["url"] = f"https://example.invalid/{uuid.uuid4().hex}"
            if not (forms.given(body, "basicAuthUser") and forms.given(body, "basicAuthPassword")):
                body["basicAuthUser"] = body["basicAuthPassword"] = None
            headers = body.get("headers") or []
            if isinstance(headers, dict):
                body["headers"] = {f"x-header-{n}": value or "0" for n, value in enumerate(headers.values())}
            else:
                values = [header.get("value") or "0" for header in headers]
                body["headers"] = [{"name": f"x-header-{n}", "value": value} for n, value in enumerate(values)]
        case "/webhooks/{webhookId}/replay":
            # Only an answer can give a cursor, and an end lies behind the beginning.
            body["cursor"] = body["until"] = None
        case "/rcc/makecall" if forms.given(body, "callerNumber"):
            # Others need an allowance.
            body["callerNumber"] = "42"
        case "/apikeys" | "/apikeys/{apiKeyId}":
            if forms.given(body, "name"):
                # At most two keys have the same name.
                body["name"] = unique(str(body["name"]), 64)
            changes = path != "/apikeys"
            if changes:
                # Only what the key has can be taken away.
                body["scopes"] = None
            if changes or "admin" in (body.get("scopes") or ()):
                # With `admin` it could make itself a key without limits, and whether a key has it is known to the stack alone.
                body["extensions"] = body["allow"] = body["deny"] = body["callsPerHour"] = None
            if not any(forms.given(body, name) for name in body):
                body["disabled"] = False
    if forms.given(body, "expiresAt"):
        # Some centuries ahead, with the same leap years.
        body["expiresAt"] = "24" + body["expiresAt"][2:]


def digits(number: str | int) -> str:
    return re.sub(r"[^0-9*#+]", "", str(number))


@schemathesis.check
def key_decides(ctx: CheckContext, response: Response, case: Case) -> None:
    """Without a valid key nothing is told, not even what is wrong with the request. With one the key is never the reason."""
    if REFUSAL is None:
        assert response.status_code != 401, "the valid key was refused"
    elif case.method == case.operation.method.upper() and valid(case, ParameterLocation.PATH):
        assert (response.status_code, code(response)) == (401, REFUSAL), f"expected 401 {REFUSAL}"
    else:
        assert response.status_code in (400, 401, 404, 405), "a route that does not exist has answered"


@schemathesis.check
def answer_is_about_what_was_asked(ctx: CheckContext, response: Response, case: Case) -> None:
    if case.method == "GET" and response.status_code == 200:
        answer = {camel(name): value for name, value in response.json().items()} if case.path_parameters else {}
        for name, asked in case.path_parameters.items():
            found = answer.get(name)
            assert found is None or found == unquote(str(asked)).lower(), f"{name} {found} instead of {asked}"


@schemathesis.hook
def filter_failure(context: HookContext, failure: Failure, case: Case, response: Response) -> bool:
    """Drops what is right: a request in other words than those of the file, and the one 5xx, a read while nobody can answer it.

    An acting command has none whatever happens, because platforms repeat it, and a phone would ring again.
    """
    if isinstance(failure, AcceptedNegativeData):
        return not forms.is_valid(case, response)
    right = AGENT_AWAY and case.method == "GET" and response.status_code == 503 and code(response) in NOBODY_ANSWERS
    return not (isinstance(failure, ServerError) and right)


def code(response: Response) -> str | None:
    """The `code` of an error, or None."""
    try:
        return response.json().get("code")
    except (AttributeError, ValueError):
        return None


def valid(case: Case, *locations: ParameterLocation) -> bool:
    """Whether these parts of a request are what the OpenAPI file asks for."""
    return case.meta is None or not any(case.meta.is_negative_at(location) for location in locations)
