//===- ONNXBase.td - dialects, types and base classes of ONNX -*- tablegen -*-===//
#ifndef MOE_DIALECTS_ONNX_ONNXBASE_TD
#define MOE_DIALECTS_ONNX_ONNXBASE_TD

include "dialects/Rt/RtInterfaces.td"
include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/BuiltinAttributeInterfaces.td"
include "mlir/IR/OpAsmInterface.td"
include "mlir/IR/OpBase.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

def ONNX_Dialect : Dialect {
  let name = "onnx";
  let cppNamespace = "::moe::onnx";
  let summary = "Operators of domain ai.onnx";
  let description = [{
    One op per operator of the newest opset that the pinned `onnx` package
    knows, generated from its schemas, so that every model parses, prints and
    is written back. Conventions (names, omitted operands, symbols of extents)
    are in docs/Rationale/Spine.md.
  }];
  let useDefaultTypePrinterParser = 1;
  let useDefaultAttributePrinterParser = 1;
  let hasConstantMaterializer = 1;
  let extraClassDeclaration = [{
    /// Mapped files of weights.
    FileCache &getFiles();

    void registerTypes();
    void registerAttributes();

  private:
    std::shared_ptr<FileCache> files;
  }];
}

def ONNXMs_Dialect : Dialect {
  let name = "onnx_ms";
  let cppNamespace = "::moe::onnx_ms";
  let summary = "Operators of domain com.microsoft";
  let description = [{
    The contrib operators that models with experts carry. They are a dialect of
    their own because names collide with ai.onnx (Gelu, Attention,
    RotaryEmbedding) while the operators differ.
  }];
  let dependentDialects = ["::moe::onnx::ONNXDialect"];
}

//===----------------------------------------------------------------------===//
// Types
//===----------------------------------------------------------------------===//

class ONNX_Type<string name, string typeMnemonic>
    : TypeDef<ONNX_Dialect, name> {
  let mnemonic = typeMnemonic;
}

def ONNX_StringType : ONNX_Type<"String", "string"> {
  let summary = "element type of tensors of strings";
}

def ONNX_SeqType : ONNX_Type<"Seq", "seq"> {
  let summary = "sequence of values of one type";
  let parameters = (ins "::mlir::Type":$elementType);
  let assemblyFormat = "`<` $elementType `>`";
}

def ONNX_OptionalType : ONNX_Type<"Optional", "optional"> {
  let summary = "a value that may be absent at run time";
  let parameters = (ins "::mlir::Type":$elementType);
  let assemblyFormat = "`<` $elementType `>`";
}

/// Which element types an operator takes is checked by the generic verifier
/// against the schema; ODS only asks for a value of ONNX.
def ONNX_Value : AnyTypeOf<[AnyTensor, ONNX_SeqType, ONNX_OptionalType]>;

//===----------------------------------------------------------------------===//
// Attributes
//===----------------------------------------------------------------------===//

def ONNX_FileAttr
    : AttrDef<ONNX_Dialect, "FileElements",
              [ElementsAttrInterface,
               DeclareAttrInterfaceMethods<Rt_BytesAttrInterface>]> {
  let mnemonic = "file";
  let summary = "elements that stay in the file they came from";
  let description = [{
    Weights that nobody changed: `length` bytes at `offset` of a file, dense,
    row-major, little-endian, elements narrower than a byte packed as ONNX packs
    them. The IR stays small however large the model is, and the bytes are read
    (through a mapping that all attributes of one file share) when an artifact
    or a model is written.

    ```mlir
    #onnx.file<"model.onnx", 4096, 65536> : tensor<128x128xf32>
    ```
  }];
  let parameters = (ins AttributeSelfTypeParameter<"", "::mlir::ShapedType">:$type,
                        StringRefParameter<"file, as the model was named">:$path,
                        "uint64_t":$offset, "uint64_t":$length);
  let assemblyFormat = "`<` $path `,` $offset `,` $length `>`";
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    /// No element access: callers see a failure and leave the value alone.
    ::mlir::FailureOr<::mlir::detail::ElementsAttrIndexer>
    getValuesImpl(::mlir::TypeID) const { return ::mlir::failure(); }
    bool isSplat() const { return false; }
    /// The bytes, valid as long as the context lives; null data with a reason
    /// in `error` when the file cannot be read or is too short.
    ::llvm::ArrayRef<char> getBytes(::std::string &error) const;
  }];
}

//===----------------------------------------------------------------------===//
// Ops
//===----------------------------------------------------------------------===//

/// Verified by the schema and by our own rules for operators with a lowering:
/// one function behind one trait instead of a method for every op.
def ONNX_SchemaOp : NativeOpTrait<"SchemaOp"> {
  let cppNamespace = "::moe::onnx";
}

class ONNX_OpBase<Dialect dialect, string mnemonic, list<Trait> traits>
    : Op<dialect, mnemonic,
         !listconcat([DeclareOpInterfaceMethods<OpAsmOpInterface,
                                                ["getAsmResultNames"]>,
                      ONNX_SchemaOp],
                     traits)> {
  let hasCustomAssemblyFormat = 1;
}

class ONNX_Op<string mnemonic, list<Trait> traits = []>
    : ONNX_OpBase<ONNX_Dialect, mnemonic, traits>;

class ONNXMs_Op<string mnemonic, list<Trait> traits = []>
    : ONNX_OpBase<ONNXMs_Dialect, mnemonic, traits>;

#endif // MOE_DIALECTS_ONNX_ONNXBASE_TD
