//===- HostRaiseCheck.cpp - checks of raises on this machine --------------===//
//
// The module of both sides goes to a context of its own as bytecode: a pass
// must not load dialects into the context that it runs in.
//
//===----------------------------------------------------------------------===//
#include "lib/Check/HostRaiseCheck.h"
#include "dialects/MoE/MoEDialect.h"
#include "dialects/ONNX/ONNXDialect.h"
#include "mlir/Bytecode/BytecodeWriter.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"
#include "moe-c/Runtime.h"
#include "moe/Artifact.h"
#include "moe/Pipelines.h"
#include "passes/Infer/Passes.h"
#include "passes/Lower/ONNXToLinalg/Passes.h"
#include "passes/Raise/RaiseCheck.h"
#include "llvm/ADT/APFloat.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FileUtilities.h"
#include "llvm/Support/Format.h"
#include <cmath>
#include <cstring>
#include <random>

using namespace mlir;
using namespace moe;

namespace {

//===----------------------------------------------------------------------===//
// Tensors
//===----------------------------------------------------------------------===//

/// A dense tensor in memory of its own.
struct Tensor {
  Type element;
  SmallVector<int64_t> shape;
  std::vector<char> bytes;

  int64_t size() const {
    int64_t count = 1;
    for (int64_t extent : shape)
      count *= extent;
    return count;
  }
};

unsigned widthOf(Type element) {
  return std::max(1u, onnx::getElementBits(element) / 8);
}

/// Element i as a double; nothing if the type holds no numbers.
std::optional<double> read(Type element, const char *data, int64_t i) {
  unsigned width = widthOf(element);
  uint64_t bits = 0;
  std::memcpy(&bits, data + i * width, width);
  if (auto type = dyn_cast<FloatType>(element)) {
    APFloat number(type.getFloatSemantics(), APInt(width * 8, bits));
    bool loses;
    number.convert(APFloat::IEEEdouble(), APFloat::rmNearestTiesToEven, &loses);
    return number.convertToDouble();
  }
  if (!isa<IntegerType>(element))
    return std::nullopt;
  APInt number(width * 8, bits);
  return element.isUnsignedInteger() || element.isInteger(1)
             ? number.roundToDouble(false)
             : number.roundToDouble(true);
}

void write(Type element, char *data, int64_t i, double value) {
  unsigned width = widthOf(element);
  uint64_t bits;
  if (auto type = dyn_cast<FloatType>(element)) {
    APFloat number(value);
    bool loses;
    number.convert(type.getFloatSemantics(), APFloat::rmNearestTiesToEven,
                   &loses);
    bits = number.bitcastToAPInt().getZExtValue();
  } else {
    bits = static_cast<uint64_t>(static_cast<int64_t>(value));
  }
  std::memcpy(data + i * width, &bits, width);
}

using Random = std::mt19937_64;

double uniform(Random &random) {
  return static_cast<double>(random() >> 11) / (1ull << 53);
}

/// Fills rows (along the last axis) with numbers below `bound`, different ones
/// while there are enough.
void fillIds(Tensor &tensor, int64_t bound, RaiseHits hits, Random &random) {
  int64_t k = tensor.shape.empty() ? 1 : tensor.shape.back();
  std::vector<int64_t> order(bound);
  for (int64_t i = 0; i < bound; ++i)
    order[i] = i;
  for (int64_t i = 0; i < tensor.size(); ++i) {
    int64_t j = k ? i % k : 0, id = 0;
    switch (hits) {
    case RaiseHits::Any:
      if (j == 0)
        for (int64_t n = bound; n > 1; --n)
          std::swap(order[n - 1], order[random() % n]);
      id = order[j % bound];
      break;
    case RaiseHits::Same:
      id = j % bound;
      break;
    case RaiseHits::All:
      id = i % bound;
      break;
    }
    write(tensor.element, tensor.bytes.data(), i, static_cast<double>(id));
  }
}

Tensor makeTensor(RankedTensorType type, ArrayRef<int64_t> shape, int64_t bound,
                  RaiseHits hits, Random &random) {
  Tensor tensor{type.getElementType(), SmallVector<int64_t>(shape), {}};
  tensor.bytes.resize(tensor.size() * widthOf(tensor.element));
  if (isa<IntegerType>(tensor.element) && bound > 0) {
    fillIds(tensor, bound, hits, random);
    return tensor;
  }
  bool isFloat = isa<FloatType>(tensor.element);
  for (int64_t i = 0; i < tensor.size(); ++i)
    write(tensor.element, tensor.bytes.data(), i,
          isFloat ? 2 * uniform(random) - 1
                  : static_cast<double>(random() % 2));
  return tensor;
}

//===----------------------------------------------------------------------===//
// Running
//===----------------------------------------------------------------------===//

std::string take(moe_error *error) {
  std::string text = moe_error_message(error);
  moe_error_free(error);
  return text;
}

struct ProgramDeleter {
  void operator()(moe_program *program) const { moe_program_free(program); }
};
struct SessionDeleter {
  void operator()(moe_session *session) const { moe_session_free(session); }
};

/// One function of a loaded artifact.
class Function {
public:
  bool open(moe_program *program, const char *name, std::string &error) {
    moe_session_options options;
    moe_session_options_init(&options);
    options.num_threads = 1;
    options.function = name;
    moe_session *made;
    if (moe_error *failure = moe_session_create(program, &options, &made)) {
      error = take(failure);
      return false;
    }
    session.reset(made);
    return true;
  }

  bool run(ArrayRef<Tensor> inputs, Type element, Tensor &output,
           std::string &error);

private:
  std::unique_ptr<moe_session, SessionDeleter> session;
};

bool Function::run(ArrayRef<Tensor> inputs, Type element, Tensor &output,
                   std::string &error) {
  std::vector<std::string> names(inputs.size());
  std::vector<const char *> namePointers;
  std::vector<DLManagedTensor> tensors(inputs.size());
  std::vector<DLManagedTensor *> pointers;
  for (auto [i, input] : llvm::enumerate(inputs)) {
    names[i] = "i" + std::to_string(i);
    namePointers.push_back(names[i].c_str());
    DLTensor &dl = tensors[i].dl_tensor;
    dl.data = const_cast<char *>(input.bytes.data());
    dl.device = {kDLCPU, 0};
    dl.ndim = input.shape.size();
    dl.dtype = moe_dtype_to_dlpack(onnx::getDataType(input.element));
    dl.shape = const_cast<int64_t *>(input.shape.data());
    pointers.push_back(&tensors[i]);
  }
  DLManagedTensor *result = nullptr;
  if (moe_error *failure =
          moe_session_run(session.get(), inputs.size(), namePointers.data(),
                          pointers.data(), &result)) {
    error = take(failure);
    return false;
  }
  output.element = element;
  output.shape.assign(result->dl_tensor.shape,
                      result->dl_tensor.shape + result->dl_tensor.ndim);
  const char *data = static_cast<const char *>(result->dl_tensor.data) +
                     result->dl_tensor.byte_offset;
  output.bytes.assign(data, data + output.size() * widthOf(element));
  if (result->deleter)
    result->deleter(result);
  return true;
}

/// How far results may differ, relative to the largest element: both sides sum
/// in f32, in another order, and round to the narrowest type in between.
double getTolerance(ModuleOp module) {
  double tolerance = 1e-4;
  module.walk([&](Operation *op) {
    for (Type type : op->getResultTypes())
      if (auto shaped = dyn_cast<ShapedType>(type))
        if (auto element = dyn_cast<FloatType>(shaped.getElementType()))
          if (element.getWidth() < 32)
            tolerance = 2e-2;
  });
  return tolerance;
}

bool compareResults(const Tensor &a, const Tensor &b, double tolerance,
                    std::string &why) {
  llvm::raw_string_ostream os(why);
  if (a.shape != b.shape) {
    os << "extents [";
    llvm::interleaveComma(a.shape, os);
    os << "] became [";
    llvm::interleaveComma(b.shape, os);
    os << "]";
    return false;
  }
  double largest = 0, worst = 0;
  int64_t worstAt = -1;
  for (int64_t i = 0; i < a.size(); ++i) {
    double x = *read(a.element, a.bytes.data(), i);
    double y = *read(b.element, b.bytes.data(), i);
    if (std::isfinite(x))
      largest = std::max(largest, std::fabs(x));
    double difference = std::fabs(x - y);
    if (x == y || (std::isnan(x) && std::isnan(y)))
      difference = 0;
    if (!(difference <= worst)) {
      worst = std::isnan(difference) ? INFINITY : difference;
      worstAt = i;
    }
  }
  double allowed = isa<FloatType>(a.element) ? tolerance * largest : 0;
  if (worst <= allowed)
    return true;
  os << "element " << worstAt << " is "
     << llvm::format("%.9g", *read(b.element, b.bytes.data(), worstAt))
     << " instead of "
     << llvm::format("%.9g", *read(a.element, a.bytes.data(), worstAt));
  return false;
}

//===----------------------------------------------------------------------===//
// The check
//===----------------------------------------------------------------------===//

class HostRaiseCheck : public RaiseCheckInterface {
public:
  using RaiseCheckInterface::RaiseCheckInterface;

  bool compare(ModuleOp module, ArrayRef<int64_t> bounds,
               ArrayRef<RaiseDraw> draws, std::string &why) const override;

private:
  bool compile(ModuleOp module, StringRef path, std::string &why) const;
};

} // namespace

bool HostRaiseCheck::compile(ModuleOp module, StringRef path,
                             std::string &why) const {
  std::string bytecode;
  llvm::raw_string_ostream os(bytecode);
  if (failed(writeBytecodeToFile(module, os))) {
    why = "its nodes cannot be written";
    return false;
  }
  MLIRContext context(MLIRContext::Threading::DISABLED);
  context.appendDialectRegistry(module.getContext()->getDialectRegistry());
  ScopedDiagnosticHandler handler(&context, [&](Diagnostic &diagnostic) {
    if (why.empty() && diagnostic.getSeverity() == DiagnosticSeverity::Error)
      why = diagnostic.str();
    return success();
  });
  OwningOpRef<ModuleOp> copy = parseSourceString<ModuleOp>(bytecode, &context);
  HostCpu cpu;
  if (!copy || failed(resolveHostCpu("native", cpu, why)))
    return false;
  PassManager manager(&context);
  manager.addNestedPass<func::FuncOp>(createInferShapes());
  buildOptimisePipeline(manager);
  buildSchedulePipeline(manager);
  manager.addPass(createONNXToLinalg());
  HostPipelineOptions options;
  options.vectorBits = cpu.vectorBits;
  buildHostPipeline(manager, options);
  ArtifactOptions artifact;
  artifact.optLevel = 1;
  return succeeded(manager.run(*copy)) &&
         succeeded(writeArtifact(ArtifactPart{*copy, cpu}, path, artifact));
}

bool HostRaiseCheck::compare(ModuleOp module, ArrayRef<int64_t> bounds,
                             ArrayRef<RaiseDraw> draws,
                             std::string &why) const {
  llvm::SmallString<128> path;
  if (std::error_code error =
          llvm::sys::fs::createTemporaryFile("moe-check", "so", path)) {
    why = "no temporary file: " + error.message();
    return false;
  }
  llvm::FileRemover remover(path);
  if (!compile(module, path, why)) {
    why = "it does not compile: " + why;
    return false;
  }
  moe_program *loaded;
  if (moe_error *error = moe_program_load(path.c_str(), &loaded)) {
    why = take(error);
    return false;
  }
  std::unique_ptr<moe_program, ProgramDeleter> program(loaded);
  Function before, after;
  if (!before.open(loaded, "before", why) || !after.open(loaded, "after", why))
    return false;

  auto func = module.lookupSymbol<func::FuncOp>("before");
  Type element =
      cast<RankedTensorType>(func.getResultTypes().front()).getElementType();
  double tolerance = getTolerance(module);
  Random random(20240229);
  for (const RaiseDraw &draw : draws) {
    std::vector<Tensor> inputs;
    for (auto [i, type] : llvm::enumerate(func.getArgumentTypes()))
      inputs.push_back(makeTensor(cast<RankedTensorType>(type), draw.shapes[i],
                                  bounds[i], draw.hits, random));
    Tensor expected, got;
    // An export that cannot run some inputs is what raising mends.
    std::string ignored;
    if (!before.run(inputs, element, expected, ignored))
      continue;
    if (!after.run(inputs, element, got, why) ||
        !compareResults(expected, got, tolerance, why))
      return false;
  }
  return true;
}

void moe::registerHostRaiseCheck(DialectRegistry &registry) {
  registerArtifactTranslations(registry);
  registry.addExtension(+[](MLIRContext *, ir::MoEDialect *dialect) {
    dialect->addInterfaces<HostRaiseCheck>();
  });
}
