//===- Signatures.h - what the schemas say of an operator -------*- C++ -*-===//
//
// The part of ONNX's operator schemas that generic code needs: which operands
// and results are optional or variadic, which element types they take, which
// attributes there are. Generated from the onnx package; free of libonnx.
//
//===----------------------------------------------------------------------===//
#ifndef MOE_DIALECTS_ONNX_SIGNATURES_H
#define MOE_DIALECTS_ONNX_SIGNATURES_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include <cstdint>

namespace moe::onnx {

enum class FormalKind : uint8_t { Single, Optional, Variadic };

enum class AttrKind : uint8_t {
  Float,
  Int,
  String,
  Tensor,
  Graph,
  Floats,
  Ints,
  Strings,
  SparseTensor,
  TypeProto
};

/// An operand or result.
struct Formal {
  llvm::StringRef name;
  FormalKind kind;
  /// Formals of one type parameter have one element type.
  llvm::StringRef typeParameter;
  /// Bit i: element type i of TensorProto.DataType is allowed.
  uint64_t elementTypes;
  /// Whether the values of a variadic formal have one type.
  bool homogeneous;

  static constexpr unsigned kSequenceBit = 62;
  static constexpr unsigned kOptionalBit = 63;
};

struct AttrFormal {
  llvm::StringRef name;
  AttrKind kind;
  bool required;
};

struct OpSignature {
  /// Name of the op in the IR, such as `onnx.MatMul`.
  llvm::StringRef opName;
  /// Domain of the operator; empty for ai.onnx.
  llvm::StringRef domain;
  /// First opset of the form that the IR holds.
  int sinceVersion;
  int minInputs, maxInputs, minOutputs, maxOutputs;
  llvm::ArrayRef<Formal> operands;
  llvm::ArrayRef<Formal> results;
  llvm::ArrayRef<AttrFormal> attributes;

  bool hasOperandSegments() const { return countSegments(operands) > 1; }
  bool hasResultSegments() const { return countSegments(results) > 1; }

private:
  static unsigned countSegments(llvm::ArrayRef<Formal> formals);
};

/// The newest opset of ai.onnx that the dialect knows.
int getNewestOpset();

/// The signature of an op (`onnx.Conv`, `onnx_ms.MoE`), or null. Thread-safe.
const OpSignature *lookupSignature(llvm::StringRef opName);

/// The op that stands for an operator of a domain ("" and "ai.onnx" are the
/// same), or an empty string. Operators that exporters write into the default
/// domain although com.microsoft owns them are found there too.
llvm::StringRef lookupOpName(llvm::StringRef domain, llvm::StringRef opType);

/// All signatures, sorted by op name.
llvm::ArrayRef<OpSignature> getAllSignatures();

} // namespace moe::onnx

#endif // MOE_DIALECTS_ONNX_SIGNATURES_H
