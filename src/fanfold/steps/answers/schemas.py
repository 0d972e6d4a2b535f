"""JSON Schemas made fit for strict structured output."""

from __future__ import annotations

from typing import Any

from fanfold.steps.answers.reading import wrapped

# What strict servers take (OpenAI, "Structured outputs: supported schemas"). What they refuse is told in the
# description, and holds all the same: the reply is validated by the type itself.
_KEPT = (
    *("type", "description", "enum", "pattern", "format", "minimum", "maximum"),
    *("exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minItems", "maxItems"),
)
_FORMATS = {"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"}
_TOLD = {
    "minLength": "shortest length",
    "maxLength": "longest length",
    "uniqueItems": "without repetitions",
    "format": "format",
}


class Open(Exception):
    """The schema leaves something open that strict output wants closed."""


def strict(schema: dict[str, Any]) -> dict[str, Any] | None:
    """The schema with every object closed and every property required; None where that cannot be said.

    Mappings with free keys, tuples and "anything" cannot be. An object stays as it is, other roots are wrapped in
    one under "answer".
    """
    defs = schema.get("$defs", {})
    try:
        root = _closed(_inlined(schema, defs), defs)
        if root.get("type") != "object":
            root = wrapped(root)
        named = {name: _closed(node, defs) for name, node in defs.items()}
    except Open:
        return None
    return {**root, "$defs": named} if named else root


def is_object(schema: dict[str, Any]) -> bool:
    """Whether the schema's root is an object with named properties."""
    root = _inlined(schema, schema.get("$defs", {}))
    return root.get("type") == "object" and "properties" in root


def _inlined(node: dict[str, Any], defs: dict[str, Any]) -> dict[str, Any]:
    """One level of reference resolved."""
    if "$ref" not in node:
        return node
    named = defs.get(node["$ref"].rpartition("/")[2])
    if named is None:
        raise Open
    return {**named, **{key: value for key, value in node.items() if key not in {"$ref", "$defs"}}}


def _closed(node: dict[str, Any], defs: dict[str, Any]) -> dict[str, Any]:
    if "$ref" in node:  # strict servers refuse anything beside a reference; a default is no loss, a description is
        written_out = _inlined(node, defs)
        return _closed(written_out, defs) if "description" in node else {"$ref": node["$ref"]}
    if len(node.get("allOf", ())) == 1:
        rest = {key: value for key, value in node.items() if key != "allOf"}
        return _closed({**_inlined(node["allOf"][0], defs), **rest}, defs)
    if variants := node.get("anyOf") or node.get("oneOf"):
        return {**_told(node), "anyOf": [_closed(variant, defs) for variant in variants]}
    return _of_type(_with_enum(node), defs)


def _with_enum(node: dict[str, Any]) -> dict[str, Any]:
    return {**node, "enum": [node["const"]]} if "const" in node else node


def _of_type(node: dict[str, Any], defs: dict[str, Any]) -> dict[str, Any]:
    kept = {key: node[key] for key in _KEPT if key in node and _fits(key, node[key])} | _told(node)
    kind = node.get("type")
    if kind == "object":
        if "properties" not in node:
            raise Open
        properties = {name: _closed(child, defs) for name, child in node["properties"].items()}
        closing = {"properties": properties, "required": list(properties), "additionalProperties": False}
        return {**kept, **closing}
    if kind == "array":
        if not node.get("items") or "prefixItems" in node:
            raise Open
        return {**kept, "items": _closed(node["items"], defs)}
    if kind is None and "enum" not in node:
        raise Open
    return kept


def _fits(key: str, value: Any) -> bool:
    return key != "format" or value in _FORMATS


def _told(node: dict[str, Any]) -> dict[str, Any]:
    """The description, with what the schema may not say itself."""
    notes = [
        words if node[key] is True else f"{words}: {node[key]}"
        for key, words in _TOLD.items()
        if node.get(key) and not (key == "format" and _fits(key, node[key]))
    ]
    given = node.get("description", "")
    text = f"{given} ({', '.join(notes)})".strip() if notes else given
    return {"description": text} if text else {}
