"""JSON bodies of the HTTP API: read as Toxiproxy's Go decoder reads them, written in its field order.

Go's rules that clients rely on: field names match whatever their case and the last of several wins, `null` leaves a
field as it is, unknown fields are ignored, integers are 64 bits and written without fraction or exponent, and what
follows the first JSON value is not looked at. Anything else is `bad request body: …` with status 400.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from labctl.links.spec import Address, AddressError, LinkState, ProxySpec
from labctl.links.toxics import TYPES, Attributes
from labctl.links.toxics.collection import Stream, ToxicSpec

if TYPE_CHECKING:
    from labctl.links.proxy import Proxy

Json = Any
Fields = Mapping[str, Json]

_INT64 = 2**63
_LONGEST_TTL_MS = 10**12


class ApiError(Exception):
    """An answer other than success, in Toxiproxy's form."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.message = message
        self.status = status

    @property
    def body(self) -> dict[str, Json]:
        """`{"error": …, "status": …}`."""
        return {"error": self.message, "status": self.status}


def bad_body(reason: str) -> ApiError:
    """Say what is wrong with a request's body."""
    return ApiError(f"bad request body: {reason}", 400)


# Reading


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"invalid literal {name}")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


def decode(body: bytes) -> Json:
    """Return the first JSON value of a body.

    Raises:
        ApiError: There is none (400).
    """
    text = body.decode("utf-8", "replace").lstrip(" \t\r\n")
    if not text:
        raise bad_body("EOF")
    try:
        return _DECODER.raw_decode(text)[0]
    except RecursionError:
        raise bad_body("exceeded max depth") from None
    except ValueError as error:  # json.JSONDecodeError, and integers of more digits than Python converts
        raise bad_body(str(error)) from None


def fields(value: Json, what: str) -> Fields:
    """Return an object's fields with lower-case names; without those that are null. A null object has none.

    Raises:
        ApiError: It is not an object (400).
    """
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise bad_body(f"json: cannot unmarshal {_kind(value)} into {what}")
    return {name.casefold(): field for name, field in value.items() if field is not None}


def _kind(value: Json) -> str:
    match value:
        case bool():
            return "bool"
        case int() | float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
        case _:
            return "object"


def _mismatch(value: Json, name: str, wanted: str) -> ApiError:
    return bad_body(f"json: cannot unmarshal {_kind(value)} into field {name} of type {wanted}")


def text_of(given: Fields, name: str, default: str = "") -> str:
    """Return a string field; surrogates without a partner, which no encoding can carry, become U+FFFD as in Go."""
    value = given.get(name, default)
    if not isinstance(value, str):
        raise _mismatch(value, name, "string")
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def bool_of(given: Fields, name: str, *, default: bool) -> bool:
    """Return a boolean field."""
    value = given.get(name, default)
    if not isinstance(value, bool):
        raise _mismatch(value, name, "bool")
    return value


def int_of(given: Fields, name: str, default: int | None) -> int | None:
    """Return a 64-bit integer field."""
    value = given.get(name, default)
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and -_INT64 <= value < _INT64):
        return value
    raise _mismatch(value, name, "int64")


def float_of(given: Fields, name: str, default: float) -> float:
    """Return a finite number."""
    value = given.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _mismatch(value, name, "float32")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise _mismatch(value, name, "float32")
    return number


def proxy_spec(given: Fields, *, where: str = "") -> ProxySpec:
    """Read a proxy to be created. `source` and `state` are labctl's extensions.

    Args:
        given: The fields.
        where: Added to complaints about missing fields, ` at proxy 2` for example.

    Raises:
        ApiError: A field is missing or of a wrong type (400).
    """
    name, upstream = text_of(given, "name"), text_of(given, "upstream")
    listen, enabled = text_of(given, "listen"), bool_of(given, "enabled", default=True)
    if not name:
        raise ApiError(f"missing required field: name{where}", 400)
    if not upstream:
        raise ApiError(f"missing required field: upstream{where}", 400)
    return ProxySpec(
        name,
        address(listen) if listen else Address("", 0),
        address(upstream),
        enabled=enabled,
        source=text_of(given, "source") or None,
    )


def address(text: str) -> Address:
    """Read `host:port`.

    Raises:
        ApiError: It is something else (400).
    """
    try:
        return Address.parse(text)
    except AddressError as error:
        raise bad_body(error.message) from None


def state_of(given: Fields) -> LinkState | None:
    """Read the extension field `state`.

    Raises:
        ApiError: It is none of the states (400).
    """
    if "state" not in given:
        return None
    text = text_of(given, "state")
    try:
        return LinkState(text)
    except ValueError:
        raise bad_body(f"state {text!r} is not one of {', '.join(LinkState)}") from None


def toxic_spec(given: Fields) -> ToxicSpec:
    """Read a toxic to be created. `ttl_ms` and `seed` are labctl's extensions.

    Raises:
        ApiError: A field is of a wrong type, the stream or the type is unknown (400).
    """
    kind = text_of(given, "type")
    known = TYPES.get(kind)
    name, toxicity = text_of(given, "name"), float_of(given, "toxicity", 1.0)
    attributes = fields(given.get("attributes"), "field attributes")
    stream_text = text_of(given, "stream", known.default_stream if known else "downstream")
    stream: Stream
    match stream_text.lower():
        case "upstream":
            stream = "upstream"
        case "downstream":
            stream = "downstream"
        case _:
            raise ApiError("stream was invalid, can be either upstream or downstream", 400)
    if known is None:
        raise ApiError("invalid toxic type", 400)
    ttl = int_of(given, "ttl_ms", None)
    if ttl is not None and not 0 < ttl <= _LONGEST_TTL_MS:
        raise bad_body(f"ttl_ms {ttl} is not within 1 and {_LONGEST_TTL_MS}")
    return ToxicSpec(
        name or f"{kind}_{stream_text}",
        stream,
        attributes_of(attributes, known()),
        toxicity,
        ttl,
        int_of(given, "seed", None),
    )


def attributes_of(given: Fields, old: Attributes) -> Attributes:
    """Return `old` with the attributes that are given.

    Raises:
        ApiError: One is of a wrong type or refused by the toxic (400).
    """
    changes: dict[str, Json] = {}
    for field in dataclasses.fields(old):  # type: ignore[arg-type] # every Attributes is a dataclass
        default = getattr(old, field.name)
        match default:
            case bool():
                changes[field.name] = bool_of(given, field.name, default=default)
            case int():
                changes[field.name] = int_of(given, field.name, default)
            case float():
                changes[field.name] = float_of(given, field.name, default)
            case _:
                changes[field.name] = text_of(given, field.name, default)
    try:
        return dataclasses.replace(old, **changes)  # type: ignore[type-var]
    except ValueError as error:
        raise bad_body(str(error)) from None


# Writing


def toxic_json(spec: ToxicSpec) -> dict[str, Json]:
    """Render a toxic; the extension fields only where they were stated."""
    toxicity = int(spec.toxicity) if spec.toxicity.is_integer() else spec.toxicity
    rendered: dict[str, Json] = {
        "attributes": dataclasses.asdict(spec.attributes),  # type: ignore[call-overload]
        "name": spec.name,
        "type": spec.attributes.type,
        "stream": spec.stream,
        "toxicity": toxicity,
    }
    if spec.ttl_ms is not None:
        rendered["ttl_ms"] = spec.ttl_ms
    if spec.seed is not None:
        rendered["seed"] = spec.seed
    if spec.held:
        rendered["held"] = True
    return rendered


def proxy_json(proxy: Proxy, *, stats: bool = True) -> dict[str, Json]:
    """Render a proxy with its toxics, and labctl's `source`, `state`, `held` and, unless told otherwise, `stats`."""
    spec = proxy.spec
    rendered: dict[str, Json] = {
        "name": spec.name,
        "listen": str(spec.listen),
        "upstream": str(spec.upstream),
        "enabled": proxy.state is not LinkState.REFUSED,
        "toxics": [toxic_json(toxic) for toxic in proxy.toxics.specs()] if proxy.toxics is not None else [],
        "source": spec.source,
        "state": proxy.state.value,
    }
    if proxy.held is not LinkState.OPEN:
        rendered["held"] = proxy.held.value
    if stats:
        rendered["stats"] = dataclasses.asdict(proxy.stats())
    return rendered
