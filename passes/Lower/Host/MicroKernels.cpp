//===- MicroKernels.cpp - products of a few rows and one panel ------------===//
//
// One function for each number of rows: the accumulators of all rows stay in
// registers, each vector of the panel is loaded once for all of them. The
// functions are never inlined: inside a larger one, LLVM's loop strength
// reduction puts dozens of address computations into the inner loop.
//
//===----------------------------------------------------------------------===//
#include "passes/Lower/Host/MicroKernels.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace moe;

/// Behind the names of kernels, by form.
static constexpr StringLiteral suffixes[] = {"", ".prefetch", ".strided"};

/// Types of a kernel's arguments.
static SmallVector<Type> argumentTypes(Type element, bool hasMore) {
  MLIRContext *context = element.getContext();
  Type index = IndexType::get(context);
  auto buffer =
      MemRefType::get({ShapedType::kDynamic}, Float32Type::get(context));
  auto panel = MemRefType::get({ShapedType::kDynamic}, element);
  Type rows = element.isInteger(32) ? panel : buffer;
  SmallVector<Type> types = {rows,  index, index,  panel,
                             index, index, buffer, index};
  if (hasMore)
    types.push_back(index);
  return types;
}

func::FuncOp MicroKernels::create(const std::string &name,
                                  ArrayRef<Type> types) {
  MLIRContext *context = module.getContext();
  OpBuilder b(context);
  b.setInsertionPointToEnd(module.getBody());
  auto function = func::FuncOp::create(b, UnknownLoc::get(context), name,
                                       b.getFunctionType(types, {}));
  function.setPrivate();
  function->setAttr(kernelAttr, b.getUnitAttr());
  function->setAttr("llvm.linkage",
                    LLVM::LinkageAttr::get(context, LLVM::Linkage::Internal));
  function->setAttr("passthrough", b.getStrArrayAttr({"noinline"}));
  function.addEntryBlock();
  return function;
}

std::string MicroKernels::Kind::getName() const {
  std::string name = "moe.kernel.";
  name += rows ? "r" + std::to_string(rows) : "any";
  if (element.isF16())
    name += ".f16";
  if (element.isBF16())
    name += ".bf16";
  if (element.isInteger(32))
    name += ".bf16.dot";
  return name + suffixes[static_cast<int>(form)].str();
}

void moe::chooseByRows(func::FuncOp function, int64_t least, int64_t most,
                       function_ref<func::FuncOp(int64_t)> getKernel) {
  OpBuilder b(function.getContext());
  Location loc = function.getLoc();
  b.setInsertionPointToStart(&function.front());
  auto cases = llvm::to_vector(llvm::seq<int64_t>(least, most));
  auto choice = scf::IndexSwitchOp::create(
      b, loc, TypeRange(), function.getArgument(0), cases, cases.size());
  auto fill = [&](Region &region, int64_t rows) {
    OpBuilder::InsertionGuard guard(b);
    b.createBlock(&region);
    func::CallOp::create(b, loc, getKernel(rows),
                         function.getArguments().drop_front());
    scf::YieldOp::create(b, loc);
  };
  for (auto [region, rows] : llvm::zip(choice.getCaseRegions(), cases))
    fill(region, rows);
  fill(choice.getDefaultRegion(), most);
  func::ReturnOp::create(b, loc);
}

func::FuncOp MicroKernels::getAny(Type element, bool prefetch) {
  return getAny(element, prefetch ? Form::Prefetch : Form::Plain);
}

func::FuncOp MicroKernels::getAnyStrided() {
  return getAny(Float32Type::get(module.getContext()), Form::Strided);
}

func::FuncOp MicroKernels::getAny(Type element, Form form) {
  Kind kind{element, 0, form};
  func::FuncOp &function = kernels[kind.getName()];
  if (function)
    return function;
  bool prefetch = form == Form::Prefetch;
  MLIRContext *context = module.getContext();
  SmallVector<Type> types = {IndexType::get(context)};
  llvm::append_range(types, argumentTypes(element, form != Form::Plain));
  function = create(kind.getName(), types);
  chooseByRows(function, prefetch ? tile.splitRows / 2 : 1, tile.maxRows,
               [&](int64_t rows) {
                 return get({element, rows, form});
               });
  return function;
}

/// `value`, of which LLVM does not see where it comes from.
static Value hidden(OpBuilder &b, Location loc, Value value) {
  Value number = arith::IndexCastOp::create(b, loc, b.getI64Type(), value);
  number = LLVM::InlineAsmOp::create(
               b, loc, b.getI64Type(), number, /*asm_string=*/"",
               /*constraints=*/"=r,0", /*has_side_effects=*/false,
               /*is_align_stack=*/false, LLVM::TailCallKind::None,
               LLVM::AsmDialectAttr(), ArrayAttr())
               .getRes();
  return arith::IndexCastOp::create(b, loc, b.getIndexType(), number);
}

func::FuncOp MicroKernels::get(Kind kind) {
  func::FuncOp &function = kernels[kind.getName()];
  if (function)
    return function;
  MLIRContext *context = module.getContext();
  auto [element, rows, form] = kind;
  function =
      create(kind.getName(), argumentTypes(element, form != Form::Plain));
  bool prefetch = form == Form::Prefetch;
  OpBuilder b(context);
  Location loc = function.getLoc();
  b.setInsertionPointToStart(&function.front());
  Value a = function.getArgument(0), aFirst = function.getArgument(1);
  Value aStride = function.getArgument(2), panel = function.getArgument(3);
  Value bFirst = function.getArgument(4), depth = function.getArgument(5);
  Value sums = function.getArgument(6), sumsFirst = function.getArgument(7);

  auto constant = [&](int64_t v) -> Value {
    return arith::ConstantIndexOp::create(b, loc, v);
  };
  auto add = [&](Value x, Value y) -> Value {
    return arith::AddIOp::create(b, loc, x, y);
  };
  auto mul = [&](Value x, Value y) -> Value {
    return arith::MulIOp::create(b, loc, x, y);
  };
  Value zero = constant(0), one = constant(1), block = constant(kernelBlock);
  Value step =
      form == Form::Strided ? function.getArgument(8) : constant(tile.columns);
  SmallVector<Value> rowFirst = {aFirst};
  while (static_cast<int64_t>(rowFirst.size()) < rows)
    rowFirst.push_back(add(rowFirst.back(), aStride));
  // LLVM would compute the places of the rows anew from the stride in each
  // step, to save registers that are not needed.
  if (rows > 4)
    for (Value &row : rowFirst)
      row = hidden(b, loc, row);
  int64_t vectors = tile.columns / tile.lanes;
  auto vector = VectorType::get({tile.lanes}, b.getF32Type());
  auto narrow = VectorType::get({tile.lanes}, element);
  bool pairs = element.isInteger(32);
  auto halves = VectorType::get({2 * tile.lanes}, b.getBF16Type());
  auto dot = b.getStringAttr("llvm.x86.avx512bf16.dpbf16ps." +
                             std::to_string(32 * tile.lanes));
  Value none = arith::ConstantOp::create(b, loc, b.getZeroAttr(vector));
  SmallVector<Value> init(rows * vectors, none);

  auto blocks = scf::ForOp::create(b, loc, zero, depth, block);
  b.setInsertionPointToStart(blocks.getBody());
  Value from = blocks.getInductionVar();
  Value to = arith::MinUIOp::create(b, loc, add(from, block), depth);
  auto loop = scf::ForOp::create(b, loc, from, to, one, init);
  {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(loop.getBody());
    Value k = loop.getInductionVar();
    if (prefetch) {
      Value line = add(function.getArgument(8),
                       mul(k, constant(tile.getLineElements(element))));
      memref::PrefetchOp::create(b, loc, panel, line, /*isWrite=*/false,
                                 /*localityHint=*/2, /*isDataCache=*/true);
    }
    Value place = add(bFirst, mul(k, step));
    SmallVector<Value> loaded, next;
    for (int64_t v = 0; v < vectors; ++v) {
      Value part = vector::LoadOp::create(b, loc, narrow, panel,
                                          add(place, constant(v * tile.lanes)));
      if (pairs)
        part = vector::BitCastOp::create(b, loc, halves, part);
      else if (!element.isF32())
        part = arith::ExtFOp::create(b, loc, vector, part);
      loaded.push_back(part);
    }
    for (int64_t row = 0; row < rows; ++row) {
      Value x = memref::LoadOp::create(b, loc, a, add(rowFirst[row], k));
      x = vector::BroadcastOp::create(b, loc, pairs ? narrow : vector, x);
      if (pairs)
        x = vector::BitCastOp::create(b, loc, halves, x);
      for (int64_t v = 0; v < vectors; ++v) {
        Value sum = loop.getRegionIterArgs()[row * vectors + v];
        if (pairs)
          sum = LLVM::CallIntrinsicOp::create(b, loc, vector, dot,
                                              ValueRange{sum, loaded[v], x})
                    .getResults();
        else
          sum = vector::FMAOp::create(b, loc, x, loaded[v], sum);
        next.push_back(sum);
      }
    }
    scf::YieldOp::create(b, loc, next);
  }
  for (int64_t i = 0; i < rows * vectors; ++i) {
    Value at = add(sumsFirst, constant(i * tile.lanes));
    Value total = vector::LoadOp::create(b, loc, vector, sums, at);
    total = arith::AddFOp::create(b, loc, total, loop.getResult(i));
    vector::StoreOp::create(b, loc, total, sums, at);
  }
  b.setInsertionPointAfter(blocks);
  func::ReturnOp::create(b, loc);
  return function;
}
