#!/usr/bin/env python3
"""Compares our table of com.microsoft operators with ONNX Runtime's schemas.

usage: contrib_schemas.py

For each operator of dialects/ONNX/contrib_operators.py: names and order of
inputs and outputs, which of them may be left out, names, kinds and defaults of
attributes. Operators that ONNX Runtime registers in the default domain
(SimplifiedLayerNormalization) are looked up there. Names that only our table or
only the schema has are failures, whichever version of the runtime is installed.

Closes with the line `N passed, N failed`.
"""
import os
import sys

import onnx
from onnxruntime.capi import onnxruntime_pybind11_state as state

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "dialects", "ONNX"))
from contrib_operators import OPERATORS  # noqa: E402


def formals(parameters):
    """["name", "name?"], as our table writes them."""
    return [p.name + ("?" if "Optional" in str(p.option) else "")
            for p in parameters]


def default_of(attribute):
    """... if it must be given, None if it has no default, else the value."""
    if attribute.required:
        return ...
    data = attribute._default_value
    if not data:
        return None
    proto = onnx.AttributeProto()
    proto.ParseFromString(data)
    if proto.type == onnx.AttributeProto.UNDEFINED:
        return None
    value = onnx.helper.get_attribute_value(proto)
    return value.decode() if isinstance(value, bytes) else value


def same(x, y):
    if isinstance(x, float) and isinstance(y, (int, float)):
        return abs(x - y) <= 1e-6 * max(abs(x), 1e-9)
    return x is y or x == y


def compare(name, ours, schema):
    """What is different, a text each."""
    for what in ("inputs", "outputs"):
        mine, theirs = ours[what].split(), formals(getattr(schema, what))
        if mine != theirs:
            yield f"{what} are {mine}, ONNX Runtime's {theirs}"
    theirs = schema.attributes
    for attribute in sorted({*ours["attributes"], *theirs}):
        if attribute not in theirs:
            yield f"ONNX Runtime has no attribute '{attribute}'"
            continue
        if attribute not in ours["attributes"]:
            yield f"attribute '{attribute}' is missing"
            continue
        kind, default = ours["attributes"][attribute]
        found = str(theirs[attribute].type).rsplit(".", 1)[-1]
        if kind != found:
            yield f"attribute '{attribute}' is {kind}, ONNX Runtime's {found}"
        elif not same(default, default_of(theirs[attribute])):
            yield (f"attribute '{attribute}' has the default {default}, ONNX "
                   f"Runtime's {default_of(theirs[attribute])}")


def main():
    schemas = {}
    for schema in state.get_all_operator_schema():
        if schema.domain in ("", "com.microsoft"):
            old = schemas.get((schema.domain, schema.name))
            if old is None or old.since_version < schema.since_version:
                schemas[schema.domain, schema.name] = schema
    passed = failed = 0
    for name, ours in OPERATORS.items():
        schema = (schemas.get(("com.microsoft", name))
                  or schemas.get(("", name)))
        problems = (list(compare(name, ours, schema)) if schema
                    else ["ONNX Runtime does not know it"])
        for problem in problems:
            print(f"  FAILED {name}: {problem}")
        passed, failed = passed + (not problems), failed + bool(problems)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
