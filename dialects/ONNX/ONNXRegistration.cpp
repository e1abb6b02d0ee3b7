//===- ONNXRegistration.cpp - op lists of the dialects --------------------===//
//
// Apart from ONNXDialect.cpp because the op classes take long to compile.
//
//===----------------------------------------------------------------------===//

#include "dialects/ONNX/FileCache.h"
#include "dialects/ONNX/ONNXOps.h"

using namespace mlir;
using namespace moe::onnx;

void ONNXDialect::initialize() {
  files = std::make_shared<FileCache>();
  registerTypes();
  registerAttributes();
  addOperations<
#define GET_OP_LIST
#include "dialects/ONNX/ONNXExtraOps.cpp.inc"
      >();
  registerONNXDialectOperations(this);
}

void moe::onnx_ms::ONNXMsDialect::initialize() {
  addOperations<
#define GET_OP_LIST
#include "dialects/ONNX/ONNXMsOps.cpp.inc"
      >();
}

// What every operator shares goes to the functions of ONNXAssembly.cpp.
#define OP_CLASS(OP)                                                           \
  ParseResult OP::parse(OpAsmParser &parser, OperationState &state) {          \
    return parseSchemaOp(parser, state);                                       \
  }                                                                            \
  void OP::print(OpAsmPrinter &printer) { printSchemaOp(printer, *this); }     \
  void OP::getAsmResultNames(                                                  \
      llvm::function_ref<void(Value, StringRef)> set) {                        \
    nameResults(*this, set);                                                   \
  }
#include "dialects/ONNX/ONNXSignatures.inc"

#define MS_OP_CLASS(OP)                                                        \
  ParseResult moe::onnx_ms::OP::parse(OpAsmParser &parser,                     \
                                      OperationState &state) {                 \
    return parseSchemaOp(parser, state);                                       \
  }                                                                            \
  void moe::onnx_ms::OP::print(OpAsmPrinter &printer) {                        \
    printSchemaOp(printer, *this);                                             \
  }                                                                            \
  void moe::onnx_ms::OP::getAsmResultNames(                                    \
      llvm::function_ref<void(Value, StringRef)> set) {                        \
    nameResults(*this, set);                                                   \
  }
#undef OP_CLASS
#include "dialects/ONNX/ONNXSignatures.inc"

OpFoldResult ConstantOp::fold(FoldAdaptor) {
  if (ElementsAttr elements = getConstantElements(*this))
    return elements;
  // MLIR takes for granted that a constant folds to something. Strings and
  // sparse values stand for themselves; nothing is made of them.
  for (StringRef name : {"value_string", "value_strings", "sparse_value"})
    if (Attribute attr = (*this)->getAttr(name))
      return attr;
  return UnitAttr::get(getContext());
}

#define GET_OP_CLASSES
#include "dialects/ONNX/ONNXMsOps.cpp.inc"
