//===- ONNXAssembly.cpp - textual form and checks shared by all ops -------===//
//
// Operators have one textual form, driven by their signatures:
//
//   %y = onnx.Clip(%x, _, %max) {attributes}
//       : (tensor<4xf32>, tensor<f32>) -> tensor<4xf32>
//
// `_` stands for an operand that the op leaves out before one that it has; a
// result that is left out shows as `_` among the result types. Regions follow
// the types. The segment sizes are derived, so they are never printed.
//
//===----------------------------------------------------------------------===//

#include "dialects/ONNX/ONNXDialect.h"
#include "dialects/ONNX/Signatures.h"
#include "mlir/IR/Builders.h"
#include "llvm/ADT/StringMap.h"

using namespace mlir;
using namespace moe::onnx;

static constexpr StringLiteral kOperandSegments = "operandSegmentSizes";
static constexpr StringLiteral kResultSegments = "resultSegmentSizes";

/// Number of values of each formal. Derived from the segment attribute, or,
/// where one formal at most has no fixed count, from the total.
static SmallVector<int32_t> getSegments(Operation *op,
                                        ArrayRef<Formal> formals,
                                        StringRef attribute, unsigned total) {
  if (auto sizes = dyn_cast_or_null<DenseI32ArrayAttr>(
          op->getPropertiesAsAttribute()
              ? op->getInherentAttr(attribute).value_or(Attribute())
              : Attribute()))
    return llvm::to_vector(sizes.asArrayRef());
  SmallVector<int32_t> segments;
  int32_t single = llvm::count_if(formals, [](const Formal &f) {
    return f.kind == FormalKind::Single;
  });
  for (const Formal &formal : formals)
    segments.push_back(formal.kind == FormalKind::Single
                           ? 1
                           : static_cast<int32_t>(total) - single);
  return segments;
}

template <typename Range>
static Value getFormal(Operation *op, ArrayRef<Formal> formals,
                       StringRef attribute, Range values, unsigned formal) {
  if (formal >= formals.size())
    return {};
  SmallVector<int32_t> segments =
      getSegments(op, formals, attribute, values.size());
  unsigned begin = 0;
  for (unsigned i = 0; i < formal; ++i)
    begin += segments[i];
  if (segments[formal] <= 0 || begin >= values.size())
    return {};
  return values[begin];
}

Value moe::onnx::getFormalOperand(Operation *op, unsigned formal) {
  const OpSignature *signature =
      lookupSignature(op->getName().getStringRef());
  if (!signature)
    return {};
  return getFormal(op, signature->operands, kOperandSegments,
                   op->getOperands(), formal);
}

Value moe::onnx::getFormalResult(Operation *op, unsigned formal) {
  const OpSignature *signature =
      lookupSignature(op->getName().getStringRef());
  if (!signature)
    return {};
  return getFormal(op, signature->results, kResultSegments, op->getResults(),
                   formal);
}

//===----------------------------------------------------------------------===//
// Parser and printer
//===----------------------------------------------------------------------===//

/// Distributes `present` (one entry per place in the text) over the formals.
static FailureOr<SmallVector<int32_t>>
assignSegments(OpAsmParser &parser, llvm::SMLoc loc, StringRef what,
               ArrayRef<Formal> formals, ArrayRef<bool> present) {
  SmallVector<int32_t> segments(formals.size(), 0);
  unsigned place = 0;
  for (auto [i, formal] : llvm::enumerate(formals)) {
    if (formal.kind == FormalKind::Variadic) {
      for (; place < present.size(); ++place) {
        if (!present[place])
          return parser.emitError(loc)
                 << what << " '" << formal.name
                 << "' is variadic: none of its values can be left out";
        ++segments[i];
      }
      continue;
    }
    bool has = place < present.size() && present[place];
    ++place;
    if (!has && formal.kind == FormalKind::Single)
      return parser.emitError(loc)
             << what << " #" << i << " ('" << formal.name << "') is required";
    segments[i] = has;
  }
  if (place < present.size())
    return parser.emitError(loc) << "takes at most " << formals.size() << " "
                                 << what << "s, got " << present.size();
  return segments;
}

ParseResult moe::onnx::parseSchemaOp(OpAsmParser &parser,
                                     OperationState &state) {
  const OpSignature *signature = lookupSignature(state.name.getStringRef());
  llvm::SMLoc loc = parser.getCurrentLocation();
  if (!signature)
    return parser.emitError(loc) << "no schema for " << state.name;

  SmallVector<OpAsmParser::UnresolvedOperand> operands;
  SmallVector<bool> hasOperand;
  if (parser.parseCommaSeparatedList(OpAsmParser::Delimiter::Paren, [&] {
        if (succeeded(parser.parseOptionalKeyword("_"))) {
          hasOperand.push_back(false);
          return ParseResult(success());
        }
        hasOperand.push_back(true);
        return parser.parseOperand(operands.emplace_back());
      }))
    return failure();

  llvm::SMLoc attrLoc = parser.getCurrentLocation();
  if (parser.parseOptionalAttrDict(state.attributes) ||
      failed(state.name.verifyInherentAttrs(state.attributes, [&] {
        return parser.emitError(attrLoc) << "'" << state.name << "' op ";
      })))
    return failure();

  SmallVector<Type> operandTypes, resultTypes;
  SmallVector<bool> hasResult;
  llvm::SMLoc typeLoc;
  auto parseResultType = [&]() -> ParseResult {
    if (succeeded(parser.parseOptionalKeyword("_"))) {
      hasResult.push_back(false);
      return success();
    }
    hasResult.push_back(true);
    return parser.parseType(resultTypes.emplace_back());
  };
  auto parseOperandType = [&]() -> ParseResult {
    return parser.parseType(operandTypes.emplace_back());
  };
  if (parser.parseColon() || parser.getCurrentLocation(&typeLoc) ||
      parser.parseCommaSeparatedList(OpAsmParser::Delimiter::Paren,
                                     parseOperandType) ||
      parser.parseArrow())
    return failure();
  if (succeeded(parser.parseOptionalLParen())) {
    if (failed(parser.parseOptionalRParen()) &&
        (parser.parseCommaSeparatedList(parseResultType) ||
         parser.parseRParen()))
      return failure();
  } else if (parseResultType()) {
    return failure();
  }

  auto operandSegments =
      assignSegments(parser, loc, "operand", signature->operands, hasOperand);
  auto resultSegments = assignSegments(parser, typeLoc, "result",
                                       signature->results, hasResult);
  if (failed(operandSegments) || failed(resultSegments))
    return failure();
  Builder &builder = parser.getBuilder();
  if (signature->hasOperandSegments())
    state.addAttribute(kOperandSegments,
                       builder.getDenseI32ArrayAttr(*operandSegments));
  if (signature->hasResultSegments())
    state.addAttribute(kResultSegments,
                       builder.getDenseI32ArrayAttr(*resultSegments));
  state.addTypes(resultTypes);

  for (const AttrFormal &attr : signature->attributes)
    if (attr.kind == AttrKind::Graph) {
      Region *region = state.addRegion();
      if (parser.parseRegion(*region))
        return failure();
    }
  return parser.resolveOperands(operands, operandTypes, typeLoc,
                                state.operands);
}

/// Which places of the text are taken; trailing ones that are not are dropped.
static SmallVector<bool> getPlaces(ArrayRef<Formal> formals,
                                   ArrayRef<int32_t> segments) {
  SmallVector<bool> places;
  for (auto [formal, count] : llvm::zip(formals, segments)) {
    if (formal.kind == FormalKind::Variadic)
      places.append(count, true);
    else
      places.push_back(count == 1);
  }
  while (!places.empty() && !places.back())
    places.pop_back();
  return places;
}

void moe::onnx::printSchemaOp(OpAsmPrinter &printer, Operation *op) {
  const OpSignature *signature =
      lookupSignature(op->getName().getStringRef());
  SmallVector<bool> operands, results;
  operands = getPlaces(signature->operands,
                       getSegments(op, signature->operands, kOperandSegments,
                                   op->getNumOperands()));
  results = getPlaces(signature->results,
                      getSegments(op, signature->results, kResultSegments,
                                  op->getNumResults()));

  unsigned next = 0;
  printer << '(';
  llvm::interleaveComma(operands, printer, [&](bool present) {
    if (present)
      printer << op->getOperand(next++);
    else
      printer << '_';
  });
  printer << ')';
  printer.printOptionalAttrDict(op->getAttrs(),
                                {kOperandSegments, kResultSegments});
  printer << " : (";
  llvm::interleaveComma(op->getOperandTypes(), printer);
  printer << ") -> ";
  next = 0;
  bool list = results.size() != 1;
  if (list)
    printer << '(';
  llvm::interleaveComma(results, printer, [&](bool present) {
    if (present)
      printer << op->getResult(next++).getType();
    else
      printer << '_';
  });
  if (list)
    printer << ')';
  for (Region &region : op->getRegions()) {
    printer << ' ';
    printer.printRegion(region);
  }
}

void moe::onnx::nameResults(
    Operation *op, llvm::function_ref<void(Value, StringRef)> set) {
  auto outputs = op->getAttrOfType<ArrayAttr>(names::kOutputs);
  if (!outputs || outputs.size() != op->getNumResults())
    return;
  for (auto [result, name] : llvm::zip(op->getResults(), outputs))
    if (auto text = dyn_cast<StringAttr>(name); text && !text.empty())
      set(result, text);
}

//===----------------------------------------------------------------------===//
// Checks against the schema
//===----------------------------------------------------------------------===//

/// Element type of a tensor; null for sequences and optionals.
static Type getTensorElement(Value value) {
  if (auto tensor = dyn_cast<TensorType>(value.getType()))
    return tensor.getElementType();
  return {};
}

static bool isAllowed(Value value, uint64_t mask) {
  if (isa<SeqType>(value.getType()))
    return mask >> Formal::kSequenceBit & 1;
  if (isa<OptionalType>(value.getType()))
    return mask >> Formal::kOptionalBit & 1;
  int dataType = getDataType(getTensorElement(value));
  return dataType != 0 && (mask >> dataType & 1);
}

static std::string listTypes(uint64_t mask, MLIRContext *context) {
  std::string text;
  for (int dataType = 1; dataType < 62; ++dataType)
    if (Type type = mask >> dataType & 1 ? getElementType(dataType, context)
                                         : Type())
      text += (text.empty() ? "" : ", ") + getDataTypeName(type).str();
  return text;
}

template <typename Range>
static LogicalResult
verifyFormals(Operation *op, StringRef what, ArrayRef<Formal> formals,
              StringRef attribute, Range values,
              llvm::StringMap<std::pair<Type, std::string>> &bound) {
  SmallVector<int32_t> segments =
      getSegments(op, formals, attribute, values.size());
  unsigned next = 0;
  for (auto [formal, count] : llvm::zip(formals, segments)) {
    for (int32_t i = 0; i < count && next < values.size(); ++i, ++next) {
      Value value = values[next];
      if (!isAllowed(value, formal.elementTypes))
        return op->emitOpError()
               << what << " '" << formal.name << "' has type "
               << value.getType() << "; accepted element types: "
               << listTypes(formal.elementTypes, op->getContext());
      Type element = getTensorElement(value);
      if (!element || !formal.homogeneous ||
          formal.typeParameter.contains('('))
        continue;
      std::string here = (what + " '" + formal.name + "'").str();
      auto [it, fresh] =
          bound.try_emplace(formal.typeParameter, element, here);
      if (!fresh && it->second.first != element)
        return op->emitOpError()
               << here << " has element type " << element << ", "
               << it->second.second << " has " << it->second.first
               << "; they must be the same";
    }
  }
  return success();
}

LogicalResult moe::onnx::verifySchemaOp(Operation *op) {
  const OpSignature *signature =
      lookupSignature(op->getName().getStringRef());
  if (!signature)
    return op->emitOpError("has no schema");
  int inputs = op->getNumOperands();
  if (inputs > signature->maxInputs)
    return op->emitOpError("has ")
           << inputs << " operands, at most " << signature->maxInputs
           << " are accepted";
  llvm::StringMap<std::pair<Type, std::string>> bound;
  if (failed(verifyFormals(op, "operand", signature->operands,
                           kOperandSegments, op->getOperands(), bound)) ||
      failed(verifyFormals(op, "result", signature->results, kResultSegments,
                           op->getResults(), bound)))
    return failure();
  return verifyOperatorRules(op);
}
