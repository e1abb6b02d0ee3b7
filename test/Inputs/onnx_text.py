"""Writes an .onnx file from ONNX's text syntax.

usage: onnx_text.py INPUT -o OUTPUT

Lines of INPUT that begin with '#' or '//' are left out: lit's RUN lines and
FileCheck's patterns stand there.
"""
import sys

import onnx
import onnx.parser


def main(arguments):
    if len(arguments) != 3 or arguments[1] != "-o":
        print(__doc__.strip(), file=sys.stderr)
        return 1
    with open(arguments[0], encoding="utf-8") as file:
        # An empty line in place of each: messages keep their line numbers.
        text = "".join("\n" if line.lstrip().startswith(("#", "//")) else line
                       for line in file)
    onnx.save(onnx.parser.parse_model(text), arguments[2])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
