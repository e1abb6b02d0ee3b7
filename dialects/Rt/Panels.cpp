//===- Panels.cpp - #rt.panels --------------------------------------------===//
//
// Rearranges banks of weights while they are written. The sources are read
// where they are (files are mapped); of the result a few panels at a time are
// in memory, which all threads of the context fill.
//
//===----------------------------------------------------------------------===//
#include "dialects/Rt/RtDialect.h"

#include "mlir/IR/Threading.h"
#include "llvm/Support/Endian.h"
#include <cstring>

using namespace mlir;
using namespace moe::rt;

/// Bytes of one row of a source.
static uint64_t getRowBytes(uint64_t cols, int64_t bits, Type element) {
  if (bits)
    return (cols * bits + 7) / 8;
  return cols * getElementBytes(element);
}

LogicalResult PanelsAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                                 ShapedType type, ArrayAttr sources,
                                 int64_t rows, int64_t cols, bool transposed,
                                 PanelOrder order, int64_t width,
                                 int64_t bits) {
  if (!type.hasStaticShape() || type.getRank() != 4)
    return emitError() << "#rt.panels needs a static type of rank 4 [E, "
                          "panels, K, columns], got "
                       << type;
  size_t wanted = order == PanelOrder::Separate ? 2 : 1;
  if (sources.size() != wanted)
    return emitError() << "#rt.panels has " << sources.size()
                       << " sources; order = " << stringifyPanelOrder(order)
                       << " takes " << wanted;
  if (bits != 0 && bits != 2 && bits != 4 && bits != 8)
    return emitError() << "#rt.panels: bits = " << bits
                       << "; 0, 2, 4 and 8 are accepted";
  if (rows < 1 || cols < 1 || width < 1)
    return emitError() << "#rt.panels: rows = " << rows << ", cols = " << cols
                       << ", width = " << width
                       << "; 1 or more is accepted for each";

  int64_t experts = type.getDimSize(0), panels = type.getDimSize(1);
  int64_t depth = type.getDimSize(2), columns = type.getDimSize(3);
  bool gated = order != PanelOrder::Plain;
  if (columns < 1 || (gated && columns % 2))
    return emitError() << "#rt.panels: " << columns << " columns; "
                       << (gated ? "an even number" : "1 or more")
                       << " is accepted";
  int64_t perPanel = gated ? columns / 2 : columns;
  if (panels !=
      static_cast<int64_t>(llvm::divideCeil(static_cast<uint64_t>(width),
                                            static_cast<uint64_t>(perPanel))))
    return emitError() << "#rt.panels: " << panels << " panels of " << perPanel
                       << " do not hold a width of " << width;
  bool halves = order == PanelOrder::Concat || order == PanelOrder::Interleave;
  int64_t available = transposed ? cols : rows;
  if (available != (halves ? 2 * width : width))
    return emitError() << "#rt.panels: a source has " << available
                       << " columns of the product; order = "
                       << stringifyPanelOrder(order)
                       << " with width = " << width << " takes "
                       << (halves ? 2 * width : width);

  for (Attribute attribute : sources) {
    auto source = dyn_cast<ElementsAttr>(attribute);
    if (!source)
      return emitError() << "#rt.panels: a source is no elements attribute";
    Type element = source.getElementType();
    bool codes = element.isInteger(8) || element.isUnsignedInteger(8);
    bool floats =
        isa<Float16Type, BFloat16Type, Float32Type, Float64Type>(element);
    if (bits ? !codes : !(codes || floats))
      return emitError() << "#rt.panels: a source has elements of type "
                         << element << "; "
                         << (bits ? "8-bit integers"
                                  : "f16, bf16, f32, f64 and 8-bit integers")
                         << " are accepted";
    bool keepsBytes = codes && !bits;
    Type result = type.getElementType();
    bool keepsHalves =
        isa<Float16Type, BFloat16Type>(element) && result == element;
    bool pairs = !bits && element.isBF16() && result.isInteger(32);
    bool words = (bits && result.isInteger(32)) || pairs;
    if (keepsBytes ? !result.isInteger(8)
                   : !result.isF32() && !keepsHalves && !words)
      return emitError() << "#rt.panels of elements of type " << result
                         << "; of " << element << " it has "
                         << (keepsBytes         ? "i8"
                             : bits             ? "f32 or i32"
                             : element.isF16()  ? "f32 or f16"
                             : element.isBF16() ? "f32, bf16 or i32"
                                                : "f32");
    int64_t contracted = transposed ? rows : cols;
    if (pairs) {
      contracted = llvm::divideCeil(static_cast<uint64_t>(contracted), 2u);
    } else if (words) {
      // Words of a whole number of units of 32 codes.
      if (transposed)
        return emitError() << "#rt.panels: words of codes are not transposed";
      contracted = llvm::divideCeil(static_cast<uint64_t>(cols), 32u) * bits;
    }
    if (depth > contracted)
      return emitError() << "#rt.panels: K = " << depth << ", a source has "
                         << contracted;
    uint64_t matrix, total;
    uint64_t rowBytes = getRowBytes(cols, bits, element);
    if (__builtin_mul_overflow(static_cast<uint64_t>(rows), rowBytes,
                               &matrix) ||
        __builtin_mul_overflow(matrix, static_cast<uint64_t>(experts), &total))
      return emitError() << "#rt.panels: the size of a source does not fit 64 "
                            "bits";
    if (total != moe::rt::getByteSize(source))
      return emitError() << "#rt.panels: a source of type " << source.getType()
                         << " has " << moe::rt::getByteSize(source)
                         << " bytes; " << experts << " matrices of " << rows
                         << " x " << cols << " take " << total;
  }
  return success();
}

uint64_t PanelsAttr::getByteSize() const {
  return getType().getNumElements() *
         getElementBytes(getType().getElementType());
}

namespace {

float toFloat(const char *at, Float32Type *) {
  float value;
  std::memcpy(&value, at, sizeof(value));
  return value;
}
float toFloat(const char *at, Float64Type *) {
  double value;
  std::memcpy(&value, at, sizeof(value));
  return static_cast<float>(value);
}
float toFloat(const char *at, BFloat16Type *) {
  uint32_t bits = static_cast<uint32_t>(llvm::support::endian::read16le(at))
                  << 16;
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}
float toFloat(const char *at, Float16Type *) {
  uint32_t half = llvm::support::endian::read16le(at);
  uint32_t sign = (half & 0x8000u) << 16, exponent = (half >> 10) & 31;
  uint32_t fraction = half & 0x3ffu;
  uint32_t bits;
  if (exponent == 31) {
    bits = sign | 0x7f800000u | fraction << 13;
  } else if (exponent) {
    bits = sign | (exponent + 112) << 23 | fraction << 13;
  } else {
    // Zero or subnormal: a multiple of 2^-24, exact in f32.
    float value = static_cast<float>(fraction) * 0x1p-24f;
    return sign ? -value : value;
  }
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

/// Fills single panels of one bank.
class Packer {
public:
  Packer(PanelsAttr attr, ArrayRef<ArrayRef<char>> bytes)
      : attr(attr), bytes(bytes),
        element(cast<ElementsAttr>(attr.getSources()[0]).getElementType()),
        depth(attr.getType().getDimSize(2)),
        columns(attr.getType().getDimSize(3)),
        rowBytes(getRowBytes(attr.getCols(), attr.getBits(), element)) {}

  void pack(int64_t expert, int64_t panel, char *out) const {
    auto readHalf = [](const char *row, int64_t i) {
      uint16_t value;
      std::memcpy(&value, row + 2 * i, sizeof(value));
      return value;
    };
    bool words = attr.getType().getElementType().isInteger(32);
    if (words && !attr.getBits()) {
      packAs<uint16_t, 2>(expert, panel, out, readHalf);
    } else if (words) {
      packAs<uint32_t>(expert, panel, out, [this](const char *row, int64_t i) {
        return packWord(row, i);
      });
    } else if (int64_t bits = attr.getBits()) {
      packAs<float>(expert, panel, out, [=](const char *row, int64_t i) {
        unsigned byte = static_cast<unsigned char>(row[i * bits / 8]);
        return static_cast<float>((byte >> (i * bits % 8)) &
                                  ((1u << bits) - 1));
      });
    } else if (attr.getType().getElementTypeBitWidth() == 16) {
      packAs<uint16_t>(expert, panel, out, readHalf);
    } else if (element.isF32()) {
      packFloats<Float32Type, 4>(expert, panel, out);
    } else if (element.isF16()) {
      packFloats<Float16Type, 2>(expert, panel, out);
    } else if (element.isBF16()) {
      packFloats<BFloat16Type, 2>(expert, panel, out);
    } else if (element.isF64()) {
      packFloats<Float64Type, 8>(expert, panel, out);
    } else {
      packAs<char>(expert, panel, out,
                   [](const char *row, int64_t i) { return row[i]; });
    }
  }

private:
  template <typename FloatT, int64_t size>
  void packFloats(int64_t expert, int64_t panel, char *out) const {
    packAs<float>(expert, panel, out, [](const char *row, int64_t i) {
      return toFloat(row + i * size, static_cast<FloatT *>(nullptr));
    });
  }

  /// Word number `number` of a row of codes. Its bytes are columns of codes, so
  /// that a product of four bytes takes neighbours in one step.
  uint32_t packWord(const char *row, int64_t number) const {
    int64_t bits = attr.getBits(), perWord = 32 / bits;
    uint32_t word = 0;
    int64_t last = std::min(perWord, attr.getCols() - number * perWord);
    for (int64_t i = 0; i < last; ++i) {
      int64_t at = (number * perWord + i) * bits;
      uint32_t byte = static_cast<unsigned char>(row[at / 8]);
      uint32_t code = (byte >> (at % 8)) & ((1u << bits) - 1);
      word |= code << (i % 4 * 8 + i / 4 * bits);
    }
    return word;
  }

  /// Where column `column` of a panel comes from: the source and the number of
  /// the product's column in it, -1 for padding.
  std::pair<unsigned, int64_t> locate(int64_t panel, int64_t column) const {
    PanelOrder order = attr.getOrder();
    int64_t perPanel = order == PanelOrder::Plain ? columns : columns / 2;
    int64_t part = column / perPanel;
    int64_t unit = panel * perPanel + column % perPanel;
    if (unit >= attr.getWidth())
      return {0, -1};
    switch (order) {
    case PanelOrder::Plain:
      return {0, unit};
    case PanelOrder::Separate:
      return {static_cast<unsigned>(part), unit};
    case PanelOrder::Concat:
      return {0, part * attr.getWidth() + unit};
    case PanelOrder::Interleave:
      return {0, 2 * unit + part};
    }
    return {0, -1};
  }

  /// `group` contracted elements of a column lie side by side.
  template <typename T, int64_t group = 1, typename Read>
  void packAs(int64_t expert, int64_t panel, char *out, Read read) const {
    T *to = reinterpret_cast<T *>(out);
    auto place = [&](int64_t k, int64_t column) {
      return (k / group * columns + column) * group + k % group;
    };
    int64_t end = depth * group, given = end;
    if (group > 1)
      given = attr.getTransposed() ? attr.getRows() : attr.getCols();
    uint64_t matrix = rowBytes * attr.getRows();
    // A block of rows of the result stays in the cache while the columns, each
    // from another place, are put into it.
    constexpr int64_t block = 64;
    for (int64_t first = 0; first < end; first += block) {
      int64_t last = std::min(end, first + block);
      for (int64_t column = 0; column < columns; ++column) {
        auto [source, from] = locate(panel, column);
        int64_t stop = from < 0 ? first : std::min(last, given);
        const char *base = bytes[source].data() + expert * matrix;
        if (attr.getTransposed())
          for (int64_t k = first; k < stop; ++k)
            to[place(k, column)] = read(base + k * rowBytes, from);
        else
          for (int64_t k = first; k < stop; ++k)
            to[place(k, column)] = read(base + from * rowBytes, k);
        for (int64_t k = stop; k < last; ++k)
          to[place(k, column)] = T(0);
      }
    }
  }

  PanelsAttr attr;
  ArrayRef<ArrayRef<char>> bytes;
  Type element;
  int64_t depth, columns;
  uint64_t rowBytes;
};

/// Calls `use` with all bytes of `source`, in place where they come in one
/// piece.
LogicalResult withBytes(ElementsAttr source,
                        function_ref<LogicalResult(ArrayRef<char>)> use,
                        function_ref<InFlightDiagnostic()> emitError) {
  uint64_t size = moe::rt::getByteSize(source);
  std::vector<char> gathered;
  bool used = false;
  if (failed(moe::rt::forEachChunk(
          source,
          [&](ArrayRef<char> chunk) -> LogicalResult {
            if (chunk.size() == size) {
              used = true;
              return use(chunk);
            }
            gathered.insert(gathered.end(), chunk.begin(), chunk.end());
            return success();
          },
          emitError)))
    return failure();
  if (used)
    return success();
  if (gathered.size() != size)
    return emitError() << "a constant delivered " << gathered.size()
                       << " bytes instead of " << size;
  return use(gathered);
}

} // namespace

LogicalResult
PanelsAttr::forEachChunk(function_ref<LogicalResult(ArrayRef<char>)> consume,
                         function_ref<InFlightDiagnostic()> emitError) const {
  auto writeAll = [&](ArrayRef<ArrayRef<char>> bytes) -> LogicalResult {
    Packer packer(*this, bytes);
    int64_t panels = getType().getDimSize(1);
    int64_t total = getType().getDimSize(0) * panels;
    if (getByteSize() == 0)
      return success();
    uint64_t panelBytes = getByteSize() / total;
    constexpr uint64_t batchBytes = 16 << 20;
    int64_t batch = std::max<int64_t>(1, batchBytes / panelBytes);
    // f32 is written in place: the buffer has to be aligned for it.
    std::vector<float> buffer((std::min(batch, total) * panelBytes + 3) /
                              sizeof(float));
    char *data = reinterpret_cast<char *>(buffer.data());
    for (int64_t first = 0; first < total; first += batch) {
      int64_t count = std::min(batch, total - first);
      parallelFor(getContext(), 0, count, [&](size_t i) {
        int64_t number = first + i;
        packer.pack(number / panels, number % panels, data + i * panelBytes);
      });
      if (failed(consume(ArrayRef<char>(data, count * panelBytes))))
        return failure();
    }
    return success();
  };
  auto first = cast<ElementsAttr>(getSources()[0]);
  return withBytes(
      first,
      [&](ArrayRef<char> front) -> LogicalResult {
        if (getSources().size() == 1)
          return writeAll(front);
        return withBytes(
            cast<ElementsAttr>(getSources()[1]),
            [&](ArrayRef<char> back) -> LogicalResult {
              return writeAll({front, back});
            },
            emitError);
      },
      emitError);
}
