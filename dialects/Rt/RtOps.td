//===- RtOps.td - what lowered code asks of the runtime ----*- tablegen -*-===//
#ifndef MOE_DIALECTS_RT_RTOPS_TD
#define MOE_DIALECTS_RT_RTOPS_TD

include "mlir/Dialect/LLVMIR/LLVMOpBase.td"
include "mlir/IR/BuiltinAttributes.td"
include "mlir/IR/OpBase.td"
include "mlir/Interfaces/ControlFlowInterfaces.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

def Rt_Dialect : Dialect {
  let name = "rt";
  let cppNamespace = "::moe::rt";
  let summary = "What compiled code gets from the runtime";
  let description = [{
    Constants of the model, run-time checks and parallel loops: the operations
    that end as accesses to `moe_run_env` (include/moe-c/ModelABI.h).

    Discardable attributes of functions' arguments and results:
    `rt.name` (string), `rt.dtype` (i32, the number of ONNX's
    TensorProto.DataType) and `rt.dims` (array of strings, one per dimension,
    "" where the extent is static or has no name).

    Discardable attribute of calls: `rt.arguments` (array of elements), what the
    callee's `#rt.parameter`s stand for.
  }];
  let dependentDialects = ["::mlir::LLVM::LLVMDialect"];
  let useDefaultAttributePrinterParser = 1;
  let hasOperationAttrVerify = 1;
  let hasRegionArgAttrVerify = 1;
  let hasRegionResultAttrVerify = 1;
}

include "dialects/Rt/RtAttrs.td"

class Rt_Op<string mnemonic, list<Trait> traits = []>
    : Op<Rt_Dialect, mnemonic, traits>;

/// Keeps checks in order and alive without ordering them against memory.
def Rt_CheckResource : Resource<"::moe::rt::CheckResource">;

def Rt_ConstantOp : Rt_Op<"constant", [Pure]> {
  let summary = "refer to a constant of the model";
  let description = [{
    A read-only buffer in the weights of the artifact. `value` is any elements
    attribute that the back end can read: dense, a dense resource, or one that
    implements `BytesAttrInterface`, such as a range of a file. Code on tensors
    reads it through `bufferization.to_tensor ... restrict` (not `writable`).

    Example:

    ```mlir
    func.func @f() -> tensor<4xf32> {
      %0 = rt.constant {value = dense<[1.0, 2.0, 3.0, 4.0]> : tensor<4xf32>}
          : memref<4xf32>
      %1 = bufferization.to_tensor %0 restrict
          : memref<4xf32> to tensor<4xf32>
      return %1 : tensor<4xf32>
    }
    ```
  }];
  let arguments = (ins ElementsAttr:$value);
  let results = (outs AnyStaticShapeMemRef:$result);
  let assemblyFormat = "attr-dict `:` type($result)";
  let hasVerifier = 1;
}

def Rt_WeightOp : Rt_Op<"weight", [Pure]> {
  let summary = "address a constant by its place in a weight section";
  let description = [{
    What `moe-layout-weights` makes of a constant: `offset` is in bytes from the
    base of the weight section with the number `section`, whose address the
    environment of the run holds. Sections start at an address that suits the
    alignment that the artifact records.

    Example:

    ```mlir
    func.func @f() -> memref<4xf32> {
      %0 = rt.weight {section = 0 : i32, offset = 128 : i64} : memref<4xf32>
      return %0 : memref<4xf32>
    }
    ```
  }];
  let arguments = (ins ConfinedAttr<I32Attr, [IntNonNegative]>:$section,
                       ConfinedAttr<I64Attr, [IntNonNegative]>:$offset);
  let results = (outs AnyStaticShapeMemRef:$result);
  let assemblyFormat = "attr-dict `:` type($result)";
  let hasVerifier = 1;
}

def Rt_WeightAtOp : Rt_Op<"weight_at", [Pure]> {
  let summary = "address a constant by a place that is known at run time";
  let description = [{
    `rt.weight` for functions whose constants depend on the call: `section` and
    `offset` come from a table that the call hands in, where
    `moe-layout-weights` has put them.

    Example:

    ```mlir
    func.func @f(%table: memref<1x2xi64>) -> memref<4xf32> {
      %c0 = arith.constant 0 : index
      %c1 = arith.constant 1 : index
      %section = memref.load %table[%c0, %c0] : memref<1x2xi64>
      %offset = memref.load %table[%c0, %c1] : memref<1x2xi64>
      %0 = rt.weight_at %section, %offset : memref<4xf32>
      return %0 : memref<4xf32>
    }
    ```
  }];
  let arguments = (ins I64:$section, I64:$offset);
  let results = (outs AnyStaticShapeMemRef:$result);
  let assemblyFormat = "$section `,` $offset attr-dict `:` type($result)";
  let hasVerifier = 1;
}

def Rt_CheckOp : Rt_Op<"check", [MemoryEffects<[MemWrite<Rt_CheckResource>]>]> {
  let summary = "end the run with an error unless a condition holds";
  let description = [{
    When the condition is false, the run ends at once: `message` and `code` (a
    `moe_code`, by default 2, out of range) reach the caller of the model.
    Loops that rely on the condition come after the check. Bodies of parallel
    loops and of linalg operations must be free of checks.

    Example:

    ```mlir
    func.func @f(%i: index, %n: index) {
      %ok = arith.cmpi ult, %i, %n : index
      rt.check %ok, "Gather 'embed': index out of range" {code = 2 : i32}
      return
    }
    ```
  }];
  let arguments = (ins I1:$condition, StrAttr:$message,
                       DefaultValuedAttr<I32Attr, "2">:$code);
  let assemblyFormat = "$condition `,` $message attr-dict";
  let hasVerifier = 1;
  let hasCanonicalizeMethod = 1;
}

def Rt_ParallelForOp : Rt_Op<"parallel_for", [RecursiveMemoryEffects]> {
  let summary = "run a body on disjoint ranges of [0, count)";
  let description = [{
    The runtime splits [0, count) among its threads and calls the body for each
    range [begin, end). Results must not depend on the split, so what one task
    does may depend on its number alone. The body neither allocates nor checks.

    Example:

    ```mlir
    func.func @f(%n: i64, %m: memref<?xf32>) {
      rt.parallel_for %n {
      ^bb0(%begin: i64, %end: i64):
        %zero = arith.constant 0.0 : f32
        %c1 = arith.constant 1 : index
        %lb = arith.index_cast %begin : i64 to index
        %ub = arith.index_cast %end : i64 to index
        scf.for %i = %lb to %ub step %c1 {
          memref.store %zero, %m[%i] : memref<?xf32>
        }
        rt.yield
      }
      return
    }
    ```
  }];
  let arguments = (ins I64:$count);
  let regions = (region MinSizedRegion<1>:$body);
  let assemblyFormat = "$count $body attr-dict";
  let hasVerifier = 1;
}

def Rt_YieldOp : Rt_Op<"yield", [Pure, Terminator, ReturnLike]> {
  let summary = "end the body of a parallel loop";
  let description = [{
    Example: see `rt.parallel_for`.
  }];
  let assemblyFormat = "attr-dict";
}

def Rt_EnvOp : Rt_Op<"env", [Pure]> {
  let summary = "get the environment of this run";
  let description = [{
    A pointer to `moe_run_env`: the first argument of every lowered function.

    Example:

    ```mlir
    func.func @f() -> !llvm.ptr {
      %0 = rt.env : !llvm.ptr
      return %0 : !llvm.ptr
    }
    ```
  }];
  let results = (outs LLVM_AnyPointer:$result);
  let assemblyFormat = "attr-dict `:` type($result)";
}

def Rt_StatusOp
    : Rt_Op<"status", [MemoryEffects<[MemWrite<Rt_CheckResource>]>]> {
  let summary = "end the run if a called function failed";
  let description = [{
    `code` is what a lowered function returned; anything but 0 is handed on to
    the caller. The callee has already recorded the reason.

    Example:

    ```mlir
    func.func @f(%code: i32) {
      rt.status %code
      return
    }
    ```
  }];
  let arguments = (ins I32:$code);
  let assemblyFormat = "$code attr-dict";
  let hasVerifier = 1;
}

def Rt_FailOp : Rt_Op<"fail", [Terminator]> {
  let summary = "leave a lowered function with an error code";
  let description = [{
    The terminator on failing paths between the conversion to LLVM and
    `moe-outline-parallel`, which turns it into a return of the function's type.

    Example:

    ```mlir
    func.func @f(%code: i32) {
      rt.fail %code
    }
    ```
  }];
  let arguments = (ins I32:$code);
  let assemblyFormat = "$code attr-dict";
}

/// Keeps profile points in order and alive.
def Rt_ProfileResource : Resource<"::moe::rt::ProfileResource">;

def Rt_ProfilingOp : Rt_Op<"profiling", [Pure]> {
  let summary = "tell whether somebody profiles this run";
  let description = [{
    Example: see `rt.profile`.
  }];
  let results = (outs I1:$result);
  let assemblyFormat = "attr-dict";
}

def Rt_ProfileOp
    : Rt_Op<"profile", [MemoryEffects<[MemWrite<Rt_ProfileResource>]>]> {
  let summary = "tell the profile what begins or ends here";
  let description = [{
    `number` is an index into the module's attribute `rt.profile_ops`, whose
    entries have a `name` and a `kind`. The event is `begin`, `pause` (a part
    ends, the next one begins with `begin` again), `end`, or `work`, which only
    adds the numbers: `flops` and `bytes` are the work since the last event.
    Reached only if `rt.profiling` holds.

    Example:

    ```mlir
    func.func @f(%flops: i64, %bytes: i64) {
      %on = rt.profiling
      scf.if %on {
        rt.profile end 0 flops %flops bytes %bytes
      }
      return
    }
    ```
  }];
  let arguments = (ins Rt_ProfileEvent:$event,
                       ConfinedAttr<I32Attr, [IntNonNegative]>:$number,
                       I64:$flops, I64:$bytes);
  let assemblyFormat = [{
    $event $number `flops` $flops `bytes` $bytes attr-dict
  }];
}

#endif // MOE_DIALECTS_RT_RTOPS_TD
