//===- ControlFlow.cpp - If, Loop, Scan
//------------------------------------===//
//
// A branch whose condition is known is translated in place. Otherwise If is
// scf.if, Scan and a Loop with nothing but a trip count are scf.for, all other
// Loops scf.while. What an iteration hands to the next is a carried tensor
// whose type has the extents that are the same in every iteration.
//
// Rows of a scan output are collected in a carried tensor with room for all
// iterations where their number is known, otherwise in one that doubles when
// it is full. Its other extents may only show when there is a first row; rows
// of other extents end the run.
//
//===----------------------------------------------------------------------===//

#include "dialects/ONNX/ONNXDialect.h"
#include "dialects/Rt/RtDialect.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/IR/Matchers.h"
#include "passes/Lower/ONNXToLinalg/Loops.h"

using namespace mlir;
using namespace moe;
using namespace moe::lower;

//===----------------------------------------------------------------------===//
// Types of carried values
//===----------------------------------------------------------------------===//

/// The type with the extents that all of `types` have; null if they differ in
/// more than extents.
static RankedTensorType join(ArrayRef<RankedTensorType> types) {
  SmallVector<int64_t> shape(types.front().getShape());
  for (RankedTensorType type : types) {
    if (!type || type.getRank() != types.front().getRank() ||
        type.getElementType() != types.front().getElementType())
      return {};
    for (auto [extent, other] : llvm::zip(shape, type.getShape()))
      if (extent != other)
        extent = ShapedType::kDynamic;
  }
  return RankedTensorType::get(shape, types.front().getElementType());
}

static Value castShape(FunctionLowering &l, Value v, RankedTensorType type) {
  if (v.getType() == type)
    return v;
  return tensor::CastOp::create(l.b, l.loc(), type, v);
}

/// Extent `i` of a tensor that stands for no ONNX value.
static OpFoldResult extentOf(FunctionLowering &l, Value tensor, int64_t i) {
  auto type = cast<RankedTensorType>(tensor.getType());
  if (!type.isDynamicDim(i))
    return l.index(type.getDimSize(i));
  return tensor::DimOp::create(l.b, l.loc(), tensor, i).getResult();
}

/// A bool ONNX value of one element as i1.
static FailureOr<Value> loadCondition(FunctionLowering &l, Operation *op,
                                      Value condition) {
  auto type = cast<RankedTensorType>(condition.getType());
  if (!elementOf(condition).isInteger(1) || type.getRank() > 1)
    return op->emitOpError() << "has a condition of type " << type
                             << "; a bool of one element is accepted";
  if (type.getRank() == 1)
    l.checkEqual(l.dim(condition, 0), l.index(1),
                 "the condition is not one value");
  Extents at(type.getRank(), l.index(0));
  return l.extract(l.tensor(condition), at);
}

//===----------------------------------------------------------------------===//
// If
//===----------------------------------------------------------------------===//

static LogicalResult lowerIf(FunctionLowering &l, Operation *op) {
  Value condition = operand(op, 0);
  // The regions are in the order of the attributes' names.
  Block &otherwise = op->getRegion(0).front();
  Block &then = op->getRegion(1).front();
  if (auto known = l.constants(condition); known && known->size() == 1) {
    Block &taken = known->front() ? then : otherwise;
    if (failed(l.lowerBlock(taken)))
      return failure();
    for (auto [out, v] :
         llvm::zip(op->getResults(), taken.getTerminator()->getOperands()))
      l.forward(out, v);
    return success();
  }

  FailureOr<Value> flag = loadCondition(l, op, condition);
  if (failed(flag))
    return failure();
  SmallVector<RankedTensorType> types;
  for (auto [i, out] : llvm::enumerate(op->getResults())) {
    RankedTensorType type = FunctionLowering::convert(out.getType());
    for (Block *block : {&then, &otherwise}) {
      Type from = block->getTerminator()->getOperand(i).getType();
      if (!join({type, FunctionLowering::convert(from)}))
        return op->emitOpError()
               << "has a branch whose output #" << i << " has type " << from
               << "; " << out.getType() << " with any extents is accepted";
    }
    types.push_back(type);
  }
  bool ok = true;
  auto branch = [&](Block &block) -> SmallVector<Value> {
    FunctionLowering::RegionScope scope(l);
    SmallVector<Value> out;
    if (failed(l.lowerBlock(block))) {
      ok = false;
      return out;
    }
    for (auto [v, type] :
         llvm::zip(block.getTerminator()->getOperands(), types))
      out.push_back(castShape(l, l.tensor(v), type));
    return out;
  };
  SmallVector<Type> resultTypes(types.begin(), types.end());
  SmallVector<Value> results = ifElse(
      l, *flag, resultTypes, [&] { return branch(then); },
      [&] { return branch(otherwise); });
  if (!ok)
    return failure();
  for (auto [out, v] : llvm::zip(op->getResults(), results))
    l.set(out, v);
  return success();
}

//===----------------------------------------------------------------------===//
// Scan outputs
//===----------------------------------------------------------------------===//

namespace {
/// Rows that the iterations of a loop leave behind.
struct Rows {
  FunctionLowering &l;
  /// Of one row.
  RankedTensorType rowType;

  /// Type of the carried tensor: any number of rows.
  RankedTensorType carriedType() const {
    SmallVector<int64_t> shape{ShapedType::kDynamic};
    llvm::append_range(shape, rowType.getShape());
    return RankedTensorType::get(shape, rowType.getElementType());
  }

  /// Before the loop: room for `room` rows if their extents are known.
  Value start(OpFoldResult room) const {
    Extents shape{rowType.hasStaticShape() ? room : l.index(0)};
    for (int64_t extent : rowType.getShape())
      shape.push_back(l.index(ShapedType::isDynamic(extent) ? 0 : extent));
    Value none = l.empty(shape, rowType.getElementType());
    return castShape(l, none, carriedType());
  }

  /// Puts `row` at `place` of `all`, where `count` rows are. `room` is the
  /// number of rows to come, null if unknown.
  Value append(Value all, Value row, OpFoldResult place, OpFoldResult count,
               OpFoldResult room) const {
    int64_t rank = rowType.getRank();
    Extents extents;
    for (int64_t i = 0; i < rank; ++i)
      extents.push_back(extentOf(l, row, i));
    if (!room || !rowType.hasStaticShape()) {
      auto grow = [&](OpFoldResult capacity, bool keep) {
        Extents shape{capacity};
        llvm::append_range(shape, extents);
        Value more = l.empty(shape, rowType.getElementType());
        if (keep) {
          Extents sizes{count}, zeros(rank + 1, l.index(0)),
              ones(rank + 1, l.index(1));
          llvm::append_range(sizes, extents);
          Value old = l.slice(all, zeros, sizes, ones);
          more = tensor::InsertSliceOp::create(l.b, l.loc(), old, more, zeros,
                                               sizes, ones);
        }
        return castShape(l, more, carriedType());
      };
      Value first = l.compare(arith::CmpIPredicate::eq, count, l.index(0));
      OpFoldResult capacity = extentOf(l, all, 0);
      Value isFull =
          room ? first : l.compare(arith::CmpIPredicate::sge, count, capacity);
      // What the first row has, all others have.
      for (int64_t i = 0; i < rank; ++i) {
        if (!rowType.isDynamicDim(i))
          continue;
        Value same = l.compare(arith::CmpIPredicate::eq, extents[i],
                               extentOf(l, all, i + 1));
        l.check(arith::OrIOp::create(l.b, l.loc(), first, same),
                "extent " + Twine(i) + " of a scan output changes", 3);
      }
      all = ifElse(
          l, isFull, carriedType(),
          [&]() -> SmallVector<Value> {
            if (room)
              return {grow(room, /*keep=*/false)};
            OpFoldResult doubled = l.mul(capacity, l.index(2));
            return {grow(l.max(doubled, l.index(4)), /*keep=*/true)};
          },
          [&]() -> SmallVector<Value> { return {all}; })[0];
    }
    Extents offsets{place}, sizes{l.index(1)}, ones(rank + 1, l.index(1));
    offsets.append(rank, l.index(0));
    llvm::append_range(sizes, extents);
    return tensor::InsertSliceOp::create(l.b, l.loc(), row, all, offsets, sizes,
                                         ones);
  }

  /// After the loop: the first `count` rows.
  Value finish(Value all, OpFoldResult count) const {
    int64_t rank = rowType.getRank();
    Extents sizes{count}, zeros(rank + 1, l.index(0)),
        ones(rank + 1, l.index(1));
    for (int64_t i = 0; i < rank; ++i)
      sizes.push_back(extentOf(l, all, i + 1));
    return l.slice(all, zeros, sizes, ones);
  }
};
} // namespace

//===----------------------------------------------------------------------===//
// Loop
//===----------------------------------------------------------------------===//

/// Whether a value is the same as a region argument or true, but for copies.
static bool staysTrue(FunctionLowering &l, Value v, Value argument) {
  while (Operation *def = v.getDefiningOp()) {
    if (def->getName().getStringRef() != "onnx.Identity")
      break;
    v = def->getOperand(0);
  }
  if (v == argument)
    return true;
  auto known = l.constants(v);
  return known && known->size() == 1 && known->front();
}

namespace {
/// A Loop or Scan: a body, values carried through it and rows that it leaves.
struct Iteration {
  FunctionLowering &l;
  Operation *op;
  Block &body;
  /// Yielded values in front of the carried ones (the condition).
  int64_t lead;
  /// Arguments of the body in front of the carried ones.
  int64_t leadArgs;
  SmallVector<RankedTensorType> types;
  SmallVector<Rows> rows;
  SmallVector<Value> init;

  Iteration(FunctionLowering &l, Operation *op, int64_t lead, int64_t leadArgs)
      : l(l), op(op), body(op->getRegion(0).front()), lead(lead),
        leadArgs(leadArgs) {}

  LogicalResult prepare(OperandRange initial);
  /// Puts the tensors into which rows are collected behind the others.
  void startRows(OpFoldResult room) {
    for (const Rows &r : rows)
      init.push_back(r.start(room));
  }
  /// Translates the body. `next` gets the carried values after it, the rows
  /// are added by `addRow(number, all, row)`.
  LogicalResult run(ValueRange carried, SmallVectorImpl<Value> &next,
                    llvm::function_ref<Value(size_t, Value, Value)> addRow);
};
} // namespace

LogicalResult Iteration::prepare(OperandRange initial) {
  Operation *yield = body.getTerminator();
  size_t count = initial.size();
  if (yield->getNumOperands() != lead + op->getNumResults() ||
      op->getNumResults() < count || body.getNumArguments() < leadArgs + count)
    return op->emitOpError()
           << "has a body that yields " << yield->getNumOperands()
           << " values; " << lead + op->getNumResults() << " are expected";
  for (auto [i, v] : llvm::enumerate(initial)) {
    Type argument = body.getArgument(leadArgs + i).getType();
    Type yielded = yield->getOperand(lead + i).getType();
    RankedTensorType type =
        join({FunctionLowering::convert(v.getType()),
              FunctionLowering::convert(argument),
              FunctionLowering::convert(yielded),
              FunctionLowering::convert(op->getResult(i).getType())});
    if (!type)
      return op->emitOpError()
             << "carries value #" << i << " with type " << v.getType()
             << " into iterations that take " << argument << " and yield "
             << yielded << "; one rank and element type is accepted";
    types.push_back(type);
    init.push_back(castShape(l, l.tensor(v), type));
  }
  for (size_t i = count; i < op->getNumResults(); ++i) {
    Type yielded = yield->getOperand(lead + i).getType();
    RankedTensorType type = FunctionLowering::convert(yielded);
    if (!type)
      return op->emitOpError() << "has a scan output of type " << yielded
                               << "; a ranked tensor of numbers is accepted";
    rows.push_back({l, type});
  }
  return success();
}

LogicalResult
Iteration::run(ValueRange carried, SmallVectorImpl<Value> &next,
               llvm::function_ref<Value(size_t, Value, Value)> addRow) {
  for (size_t i = 0; i < types.size(); ++i)
    l.set(body.getArgument(leadArgs + i), carried[i]);
  if (failed(l.lowerBlock(body)))
    return failure();
  Operation *yield = body.getTerminator();
  for (auto [i, type] : llvm::enumerate(types)) {
    next.push_back(
        castShape(l, l.tensor(yield->getOperand(lead + i)), type));
  }
  for (size_t i = 0; i < rows.size(); ++i)
    next.push_back(addRow(
        i, carried[types.size() + i],
        castShape(l, l.tensor(yield->getOperand(lead + types.size() + i)),
                  rows[i].rowType)));
  return success();
}

static LogicalResult lowerLoop(FunctionLowering &l, Operation *op) {
  Value onnxTrips = operand(op, 0), onnxCondition = operand(op, 1);
  Iteration loop(l, op, /*lead=*/1, /*leadArgs=*/2);
  Block &body = loop.body;
  if (body.getNumArguments() < 2)
    return op->emitOpError() << "has a body with " << body.getNumArguments()
                             << " inputs; at least 2 are expected";
  size_t count = body.getNumArguments() - 2;
  if (op->getNumOperands() < count)
    return op->emitOpError() << "has a body with " << body.getNumArguments()
                             << " inputs and fewer values to carry";
  if (failed(loop.prepare(op->getOperands().take_back(count))))
    return failure();

  OpFoldResult trips;
  if (onnxTrips) {
    FailureOr<Extents> known = l.elementsOrLoad(op, onnxTrips);
    if (failed(known))
      return failure();
    if (known->size() != 1)
      return op->emitOpError() << "has " << known->size()
                               << " trip counts; exactly 1 is accepted";
    trips = l.max(known->front(), l.index(0));
  }
  Value yielded = body.getTerminator()->getOperand(0);
  bool always = !onnxCondition || (staysTrue(l, onnxCondition, {}) &&
                                   staysTrue(l, yielded, body.getArgument(1)));
  if (always && !trips)
    return unsupported(op, "a loop without a trip count and a condition");

  bool ok = true;
  SmallVector<Value> results;
  OpFoldResult done;
  if (always) {
    loop.startRows(trips);
    results = forRange(
        l, l.index(0), trips, l.index(1), loop.init,
        [&](Value i, ValueRange carried) -> SmallVector<Value> {
          FunctionLowering::RegionScope scope(l);
          l.setElements(body.getArgument(0), {i});
          l.setElements(body.getArgument(1), {l.index(1)});
          SmallVector<Value> next;
          if (failed(loop.run(
                  carried, next, [&](size_t number, Value all, Value row) {
                    return loop.rows[number].append(all, row, i, i, trips);
                  }))) {
            ok = false;
            return SmallVector<Value>(carried);
          }
          return next;
        });
    done = trips;
  } else {
    FailureOr<Value> first = loadCondition(l, op, onnxCondition);
    if (failed(first))
      return failure();
    loop.startRows(l.index(0));
    SmallVector<Value> init{l.value(l.index(0)), *first};
    llvm::append_range(init, loop.init);
    results = whileDo(
        l, init,
        [&](ValueRange carried) -> Value {
          if (!trips)
            return carried[1];
          Value more = l.compare(arith::CmpIPredicate::slt, carried[0], trips);
          return arith::AndIOp::create(l.b, l.loc(), more, carried[1]);
        },
        [&](ValueRange carried) -> SmallVector<Value> {
          FunctionLowering::RegionScope scope(l);
          Value i = carried[0];
          l.setElements(body.getArgument(0), {i});
          l.setElements(body.getArgument(1), {l.index(1)});
          SmallVector<Value> next{l.value(l.add(i, l.index(1))), carried[1]};
          FailureOr<Value> go = failure();
          if (succeeded(loop.run(carried.drop_front(2), next,
                                 [&](size_t number, Value all, Value row) {
                                   return loop.rows[number].append(all, row, i,
                                                                   i, {});
                                 })))
            go = loadCondition(l, op, yielded);
          if (failed(go)) {
            ok = false;
            return SmallVector<Value>(carried);
          }
          next[1] = *go;
          return next;
        });
    done = results[0];
    results.erase(results.begin(), results.begin() + 2);
  }
  if (!ok)
    return failure();
  for (size_t i = 0; i < count; ++i)
    l.set(op->getResult(i), results[i]);
  for (auto [i, rows] : llvm::enumerate(loop.rows))
    l.set(op->getResult(count + i), rows.finish(results[count + i], done));
  return success();
}

//===----------------------------------------------------------------------===//
// Scan
//===----------------------------------------------------------------------===//

static LogicalResult lowerScan(FunctionLowering &l, Operation *op) {
  Iteration loop(l, op, /*lead=*/0, /*leadArgs=*/0);
  Block &body = loop.body;
  int64_t inputs = intAttr(op, "num_scan_inputs", 0);
  int64_t count = static_cast<int64_t>(op->getNumOperands()) - inputs;
  if (inputs < 1 || count < 0 || body.getNumArguments() != op->getNumOperands())
    return op->emitOpError()
           << "has " << op->getNumOperands() << " operands, num_scan_inputs "
           << inputs << " and a body with " << body.getNumArguments()
           << " inputs, which do not fit together";
  if (failed(loop.prepare(op->getOperands().take_front(count))))
    return failure();
  auto list = [&](StringRef name, size_t size) {
    SmallVector<int64_t> values =
        intsAttr(op, name).value_or(SmallVector<int64_t>());
    values.resize(std::max(values.size(), size), 0);
    return values;
  };
  SmallVector<int64_t> axes = list("scan_input_axes", inputs);
  SmallVector<int64_t> backward = list("scan_input_directions", inputs);
  SmallVector<int64_t> outAxes = list("scan_output_axes", loop.rows.size());
  SmallVector<int64_t> outBackward =
      list("scan_output_directions", loop.rows.size());

  OpFoldResult trips;
  SmallVector<Value> sources;
  SmallVector<Extents> shapes;
  for (int64_t i = 0; i < inputs; ++i) {
    Value input = op->getOperand(count + i);
    int64_t rank = rankOf(input);
    axes[i] = normalizeAxis(axes[i], rank);
    RankedTensorType argument =
        FunctionLowering::convert(body.getArgument(count + i).getType());
    if (axes[i] < 0 || axes[i] >= rank || !argument ||
        argument.getRank() != rank - 1)
      return op->emitOpError()
             << "scans input #" << i << " of type " << input.getType()
             << " along axis " << axes[i] << " into a body that takes "
             << body.getArgument(count + i).getType();
    OpFoldResult extent = l.dim(input, axes[i]);
    if (i == 0)
      trips = extent;
    else
      l.checkEqual(trips, extent, "scan inputs differ in length");
    sources.push_back(l.tensor(input));
    shapes.push_back(l.dims(input));
  }

  loop.startRows(trips);
  bool ok = true;
  OpFoldResult last = l.sub(trips, l.index(1));
  SmallVector<Value> results = forRange(
      l, l.index(0), trips, l.index(1), loop.init,
      [&](Value step, ValueRange carried) -> SmallVector<Value> {
        FunctionLowering::RegionScope scope(l);
        for (int64_t i = 0; i < inputs; ++i) {
          Extents sizes = shapes[i], offsets(sizes.size(), l.index(0)),
                  ones(sizes.size(), l.index(1));
          offsets[axes[i]] =
              backward[i] ? l.sub(last, step) : OpFoldResult(step);
          sizes[axes[i]] = l.index(1);
          SmallVector<int64_t> shape;
          for (auto [d, extent] : llvm::enumerate(sizes))
            if (static_cast<int64_t>(d) != axes[i])
              shape.push_back(
                  getConstantIntValue(extent).value_or(ShapedType::kDynamic));
          auto type = RankedTensorType::get(shape, elementOf(sources[i]));
          l.set(body.getArgument(count + i),
                tensor::ExtractSliceOp::create(l.b, l.loc(), type, sources[i],
                                               offsets, sizes, ones));
        }
        SmallVector<Value> next;
        if (failed(loop.run(
                carried, next, [&](size_t number, Value all, Value row) {
                  OpFoldResult place = outBackward[number] ? l.sub(last, step)
                                                           : OpFoldResult(step);
                  return loop.rows[number].append(all, row, place, step, trips);
                }))) {
          ok = false;
          return SmallVector<Value>(carried);
        }
        return next;
      });
  if (!ok)
    return failure();
  for (int64_t i = 0; i < count; ++i)
    l.set(op->getResult(i), results[i]);
  for (auto [i, rows] : llvm::enumerate(loop.rows)) {
    Value all = rows.finish(results[count + i], trips);
    int64_t rank = rankOf(all), axis = normalizeAxis(outAxes[i], rank);
    if (axis < 0 || axis >= rank)
      return op->emitOpError() << "has scan_output_axes " << outAxes[i]
                               << " for an output of rank " << rank;
    if (axis != 0) {
      Extents from;
      SmallVector<int64_t> perm;
      for (int64_t d = 0; d < rank; ++d)
        from.push_back(extentOf(l, all, d));
      for (int64_t d = 1; d < rank; ++d)
        perm.push_back(d);
      perm.insert(perm.begin() + axis, 0);
      all = l.transpose(all, from, perm);
    }
    l.set(op->getResult(count + i), all);
  }
  return success();
}

//===----------------------------------------------------------------------===//
// Calls
//===----------------------------------------------------------------------===//

/// A call of a function that layers share. The callee is translated with the
/// types that its values have here.
static LogicalResult lowerCall(FunctionLowering &l, Operation *op) {
  auto call = cast<func::CallOp>(op);
  SmallVector<Type> types;
  for (Type type : call.getResultTypes())
    types.push_back(FunctionLowering::convert(type));
  auto lowered = func::CallOp::create(l.b, l.loc(), call.getCallee(), types,
                                      l.tensors(op->getOperands()));
  if (Attribute arguments = op->getAttr(rt::argumentsAttr))
    lowered->setAttr(rt::argumentsAttr, arguments);
  for (auto [result, value] :
       llvm::zip(call.getResults(), lowered.getResults())) {
    l.set(result, value);
    Extents extents;
    for (int64_t i = 0; i < rankOf(result); ++i)
      extents.push_back(extentOf(l, value, i));
    l.bindDims(result, extents);
  }
  return success();
}

void lower::registerControlFlow(LoweringTable &table) {
  table.add("func.call", lowerCall);
  table.add("onnx.If", lowerIf);
  table.add("onnx.Loop", lowerLoop);
  table.add("onnx.Scan", lowerScan);
}
