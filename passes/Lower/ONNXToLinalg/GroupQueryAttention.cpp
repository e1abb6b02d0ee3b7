//===- GroupQueryAttention.cpp - attention over a cache -------------------===//
//
// com.microsoft.GroupQueryAttention. Each batch entry b has a length of its
// own: T = seqlens_k[b] + 1 tokens after this step, of which Q are new and P
// were there before. What the operator does with the cache is one gather: row
// j of the keys that are attended to is row j of the past for j < lead, then
// the new keys. Without a window-sized cache lead is P, row j is position j,
// and these rows are the present. With one, lead are the rows that the cache
// still holds of P tokens, and the present is the end of the attended rows.
//
// What is attended to becomes moe.attend, which holds a few rows of scores at a
// time. Scores of keys that a query must not see are -inf before the softmax.
// Rows without a key at all (padding) give 0.
//
// Letters: B batch, S new tokens, N heads of queries in K groups of G, D width
// of a head, A attended rows.
//
//===----------------------------------------------------------------------===//

#include "dialects/MoE/MoEDialect.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "passes/Lower/ONNXToLinalg/Reductions.h"
#include <cmath>
#include <limits>

using namespace mlir;
using namespace moe;
using namespace moe::lower;

namespace {

/// Places of the operands in the schema.
enum Place : unsigned {
  Query,
  Key,
  ValueOf,
  PastKey,
  PastValue,
  Lengths,
  Total,
  Cos,
  Sin,
  Positions,
  Bias,
  Sink,
  KeyScale,
  ValueScale,
  QueryNorm,
  KeyNorm,
  QueryLengths
};

/// Integer arithmetic on scalars in a body.
struct Scalars {
  OpBuilder &b;
  Location loc;

  Value add(Value x, Value y) { return arith::AddIOp::create(b, loc, x, y); }
  Value sub(Value x, Value y) { return arith::SubIOp::create(b, loc, x, y); }
  Value compare(arith::CmpIPredicate predicate, Value x, Value y) {
    return arith::CmpIOp::create(b, loc, predicate, x, y);
  }
  Value less(Value x, Value y) {
    return compare(arith::CmpIPredicate::slt, x, y);
  }
  Value both(Value x, Value y) { return arith::AndIOp::create(b, loc, x, y); }
  Value select(Value condition, Value x, Value y) {
    return arith::SelectOp::create(b, loc, condition, x, y);
  }
  Value number(int64_t n) {
    return arith::ConstantIntOp::create(b, loc, b.getI64Type(), n);
  }
  Value toIndex(Value x) {
    return arith::IndexCastOp::create(b, loc, b.getIndexType(), x);
  }
  /// Number of loop `dim`.
  Value loop(unsigned dim) { return linalg::IndexOp::create(b, loc, dim); }
  Value loop64(unsigned dim) {
    return arith::IndexCastOp::create(b, loc, b.getI64Type(), loop(dim));
  }
  /// `then` where the condition holds, without computing it elsewhere.
  Value guarded(Value condition, llvm::function_ref<Value(OpBuilder &)> then,
                llvm::function_ref<Value(OpBuilder &)> otherwise) {
    auto fill = [&](llvm::function_ref<Value(OpBuilder &)> build) {
      return [=](OpBuilder &nested, Location at) {
        scf::YieldOp::create(nested, at, build(nested));
      };
    };
    return scf::IfOp::create(b, loc, condition, fill(then), fill(otherwise))
        .getResult(0);
  }
};

class GroupQuery {
public:
  GroupQuery(FunctionLowering &lowering, Operation *op)
      : l(lowering), op(op), loc(lowering.loc()) {}
  LogicalResult lower();

private:
  Value get(Place place) { return operand(op, place); }
  bool has(Place place) { return bool(get(place)); }
  AffineMap map(unsigned loops, ArrayRef<unsigned> dims) {
    SmallVector<AffineExpr> exprs;
    for (unsigned d : dims)
      exprs.push_back(l.b.getAffineDimExpr(d));
    return AffineMap::get(loops, 0, exprs, l.b.getContext());
  }
  /// An extent as i64.
  Value toI64(OpFoldResult extent) {
    return arith::IndexCastOp::create(l.b, loc, l.b.getI64Type(),
                                      l.value(extent));
  }

  void readSizes();
  void readLengths();
  Value residentRows(Value counts);
  void checkAll(ValueRange perEntry, const Twine &message,
                llvm::function_ref<Value(Scalars, ValueRange)> condition);
  void splitHeads();
  Value normaliseHeads(Value heads, OpFoldResult count, Value weight,
                       double epsilon);
  void rotateHeads();
  Value rotate(Value heads, OpFoldResult count, Value positions);
  Value attendedRows(Value past, Value fresh, OpFoldResult rows);
  Value presentRows(Value attended);
  Value biasOfRows();
  Value attend(Value keys, Value values);

  FunctionLowering &l;
  Operation *op;
  Location loc;
  int64_t heads = 0, keyHeads = 0, window = -1;
  bool causal = true, sliding = false;
  Type element, f32;
  OpFoldResult batch, tokens, width, past, total, capacity, attended;
  /// Projections [B, S, heads, D].
  Value query, key, value;
  /// i64 [B]: T, Q, P, and the rows of the past that are attended to.
  Value length, fresh, cached, lead;
};

/// Extents, and those of them that must agree.
void GroupQuery::readSizes() {
  heads = intAttr(op, "num_heads", 0);
  keyHeads = intAttr(op, "kv_num_heads", 0);
  window = intAttr(op, "local_window_size", -1);
  causal = intAttr(op, "causal", 1) != 0;
  sliding = intAttr(op, "sliding_window_cache", 0) != 0;
  Value q = get(Query);
  element = elementOf(l.tensor(q));
  f32 = l.b.getF32Type();
  batch = l.dim(q, 0);
  tokens = l.dim(q, 1);
  int64_t parts = has(Key) ? heads : heads + 2 * keyHeads;
  width = l.div(l.dim(q, 2), l.index(parts));
  if (!getConstantIntValue(width))
    l.checkEqual(l.mul(width, l.index(parts)), l.dim(q, 2),
                 "the width of the queries does not divide into heads");

  auto equal = [&](Place place, int64_t i, OpFoldResult wanted,
                   StringRef what) {
    if (has(place) && i < rankOf(get(place)))
      l.checkEqual(l.dim(get(place), i), wanted, what);
  };
  for (Place place : {Key, ValueOf}) {
    equal(place, 0, batch, "query and key or value differ in their batch");
    equal(place, 1, tokens, "there are not as many keys or values as queries");
    equal(place, 2, l.mul(width, l.index(keyHeads)),
          "key or value do not have the width of their heads");
  }
  past = has(PastKey) ? l.dim(get(PastKey), 2) : l.index(0);
  for (Place place : {PastKey, PastValue}) {
    equal(place, 0, batch, "query and past differ in their batch");
    equal(place, 2, past, "past_key and past_value differ in length");
    equal(place, 3, width, "query and past differ in the width of a head");
  }
  equal(Lengths, 0, batch, "seqlens_k does not have one entry for each batch");
  equal(QueryLengths, 0, batch,
        "query_seqlens does not have one entry for each batch");
  equal(Sink, 0, l.index(heads), "head_sink does not have an entry per head");
  for (Place place : {QueryNorm, KeyNorm})
    equal(place, 0, width, "a norm's weight does not have the width of a head");
  equal(Positions, 0, batch, "position_ids does not have the batch of query");
  equal(Positions, 1, tokens,
        "position_ids does not have a position for each query");

  if (const Extents *known = l.elements(get(Total))) {
    total = known->front();
  } else {
    Extents at(rankOf(get(Total)), l.index(0));
    equal(Total, 0, l.index(1), "total_sequence_length is not one number");
    total = arith::IndexCastOp::create(l.b, loc, l.b.getIndexType(),
                                       l.extract(l.tensor(get(Total)), at))
                .getResult();
  }
  auto sge = arith::CmpIPredicate::sge, eq = arith::CmpIPredicate::eq;
  if (sliding) {
    l.check(l.compare(sge, past, l.index(window)),
            "the cache has fewer rows than the window of " + Twine(window));
    capacity = past;
    attended = l.add(past, tokens);
  } else {
    l.check(l.compare(sge, total, tokens),
            "total_sequence_length is less than the number of new tokens");
    // The present is that long: nobody asks for rows that hold nothing.
    if (!has(QueryLengths))
      l.check(l.compare(sge, l.add(past, tokens), total),
              "total_sequence_length exceeds the past and the new tokens");
    capacity = l.max(total, past);
    attended = total;
  }
  if (!has(QueryLengths)) {
    // How many tokens of each entry are new would be anybody's guess.
    Value one = l.compare(eq, batch, l.index(1));
    Value step = l.compare(arith::CmpIPredicate::sle, tokens, l.index(1));
    Value prompt = l.compare(eq, tokens, total);
    Value ok = l.b.createOrFold<arith::OrIOp>(loc, one, step);
    l.check(l.b.createOrFold<arith::OrIOp>(loc, ok, prompt),
            "several new tokens behind a past need a batch of 1 or "
            "query_seqlens");
  }
  if (has(Bias)) {
    Value bias = get(Bias);
    equal(Bias, 2, tokens, "attention_bias does not have a row per query");
    equal(Bias, 3, total,
          "attention_bias does not have total_sequence_length columns");
    auto oneOr = [&](int64_t i, OpFoldResult wanted, StringRef what) {
      OpFoldResult own = l.dim(bias, i);
      if (isConstantIntValue(own, 1) || own == wanted)
        return;
      Value ok = l.b.createOrFold<arith::OrIOp>(loc, l.compare(eq, own, wanted),
                                                l.compare(eq, own, l.index(1)));
      l.check(ok, what, /*code=*/3);
    };
    oneOr(0, batch, "attention_bias does not broadcast to the batch");
    oneOr(1, l.index(heads), "attention_bias does not broadcast to the heads");
  }
}

/// Ends the run unless a condition holds for all entries of the batch.
void GroupQuery::checkAll(
    ValueRange perEntry, const Twine &message,
    llvm::function_ref<Value(Scalars, ValueRange)> condition) {
  Value init = l.filled({}, l.constant(l.b.getBoolAttr(true)));
  SmallVector<AffineMap> maps(perEntry.size(), map(1, {0}));
  Value all =
      l.reduce(batch, true, init, perEntry, maps,
               [&](OpBuilder &b, Location at, ValueRange in, Value sofar) {
                 return Scalars{b, at}.both(sofar, condition({b, at}, in));
               });
  l.check(l.extract(all, {}), message);
}

/// Rows that a window-sized cache holds after `counts` tokens: all of them as
/// long as they fit; then room is made for G = capacity - window + 1 at once.
Value GroupQuery::residentRows(Value counts) {
  Value rows = toI64(capacity), window = toI64(l.index(this->window));
  AffineMap one = map(1, {0});
  return l.pointwise(
      batch, l.b.getI64Type(), counts, one,
      [&](OpBuilder &b, Location at, ValueRange args) {
        Scalars s{b, at};
        Value step = s.add(s.sub(rows, window), s.number(1));
        Value excess = s.sub(args[0], rows);
        excess = arith::MaxSIOp::create(b, at, excess, s.number(0));
        Value steps = arith::DivSIOp::create(
            b, at, s.sub(s.add(excess, step), s.number(1)), step);
        return s.sub(args[0], arith::MulIOp::create(b, at, step, steps));
      });
}

void GroupQuery::readLengths() {
  Type i64 = l.b.getI64Type();
  AffineMap one = map(1, {0});
  auto wide = [&](Place place, int64_t plus) {
    Value lengths = l.tensor(get(place));
    lengths = l.reshape(lengths, l.dims(get(place)), batch);
    return l.pointwise(batch, i64, lengths, one,
                       [&](OpBuilder &b, Location at, ValueRange args) {
                         Scalars s{b, at};
                         Value v = arith::ExtSIOp::create(b, at, i64, args[0]);
                         return plus ? s.add(v, s.number(plus)) : v;
                       });
  };
  length = wide(Lengths, 1);
  Value most = toI64(total), count = toI64(tokens), room = toI64(past);
  auto sle = arith::CmpIPredicate::sle;
  checkAll(length,
           "seqlens_k has an entry outside of 0 to total_sequence_length - 1",
           [&](Scalars s, ValueRange in) {
             return s.both(s.less(s.number(0), in[0]),
                           s.compare(sle, in[0], most));
           });
  if (has(QueryLengths)) {
    fresh = wide(QueryLengths, 0);
    checkAll({fresh, length},
             "query_seqlens has an entry outside of 0 to the smaller one of "
             "sequence_length and seqlens_k + 1",
             [&](Scalars s, ValueRange in) {
               Value ok = s.compare(sle, s.number(0), in[0]);
               ok = s.both(ok, s.compare(sle, in[0], count));
               return s.both(ok, s.compare(sle, in[0], in[1]));
             });
  } else {
    fresh = l.pointwise(
        batch, i64, length, one,
        [&](OpBuilder &b, Location at, ValueRange args) {
          return arith::MinSIOp::create(b, at, args[0], count).getResult();
        });
  }
  cached = l.pointwise(batch, i64, {length, fresh}, {one, one},
                       [](OpBuilder &b, Location at, ValueRange args) {
                         return Scalars{b, at}.sub(args[0], args[1]);
                       });
  if (sliding) {
    lead = residentRows(cached);
    return;
  }
  lead = cached;
  checkAll(
      cached, "seqlens_k counts more tokens before this step than the past has",
      [&](Scalars s, ValueRange in) { return s.compare(sle, in[0], room); });
}

/// Sets the projections, [B, S, heads, D] each.
void GroupQuery::splitHeads() {
  auto split = [&](Value onnx, int64_t count) {
    return l.reshape(l.tensor(onnx), l.dims(onnx),
                     {batch, tokens, l.index(count), width});
  };
  if (has(Key)) {
    query = split(get(Query), heads);
    key = split(get(Key), keyHeads);
    value = split(get(ValueOf), keyHeads);
    return;
  }
  Value packed = split(get(Query), heads + 2 * keyHeads);
  int64_t from = 0;
  auto take = [&](int64_t count) {
    Extents offsets(4, l.index(0)), steps(4, l.index(1));
    offsets[2] = l.index(from);
    from += count;
    return l.slice(packed, offsets, {batch, tokens, l.index(count), width},
                   steps);
  };
  query = take(heads);
  key = take(keyHeads);
  value = take(keyHeads);
}

/// RMS norm of each head, in f32.
Value GroupQuery::normaliseHeads(Value heads, OpFoldResult count, Value weight,
                                 double epsilon) {
  Extents shape{batch, tokens, count, width};
  Reduction rows(l, heads, shape, {false, false, false, true});
  Value square =
      rows.mean(f32, [&](OpBuilder &b, Location at, ValueRange args) {
        Value v = widen(b, at, args[0]);
        return arith::MulFOp::create(b, at, v, v).getResult();
      });
  Value eps = l.scalar(f32, epsilon);
  return l.pointwise(
      shape, f32, {heads, square, l.tensor(weight)},
      {map(4, {0, 1, 2, 3}), map(4, {0, 1, 2}), map(4, {3})},
      [&](OpBuilder &b, Location at, ValueRange args) {
        Value root = arith::AddFOp::create(b, at, args[1], eps);
        root = math::SqrtOp::create(b, at, root);
        Value v = arith::DivFOp::create(b, at, widen(b, at, args[0]), root);
        return arith::MulFOp::create(b, at, v, widen(b, at, args[2]))
            .getResult();
      });
}

/// Rotates the dims of each head by the angles of its position. Angles are
/// there for the first 2 * half dims; the others stay.
Value GroupQuery::rotate(Value heads, OpFoldResult count, Value positions) {
  bool interleaved = intAttr(op, "rotary_interleaved", 0) != 0;
  Value cos = l.tensor(get(Cos)), sin = l.tensor(get(Sin));
  OpFoldResult half = l.dim(get(Cos), 1);
  Value pairs = l.value(half), lastPair = l.value(l.sub(half, l.index(1)));
  Value lastDim = l.value(l.sub(width, l.index(1)));
  OpFoldResult rotated = l.mul(half, l.index(2));
  Value end = l.value(rotated);
  bool whole = getConstantIntValue(rotated) &&
               getConstantIntValue(rotated) == getConstantIntValue(width);
  Value two = l.value(l.index(2)), one = l.value(l.index(1));
  return l.pointwise(
      {batch, tokens, count, width}, f32, {heads, positions},
      {map(4, {0, 1, 2, 3}), map(4, {0, 1})},
      [&](OpBuilder &b, Location at, ValueRange args) {
        Scalars s{b, at};
        Value d = s.loop(3), pair, partner, first;
        if (interleaved) {
          pair = arith::DivUIOp::create(b, at, d, two);
          Value odd = arith::RemUIOp::create(b, at, d, two);
          first = s.less(odd, one);
          Value behind = arith::MinSIOp::create(b, at, s.add(d, one), lastDim);
          partner = s.select(first, behind, s.sub(d, odd));
        } else {
          first = s.less(d, pairs);
          pair = s.select(first, d, s.sub(d, pairs));
          partner = s.select(first, s.add(d, pairs), pair);
        }
        if (!whole)
          pair = arith::MinSIOp::create(b, at, pair, lastPair);
        Value position = s.toIndex(args[1]);
        auto read = [&](Value from, ValueRange where) {
          return widen(b, at, tensor::ExtractOp::create(b, at, from, where));
        };
        Value x = widen(b, at, args[0]);
        Value other = read(heads, {s.loop(0), s.loop(1), s.loop(2), partner});
        Value minus = arith::NegFOp::create(b, at, other);
        other = s.select(first, minus, other);
        Value turned = arith::AddFOp::create(
            b, at, arith::MulFOp::create(b, at, x, read(cos, {position, pair})),
            arith::MulFOp::create(b, at, other, read(sin, {position, pair})));
        return whole ? turned : s.select(s.less(d, end), turned, x);
      });
}

/// Rotary embedding of queries and keys.
void GroupQuery::rotateHeads() {
  Value cos = get(Cos), sin = get(Sin);
  for (int64_t i : {0, 1})
    l.checkEqual(l.dim(cos, i), l.dim(sin, i),
                 "cos_cache and sin_cache differ in their extents");
  OpFoldResult half = l.dim(cos, 1), rows = l.dim(cos, 0);
  auto sle = arith::CmpIPredicate::sle;
  l.check(l.compare(sle, l.index(1), half), "cos_cache has no angles");
  l.check(l.compare(sle, l.mul(half, l.index(2)), width),
          "cos_cache has more angles than half the width of a head");

  // Padding gets position 0. Given positions of a first prompt count from the
  // very first of them.
  Type i64 = l.b.getI64Type();
  SmallVector<Value> operands{cached, fresh};
  SmallVector<AffineMap> maps{map(2, {0}), map(2, {0})};
  Value given, prompt;
  if (has(Positions)) {
    given = l.tensor(get(Positions));
    operands.push_back(given);
    maps.push_back(map(2, {0, 1}));
    prompt = has(QueryLengths)
                 ? l.constant(l.b.getBoolAttr(false))
                 : l.compare(arith::CmpIPredicate::eq, tokens, total);
  }
  Value zero = l.value(l.index(0));
  Value positions = l.pointwise(
      {batch, tokens}, i64, operands, maps,
      [&](OpBuilder &b, Location at, ValueRange args) {
        Scalars s{b, at};
        Value row = s.loop64(1), position;
        if (given) {
          Value start =
              tensor::ExtractOp::create(b, at, given, ValueRange{zero, zero});
          position = s.select(prompt, s.add(start, row), args[2]);
        } else {
          position = s.add(args[0], row);
        }
        return s.select(s.less(row, args[1]), position, s.number(0));
      });
  Value limit = toI64(rows);
  Value init = l.filled({}, l.constant(l.b.getBoolAttr(true)));
  Value inside =
      l.reduce({batch, tokens}, {true, true}, init, positions, map(2, {0, 1}),
               [&](OpBuilder &b, Location at, ValueRange in, Value sofar) {
                 Scalars s{b, at};
                 Value ok = s.compare(sle, s.number(0), in[0]);
                 return s.both(sofar, s.both(ok, s.less(in[0], limit)));
               });
  l.check(l.extract(inside, {}),
          "a position is outside of the rows of cos_cache");
  query = rotate(query, l.index(heads), positions);
  key = rotate(key, l.index(keyHeads), positions);
}

/// [B, K, rows, D]: `lead` rows of the past, then the new ones, then zeros.
Value GroupQuery::attendedRows(Value onnxPast, Value news, OpFoldResult rows) {
  Value before = onnxPast ? l.tensor(onnxPast) : Value();
  Value none = l.scalar(element, 0);
  return l.pointwise(
      {batch, l.index(keyHeads), rows, width}, element, {lead, fresh},
      {map(4, {0}), map(4, {0})},
      [&](OpBuilder &b, Location at, ValueRange args) {
        Scalars s{b, at};
        Value n = s.loop(0), head = s.loop(1), row = s.loop64(2), d = s.loop(3);
        auto fromNew = [&](OpBuilder &nested) -> Value {
          Scalars t{nested, at};
          Value token = t.toIndex(t.sub(row, args[0]));
          Value v = tensor::ExtractOp::create(nested, at, news,
                                              ValueRange{n, token, head, d});
          return narrow(nested, at, v, element);
        };
        auto behind = [&](OpBuilder &nested) {
          Scalars t{nested, at};
          return t.guarded(t.less(row, t.add(args[0], args[1])), fromNew,
                           [&](OpBuilder &) { return none; });
        };
        if (!before)
          return behind(b);
        return s.guarded(
            s.less(row, args[0]),
            [&](OpBuilder &nested) -> Value {
              return tensor::ExtractOp::create(
                  nested, at, before,
                  ValueRange{n, head, Scalars{nested, at}.toIndex(row), d});
            },
            behind);
      });
}

/// The window-sized cache after this step: the last attended rows.
Value GroupQuery::presentRows(Value rows) {
  Value kept = residentRows(length);
  Value none = l.scalar(element, 0);
  AffineMap entry = map(4, {0});
  return l.pointwise(
      {batch, l.index(keyHeads), capacity, width}, element, {kept, lead, fresh},
      {entry, entry, entry}, [&](OpBuilder &b, Location at, ValueRange args) {
        Scalars s{b, at};
        Value n = s.loop(0), head = s.loop(1), row = s.loop64(2), d = s.loop(3);
        return s.guarded(
            s.less(row, args[0]),
            [&](OpBuilder &nested) -> Value {
              Scalars t{nested, at};
              Value dropped = t.sub(t.add(args[1], args[2]), args[0]);
              Value from = t.toIndex(t.add(row, dropped));
              return tensor::ExtractOp::create(nested, at, rows,
                                               ValueRange{n, head, from, d});
            },
            [&](OpBuilder &) { return none; });
      });
}

/// The bias of each attended row: that of its position.
Value GroupQuery::biasOfRows() {
  Value bias = l.tensor(get(Bias));
  // Without a window-sized cache row j is position j.
  if (!sliding)
    return bias;
  Value rows = l.value(l.dim(get(Bias), 0));
  Value one = l.value(l.index(1)), zero = l.value(l.index(0));
  Value most = toI64(total), none = l.scalar(elementOf(bias), 0);
  AffineMap entry = map(4, {0});
  return l.pointwise(
      {batch, l.dim(get(Bias), 1), tokens, attended}, elementOf(bias),
      {cached, lead}, {entry, entry},
      [&](OpBuilder &b, Location at, ValueRange args) {
        Scalars s{b, at};
        Value to = s.add(s.loop64(3), s.sub(args[0], args[1]));
        Value n = s.select(s.compare(arith::CmpIPredicate::eq, rows, one), zero,
                           s.loop(0));
        Value inside =
            s.both(s.compare(arith::CmpIPredicate::sle, s.number(0), to),
                   s.less(to, most));
        SmallVector<Value> where{n, s.loop(1), s.loop(2)};
        return s.guarded(
            inside,
            [&](OpBuilder &nested) -> Value {
              where.push_back(Scalars{nested, at}.toIndex(to));
              return tensor::ExtractOp::create(nested, at, bias, where);
            },
            [&](OpBuilder &) { return none; });
      });
}

/// Softmax of the scores and the mean of the values, [B, S, N, D].
///
/// Row j of the attended ones has position j + P - lead, query i of an entry
/// position P + i: so j <= i + lead is what causality leaves.
Value GroupQuery::attend(Value keys, Value values) {
  AffineMap one = map(1, {0});
  auto perEntry = [&](ValueRange operands, BodyFn body) {
    SmallVector<AffineMap> maps(operands.size(), one);
    return l.pointwise(batch, l.b.getIndexType(), operands, maps, body);
  };
  Value shifts = perEntry(lead, [](OpBuilder &b, Location at, ValueRange args) {
    return Scalars{b, at}.toIndex(args[0]);
  });
  Value lengths =
      perEntry({lead, fresh}, [](OpBuilder &b, Location at, ValueRange args) {
        Scalars s{b, at};
        return s.toIndex(s.add(args[0], args[1]));
      });

  double scale = floatAttr(op, "scale", 0), cap = floatAttr(op, "softcap", 0);
  auto known = getConstantIntValue(width);
  if (scale == 0 && known) {
    scale = 1 / std::sqrt(static_cast<double>(*known));
  } else if (scale == 0) {
    Value root =
        math::SqrtOp::create(l.b, loc, toFloat(l.b, loc, l.value(width), f32));
    query = l.pointwise({batch, tokens, l.index(heads), width}, f32, query,
                        AffineMap::getMultiDimIdentityMap(4, l.b.getContext()),
                        [&](OpBuilder &b, Location at, ValueRange args) {
                          return arith::DivFOp::create(
                                     b, at, widen(b, at, args[0]), root)
                              .getResult();
                        });
    scale = 1;
  }
  // A sink is one more score, of a key whose value is 0.
  Value sinks;
  if (has(Sink))
    sinks = l.castTo(l.tensor(get(Sink)), f32);
  else if (intAttr(op, "smooth_softmax", -1) == 1)
    sinks = l.filled(l.index(heads), l.scalar(f32, 0));

  Value bias = has(Bias) ? biasOfRows() : Value();
  Value out = l.allocate({batch, tokens, l.index(heads), width}, element);
  // Buffers are taken when all tensors are there: what is computed after that
  // may reuse them.
  for (Value *tensor :
       {&query, &keys, &values, &bias, &sinks, &shifts, &lengths})
    if (*tensor)
      *tensor = l.readable(*tensor);
  auto byToken = l.b.getDenseI64ArrayAttr({0, 2, 1, 3});
  auto asThey = l.b.getDenseI64ArrayAttr({0, 1, 2, 3});
  auto flag = [&](bool set) { return set ? l.b.getUnitAttr() : UnitAttr(); };
  ir::AttendOp::create(
      l.b, loc, query, keys, values, bias, Value(), sinks, Value(), shifts,
      lengths, out, Value(), Value(), l.b.getF64FloatAttr(scale),
      l.b.getF64FloatAttr(cap), flag(causal),
      window >= 0 ? l.b.getI64IntegerAttr(window) : IntegerAttr(),
      l.b.getF64FloatAttr(-std::numeric_limits<double>::infinity()),
      // Rows without a key, which are padding, give 0.
      flag(true), byToken, asThey, asThey, byToken);
  return l.finished(out);
}

LogicalResult GroupQuery::lower() {
  for (Place place : {KeyScale, ValueScale})
    if (has(place))
      return unsupported(op, "a cache in few bits (k_scale, v_scale); a cache "
                             "of the queries' type is accepted");
  for (StringRef attr : {"k_quant_type", "v_quant_type"})
    if (stringAttr(op, attr, "NONE") != "NONE")
      return unsupported(op, attr + " = \"" + stringAttr(op, attr, "NONE") +
                                 "\"; \"NONE\" is accepted");
  if (result(op, 3) || intAttr(op, "qk_output", 0) != 0)
    return unsupported(op, "the scores as a result (output_qk); qk_output = 0 "
                           "is accepted");
  readSizes();
  readLengths();
  splitHeads();
  if (has(QueryNorm)) {
    double common = floatAttr(op, "qk_norm_epsilon", 1e-6f);
    query = normaliseHeads(query, l.index(heads), get(QueryNorm),
                           floatAttr(op, "q_norm_epsilon", common));
    key = normaliseHeads(key, l.index(keyHeads), get(KeyNorm),
                         floatAttr(op, "k_norm_epsilon", common));
  }
  if (intAttr(op, "do_rotary", 0) != 0)
    rotateHeads();

  auto rowsFor = [&](Place place, Value news, unsigned formal) {
    Value present = result(op, formal);
    bool isPresent = present && !sliding;
    Value rows =
        attendedRows(get(place), news, isPresent ? capacity : attended);
    if (!present)
      return rows;
    (void)l.bindDims(present, {batch, l.index(keyHeads), capacity, width});
    if (sliding) {
      l.set(present, presentRows(rows));
      return rows;
    }
    l.set(present, rows);
    if (capacity == attended)
      return rows;
    // A cache with room to spare: no query sees beyond `total`.
    Extents zeros(4, l.index(0)), ones(4, l.index(1));
    return l.slice(rows, zeros, {batch, l.index(keyHeads), attended, width},
                   ones);
  };
  Value keys = rowsFor(PastKey, key, 1);
  Value values = rowsFor(PastValue, value, 2);
  Value out = attend(keys, values);
  l.set(op->getResult(0),
        l.reshape(out, {batch, tokens, l.index(heads), width},
                  {batch, tokens, l.mul(width, l.index(heads))}));
  return success();
}

LogicalResult lowerGroupQueryAttention(FunctionLowering &l, Operation *op) {
  return GroupQuery(l, op).lower();
}

} // namespace

void lower::registerAttention(LoweringTable &table) {
  table.add("onnx_ms.GroupQueryAttention", lowerGroupQueryAttention);
}
