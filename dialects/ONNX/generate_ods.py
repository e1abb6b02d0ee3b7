#!/usr/bin/env python3
"""Writes the ODS of the `onnx` dialect and the table of its signatures.

The operators of domain ai.onnx are taken from the schemas of the installed
`onnx` package at its newest opset, so the dialect cannot drift from the
specification. Those of com.microsoft are a table of ours. What comes out:

  ONNXOps.td              one op per operator of ai.onnx
  ONNXMsOps.td            one op per operator of com.microsoft
  ONNXSignatures.inc      what the importer, exporter and the generic verifier
                          need to know of each operator's operands, results
                          and attributes

Usage: generate_ods.py OUTPUT_FOLDER
"""

import os
import re
import sys

import onnx
from onnx import defs

import contrib_operators

ATTR = defs.OpSchema.AttrType
OPTION = defs.OpSchema.FormalParameterOption

# Attribute kinds as the ODS class of the attribute.
ATTR_CLASS = {
    ATTR.INT: "I64Attr",
    ATTR.INTS: "DenseI64ArrayAttr",
    ATTR.FLOAT: "F32Attr",
    ATTR.FLOATS: "DenseF32ArrayAttr",
    ATTR.STRING: "StrAttr",
    ATTR.STRINGS: "StrArrayAttr",
    ATTR.TENSOR: "ElementsAttr",
    ATTR.TYPE_PROTO: "TypeAttr",
}

# Operators whose result is not a function of their operands.
RANDOM = {
    "Bernoulli",
    "Dropout",
    "Multinomial",
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
}

# Words that cannot name an operand or attribute in TableGen.
KEYWORDS = set(
    "bit bits class code dag def defset field foreach if in include int let "
    "list multiclass string then else true false op result".split()
)

# An accessor of this name would hide one of MLIR's own; such an attribute
# stays discardable.
HIDING = {"type"}

DTYPE = {
    name.lower(): number for name, number in onnx.TensorProto.DataType.items()
}
SEQUENCE_BIT, OPTIONAL_BIT = 62, 63
MANY = 2**31 - 1


def latest_schemas():
    newest = {}
    for schema in defs.get_all_schemas_with_history():
        if schema.domain != "":
            continue
        held = newest.get(schema.name)
        if held is None or schema.since_version > held.since_version:
            newest[schema.name] = schema
    return [s for _, s in sorted(newest.items()) if not s.deprecated]


def type_mask(schema, type_str):
    """Allowed element types: bit i for ONNX element type i."""
    allowed = [type_str]
    for constraint in schema.type_constraints:
        if constraint.type_param_str == type_str:
            allowed = constraint.allowed_type_strs
    mask = 0
    for text in allowed:
        match = re.fullmatch(r"(?:sparse_)?tensor\((\w+)\)", text)
        if match:
            mask |= 1 << DTYPE[match.group(1)]
        elif text.startswith("optional"):
            mask |= 1 << OPTIONAL_BIT
        else:
            mask |= 1 << SEQUENCE_BIT
    return mask


def ods_name(name, taken):
    name = re.sub(r"\W", "_", name)
    while name in KEYWORDS or name in taken:
        name += "_"
    taken.add(name)
    return name


def attribute(attr):
    ods = ATTR_CLASS[attr.type]
    default = attr.default_value
    if attr.required:
        return ods
    if default.type == ATTR.INT.value:
        return f'DefaultValuedOptionalAttr<{ods}, "{default.i}">'
    if default.type == ATTR.FLOAT.value:
        return f'DefaultValuedOptionalAttr<{ods}, "{default.f!r}f">'
    if default.type == ATTR.STRING.value:
        text = default.s.decode()
        return f'DefaultValuedOptionalAttr<{ods}, "\\"{text}\\"">'
    return f"OptionalAttr<{ods}>"


def row(*fields):
    return "{" + ", ".join(str(f) for f in fields) + "}"


def emit(dialect, name, text, doc, attributes, operands, results, extra=()):
    """ODS of one op. attributes: (name, ODS class); operands and results:
    (name, option); extra: traits and further lines of the body."""
    taken = {attr for attr, _ in attributes}

    def formals(params):
        wrap = {"Single": "{}", "Optional": "Optional<{}>",
                "Variadic": "Variadic<{}>"}
        return [
            wrap[option].format("ONNX_Value") + ":$" + ods_name(param, taken)
            for param, option in params
        ]

    arguments = formals(operands) + [f"{ods}:${n}" for n, ods in attributes]
    outputs = formals(results)
    traits, body = [], []
    if sum(option != "Single" for _, option in operands) > 1:
        traits.append("AttrSizedOperandSegments")
    if sum(option != "Single" for _, option in results) > 1:
        traits.append("AttrSizedResultSegments")
    for item in extra:
        (body if item.startswith("let ") else traits).append(item)
    return "\n".join(
        [
            f'def {dialect}_{name}Op : {dialect}_Op<"{name}", '
            f'[{", ".join(traits)}]> {{',
            f'  let summary = "{text}";',
            f"  let description = [{{\n{doc}\n  }}];",
            f'  let arguments = (ins {", ".join(arguments)});',
            f'  let results = (outs {", ".join(outputs)});',
            *("  " + line for line in body),
            "}",
        ]
    )


def option_name(param):
    return {OPTION.Variadic: "Variadic", OPTION.Optional: "Optional"}.get(
        param.option, "Single"
    )


def emit_schema(schema):
    """The op and the signature of an operator of ai.onnx."""
    attributes = sorted(schema.attributes.values(), key=lambda a: a.name)
    regions = [a.name for a in attributes if a.type == ATTR.GRAPH]
    extra = []
    if regions:
        extra.append("RecursiveMemoryEffects")
        listed = ", ".join(
            f"SizedRegion<1>:${ods_name(r, set())}" for r in regions
        )
        extra.append(f"let regions = (region {listed});")
    elif schema.name not in RANDOM:
        extra.append("Pure")
    if schema.name == "Constant":
        extra += ["ConstantLike", "let hasFolder = 1;"]
    ods = emit(
        "ONNX",
        schema.name,
        f"ONNX {schema.name}, in this form since opset {schema.since_version}",
        (schema.doc or "").replace("}]", "} ]").strip(),
        [
            (a.name, attribute(a))
            for a in attributes
            if a.type in ATTR_CLASS and a.name not in HIDING
        ],
        [(p.name, option_name(p)) for p in schema.inputs],
        [(p.name, option_name(p)) for p in schema.outputs],
        extra,
    )

    def formals(params):
        return ", ".join(
            row(
                f'"{p.name}"',
                f"FormalKind::{option_name(p)}",
                f'"{p.type_str}"',
                f"{type_mask(schema, p.type_str):#x}ull",
                str(p.is_homogeneous).lower(),
            )
            for p in params
        )

    kinds = ", ".join(
        row(
            f'"{a.name}"',
            "AttrKind::" + a.type.name.title().replace("_", ""),
            str(a.required).lower(),
        )
        for a in attributes
    )
    least, most = schema.min_input, min(schema.max_input, MANY)
    least_out, most_out = schema.min_output, min(schema.max_output, MANY)
    signature = (
        f'SIGNATURE("onnx.{schema.name}", "", {schema.since_version}, '
        f"{least}, {most}, {least_out}, {most_out},\n"
        f"  FORMALS({formals(schema.inputs)}),\n"
        f"  FORMALS({formals(schema.outputs)}),\n"
        f"  ATTRS({kinds}))"
    )
    return ods, signature


def emit_contrib(name, operator):
    """The op and the signature of an operator of com.microsoft."""

    def formals(text):
        return [
            (f.rstrip("?"), "Optional" if f.endswith("?") else "Single")
            for f in text.split()
        ]

    def ods_class(kind, default):
        base = ATTR_CLASS[getattr(ATTR, kind)]
        if default is ...:
            return base
        if default is None:
            return f"OptionalAttr<{base}>"
        if kind == "STRING":
            default = f'\\"{default}\\"'
        elif kind == "FLOAT":
            default = f"{default!r}f"
        return f'DefaultValuedOptionalAttr<{base}, "{default}">'

    inputs, outputs = formals(operator["inputs"]), formals(operator["outputs"])
    attributes = sorted(operator["attributes"].items())
    ods = emit(
        "ONNXMs",
        name,
        operator["summary"],
        f"com.microsoft {name}, opset 1.",
        [(n, ods_class(*spec)) for n, spec in attributes],
        inputs,
        outputs,
        ["Pure"],
    )

    def rows(params):
        out = []
        for param, option in params:
            types = operator["types"].get(param, contrib_operators.FLOAT)
            mask = 0
            for t in types.split():
                mask |= 1 << DTYPE[t]
            group = "T" if param not in operator["types"] else param
            out.append(
                row(f'"{param}"', f"FormalKind::{option}", f'"{group}"',
                    f"{mask:#x}ull", "true")
            )
        return ", ".join(out)

    def required(params):
        return max(
            (i + 1 for i, (_, o) in enumerate(params) if o == "Single"),
            default=0,
        )

    kinds = ", ".join(
        row(f'"{n}"', f"AttrKind::{kind.title()}",
            "true" if default is ... else "false")
        for n, (kind, default) in attributes
    )
    signature = (
        f'SIGNATURE("onnx_ms.{name}", "com.microsoft", 1, '
        f"{required(inputs)}, {len(inputs)}, "
        f"{required(outputs)}, {len(outputs)},\n"
        f"  FORMALS({rows(inputs)}),\n  FORMALS({rows(outputs)}),\n"
        f"  ATTRS({kinds}))"
    )
    return ods, signature


def write_ops(path, ops):
    with open(path, "w") as f:
        f.write("// Generated by generate_ods.py.\n")
        f.write('include "dialects/ONNX/ONNXBase.td"\n\n')
        f.write("\n\n".join(ops) + "\n")


def main():
    out = sys.argv[1]
    schemas = latest_schemas()
    ops, signatures = zip(*(emit_schema(s) for s in schemas))
    contrib_ops, contrib_signatures = zip(
        *(emit_contrib(n, o) for n, o in contrib_operators.OPERATORS.items())
    )
    write_ops(os.path.join(out, "ONNXOps.td"), ops)
    write_ops(os.path.join(out, "ONNXMsOps.td"), contrib_ops)
    with open(os.path.join(out, "ONNXSignatures.inc"), "w") as f:
        f.write("// Generated by generate_ods.py.\n")
        f.write("#ifdef SIGNATURE\n")
        f.write("\n".join(signatures + contrib_signatures))
        f.write("\n#endif\n#ifdef OP_CLASS\n")
        f.writelines(f"OP_CLASS({s.name}Op)\n" for s in schemas)
        f.write("#endif\n#ifdef MS_OP_CLASS\n")
        f.writelines(
            f"MS_OP_CLASS({name}Op)\n" for name in contrib_operators.OPERATORS
        )
        f.write("#endif\n")
    with open(os.path.join(out, "ONNXNewestOpset.h.inc"), "w") as f:
        f.write("// Generated by generate_ods.py.\n")
        f.write(f"constexpr int kNewestOpset = {defs.onnx_opset_version()};\n")


if __name__ == "__main__":
    main()
