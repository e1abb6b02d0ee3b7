//===- RtDialect.cpp - what compiled code gets from the runtime -----------===//
//
// Verifiers, folds, and reading of constants' bytes. Dense attributes are read
// in place; only splats and booleans, whose storage differs from what a model
// reads, go through a buffer of bounded size.
//
//===----------------------------------------------------------------------===//
#include "dialects/Rt/RtDialect.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/IR/AsmState.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "mlir/IR/Matchers.h"
#include "mlir/Interfaces/CallInterfaces.h"
#include "mlir/Interfaces/FunctionInterfaces.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/TypeSwitch.h"

#include "dialects/Rt/RtDialect.cpp.inc"
#include "dialects/Rt/RtEnums.cpp.inc"
#include "dialects/Rt/RtInterfaces.cpp.inc"

#define GET_ATTRDEF_CLASSES
#include "dialects/Rt/RtAttrs.cpp.inc"

#define GET_OP_CLASSES
#include "dialects/Rt/RtOps.cpp.inc"

using namespace mlir;
using namespace moe::rt;

void RtDialect::initialize() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "dialects/Rt/RtAttrs.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "dialects/Rt/RtOps.cpp.inc"
      >();
}

//===----------------------------------------------------------------------===//
// Attributes of functions
//===----------------------------------------------------------------------===//

/// Checks an attribute of an argument or result of type `type`.
static LogicalResult verifyValueAttr(Operation *op, NamedAttribute attribute,
                                     Type type) {
  StringRef name = attribute.getName();
  if (name == nameAttr) {
    if (!isa<StringAttr>(attribute.getValue()))
      return op->emitOpError() << "'" << name << "' must be a string";
    return success();
  }
  if (name == dtypeAttr) {
    auto number = dyn_cast<IntegerAttr>(attribute.getValue());
    if (!number || !number.getType().isInteger(32))
      return op->emitOpError() << "'" << name << "' must be an i32";
    return success();
  }
  if (name == dimsAttr) {
    auto dims = dyn_cast<ArrayAttr>(attribute.getValue());
    if (!dims || !llvm::all_of(dims, llvm::IsaPred<StringAttr>))
      return op->emitOpError()
             << "'" << name << "' must be an array of strings";
    if (auto shaped = dyn_cast<ShapedType>(type);
        shaped && shaped.hasRank() &&
        shaped.getRank() != static_cast<int64_t>(dims.size()))
      return op->emitOpError()
             << "'" << name << "' has " << dims.size() << " entries, but "
             << type << " has " << shaped.getRank() << " dimensions";
    return success();
  }
  return op->emitOpError() << "unknown attribute '" << name
                           << "'; known are rt.name, rt.dtype and rt.dims";
}

LogicalResult RtDialect::verifyRegionArgAttribute(Operation *op, unsigned,
                                                  unsigned index,
                                                  NamedAttribute attribute) {
  auto function = dyn_cast<FunctionOpInterface>(op);
  if (!function || function.isExternal() || index >= function.getNumArguments())
    return success();
  return verifyValueAttr(op, attribute, function.getArgumentTypes()[index]);
}

LogicalResult RtDialect::verifyRegionResultAttribute(Operation *op, unsigned,
                                                     unsigned index,
                                                     NamedAttribute attribute) {
  auto function = dyn_cast<FunctionOpInterface>(op);
  if (!function || index >= function.getNumResults())
    return success();
  return verifyValueAttr(op, attribute, function.getResultTypes()[index]);
}

LogicalResult RtDialect::verifyOperationAttribute(Operation *op,
                                                  NamedAttribute attribute) {
  if (attribute.getName() == argumentsAttr) {
    auto values = dyn_cast<ArrayAttr>(attribute.getValue());
    if (!isa<CallOpInterface>(op) || !values ||
        !llvm::all_of(values, llvm::IsaPred<ElementsAttr>))
      return op->emitOpError() << "'" << argumentsAttr
                               << "' must be an array of elements on a call";
    return success();
  }
  if (attribute.getName() != profileOpsAttr)
    return success();
  auto table = dyn_cast<ArrayAttr>(attribute.getValue());
  auto isEntry = [](Attribute entry) {
    auto fields = dyn_cast<DictionaryAttr>(entry);
    return fields && fields.getAs<StringAttr>("name") &&
           fields.getAs<StringAttr>("kind");
  };
  if (!table || !llvm::all_of(table, isEntry))
    return op->emitOpError() << "'" << profileOpsAttr
                             << "' must be an array of dictionaries with the "
                                "strings 'name' and 'kind'";
  return success();
}

//===----------------------------------------------------------------------===//
// Operations
//===----------------------------------------------------------------------===//

/// A constant or weight must be a plain row-major buffer with sized elements.
static LogicalResult verifyBuffer(Operation *op, MemRefType type) {
  if (!type.getLayout().isIdentity())
    return op->emitOpError() << "must have the identity layout, not " << type;
  if (!getElementBytes(type.getElementType()))
    return op->emitOpError() << "element type " << type.getElementType()
                             << " has no size in memory; expected integers or "
                                "floats of 1 to 64 bits";
  return success();
}

LogicalResult ConstantOp::verify() {
  auto type = cast<MemRefType>(getType());
  if (failed(verifyBuffer(*this, type)))
    return failure();
  ShapedType value = getValue().getShapedType();
  // Buffers have no signs; the bytes are the same.
  Type element = value.getElementType();
  if (auto integer = dyn_cast<IntegerType>(element))
    element = IntegerType::get(getContext(), integer.getWidth());
  if (element != type.getElementType() ||
      value.getShape() != type.getShape())
    return emitOpError() << "value has type " << value
                         << ", which does not match " << type;
  uint64_t expected =
      getElementBytes(type.getElementType()) * type.getNumElements();
  uint64_t actual = ::getByteSize(getValue());
  if (actual != expected)
    return emitOpError() << "value has " << actual << " bytes, but " << type
                         << " takes " << expected;
  return success();
}

LogicalResult WeightOp::verify() {
  return verifyBuffer(*this, cast<MemRefType>(getType()));
}

LogicalResult WeightAtOp::verify() {
  return verifyBuffer(*this, cast<MemRefType>(getType()));
}

/// Checks end the run, which neither another thread nor a loop body that is
/// reordered may do.
static LogicalResult verifyOutsideParallel(Operation *op) {
  for (Operation *parent = op->getParentOp(); parent;
       parent = parent->getParentOp()) {
    if (isa<ParallelForOp>(parent) || isa<linalg::LinalgOp>(parent))
      return op->emitOpError() << "must not be inside '" << parent->getName()
                               << "'; move it before";
    if (isa<FunctionOpInterface>(parent))
      break;
  }
  return success();
}

LogicalResult CheckOp::verify() {
  if (getMessage().contains('\0'))
    return emitOpError("message must not contain null characters");
  if (getCode() < 1 || getCode() > 7)
    return emitOpError() << "code is " << getCode()
                         << "; expected a moe_code from 1 to 7";
  return verifyOutsideParallel(*this);
}

LogicalResult CheckOp::canonicalize(CheckOp op, PatternRewriter &rewriter) {
  if (!matchPattern(op.getCondition(), m_One()))
    return failure();
  rewriter.eraseOp(op);
  return success();
}

LogicalResult StatusOp::verify() { return verifyOutsideParallel(*this); }

LogicalResult ParallelForOp::verify() {
  Block &entry = getBody().front();
  if (entry.getNumArguments() != 2 ||
      !llvm::all_of(entry.getArgumentTypes(),
                    [](Type type) { return type.isInteger(64); }))
    return emitOpError("body must have two i64 arguments: begin and end");
  if ((*this)->getParentOfType<ParallelForOp>())
    return emitOpError("must not be nested in another parallel loop");
  return success();
}

//===----------------------------------------------------------------------===//
// Bytes of constants
//===----------------------------------------------------------------------===//

uint64_t moe::rt::getElementBytes(Type type) {
  if (auto complex = dyn_cast<ComplexType>(type))
    return 2 * getElementBytes(complex.getElementType());
  if (type.isIndex())
    return 8;
  if (!type.isIntOrFloat() || type.getIntOrFloatBitWidth() > 64 ||
      type.getIntOrFloatBitWidth() == 0)
    return 0;
  return (type.getIntOrFloatBitWidth() + 7) / 8;
}

uint64_t moe::rt::getByteSize(ElementsAttr value) {
  if (auto bytes = dyn_cast<BytesAttrInterface>(value))
    return bytes.getByteSize();
  if (auto resource = dyn_cast<DenseResourceElementsAttr>(value)) {
    AsmResourceBlob *blob = resource.getRawHandle().getBlob();
    return blob ? blob->getData().size() : 0;
  }
  return getElementBytes(value.getElementType()) * value.getNumElements();
}

LogicalResult
moe::rt::forEachChunk(ElementsAttr value,
                      function_ref<LogicalResult(ArrayRef<char>)> consume,
                      function_ref<InFlightDiagnostic()> emitError) {
  if (auto bytes = dyn_cast<BytesAttrInterface>(value))
    return bytes.forEachChunk(consume, emitError);

  if (auto resource = dyn_cast<DenseResourceElementsAttr>(value)) {
    AsmResourceBlob *blob = resource.getRawHandle().getBlob();
    if (!blob)
      return emitError() << "resource '" << resource.getRawHandle().getKey()
                         << "' has no data";
    return consume(blob->getData());
  }

  auto dense = dyn_cast<DenseElementsAttr>(value);
  if (!dense)
    return emitError() << "the bytes of "
                       << value.getAbstractAttribute().getName()
                       << " cannot be read; expected dense elements, a dense "
                          "resource or a range of a file";

  constexpr size_t chunkBytes = 1 << 16;
  SmallVector<char, 0> chunk;
  if (dense.getElementType().isInteger(1)) {
    chunk.reserve(chunkBytes);
    for (bool bit : dense.getValues<bool>()) {
      chunk.push_back(bit);
      if (chunk.size() == chunkBytes) {
        if (failed(consume(chunk)))
          return failure();
        chunk.clear();
      }
    }
    return chunk.empty() ? success() : consume(chunk);
  }

  ArrayRef<char> raw = dense.getRawData();
  uint64_t total = getByteSize(value);
  if (!dense.isSplat() || total <= raw.size())
    return total ? consume(raw.take_front(total)) : success();

  size_t element = getElementBytes(dense.getElementType());
  while (chunk.size() + element <= chunkBytes)
    chunk.append(raw.begin(), raw.begin() + element);
  while (total) {
    size_t size = std::min<uint64_t>(total, chunk.size());
    if (failed(consume(ArrayRef<char>(chunk).take_front(size))))
      return failure();
    total -= size;
  }
  return success();
}
