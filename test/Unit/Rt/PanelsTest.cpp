//===- PanelsTest.cpp - the bytes of #rt.panels ---------------------------===//

#include "dialects/Rt/RtDialect.h"
#include "mlir/IR/MLIRContext.h"
#include "gtest/gtest.h"
#include <cstring>
#include <numeric>
#include <random>

using namespace mlir;
using namespace moe;

namespace {

/// A bank of codes [E, N, bytes], `cols` codes in a row, drawn at random.
struct Bank {
  Bank(int64_t experts, int64_t rows, int64_t cols, int64_t bits)
      : experts(experts), rows(rows), cols(cols), bits(bits),
        rowBytes((cols * bits + 7) / 8), bytes(experts * rows * rowBytes) {
    std::mt19937 engine(static_cast<unsigned>(1000 * bits + cols));
    for (char &byte : bytes)
      byte = static_cast<char>(engine());
  }

  uint32_t code(int64_t e, int64_t row, int64_t k) const {
    if (k >= cols)
      return 0;
    int64_t at = k * bits;
    auto byte =
        static_cast<unsigned char>(bytes[(e * rows + row) * rowBytes + at / 8]);
    return (byte >> (at % 8)) & ((1u << bits) - 1);
  }

  DenseElementsAttr attribute(MLIRContext &context) const {
    auto type = RankedTensorType::get({experts, rows, rowBytes},
                                      IntegerType::get(&context, 8));
    return DenseElementsAttr::getFromRawBuffer(type, bytes);
  }

  int64_t experts, rows, cols, bits, rowBytes;
  std::vector<char> bytes;
};

struct PanelsTest : testing::Test {
  PanelsTest() { context.loadDialect<rt::RtDialect>(); }

  std::vector<uint32_t> words(RankedTensorType type, ArrayRef<Attribute> banks,
                              const Bank &bank, rt::PanelOrder order,
                              int64_t width) {
    auto report = [&] { return emitError(UnknownLoc::get(&context)); };
    auto sources = ArrayAttr::get(&context, banks);
    EXPECT_TRUE(succeeded(
        rt::PanelsAttr::verify(report, type, sources, bank.rows, bank.cols,
                               /*transposed=*/false, order, width, bank.bits)));
    auto panels =
        rt::PanelsAttr::get(&context, type, sources, bank.rows, bank.cols,
                            /*transposed=*/false, order, width, bank.bits);
    return bytesOf<uint32_t>(panels);
  }

  /// All bytes of an attribute, as numbers.
  template <typename T> std::vector<T> bytesOf(rt::PanelsAttr panels) {
    EXPECT_EQ(panels.getByteSize() % sizeof(T), 0u);
    std::vector<char> bytes;
    EXPECT_TRUE(succeeded(panels.forEachChunk(
        [&](ArrayRef<char> chunk) {
          bytes.insert(bytes.end(), chunk.begin(), chunk.end());
          return success();
        },
        [&] { return emitError(UnknownLoc::get(&context)); })));
    EXPECT_EQ(bytes.size(), panels.getByteSize());
    std::vector<T> result(bytes.size() / sizeof(T));
    std::memcpy(result.data(), bytes.data(), bytes.size());
    return result;
  }

  /// Code k of a column of a panel.
  static uint32_t unpack(const std::vector<uint32_t> &words, int64_t first,
                         int64_t columns, int64_t column, int64_t k,
                         int64_t bits) {
    int64_t perWord = 32 / bits, i = k % perWord;
    uint32_t word = words[first + k / perWord * columns + column];
    // Byte i % 4 of the word; codes that are 4 apart are above each other.
    return (word >> (8 * (i % 4)) >> (bits * (i / 4))) & ((1u << bits) - 1);
  }

  MLIRContext context;
};

TEST_F(PanelsTest, WordsHoldTheCodesOfColumns) {
  for (int64_t bits : {2, 4, 8})
    for (int64_t cols : {32, 64, 80, 100}) {
      int64_t experts = 2, width = 11, columns = 8, panels = 2;
      Bank bank(experts, width, cols, bits);
      int64_t depth = (cols + 31) / 32 * bits;
      auto type = RankedTensorType::get({experts, panels, depth, columns},
                                        IntegerType::get(&context, 32));
      std::vector<uint32_t> got = words(type, {bank.attribute(context)}, bank,
                                        rt::PanelOrder::Plain, width);
      ASSERT_EQ(static_cast<int64_t>(got.size()), type.getNumElements());
      for (int64_t e = 0; e < experts; ++e)
        for (int64_t column = 0; column < panels * columns; ++column)
          for (int64_t k = 0; k < depth * 32 / bits; ++k) {
            int64_t first = (e * panels + column / columns) * depth * columns;
            // Columns and codes that the bank does not have are zeros.
            uint32_t want = column < width ? bank.code(e, column, k) : 0;
            ASSERT_EQ(unpack(got, first, columns, column % columns, k, bits),
                      want)
                << "bits " << bits << ", cols " << cols << ", expert " << e
                << ", column " << column << ", k " << k;
          }
    }
}

TEST_F(PanelsTest, WordsHoldPairsOfBf16) {
  int64_t experts = 2, width = 11, columns = 8, panels = 2;
  for (bool transposed : {false, true})
    for (int64_t depth : {1, 2, 63, 130}) {
      int64_t rows = transposed ? depth : width;
      int64_t cols = transposed ? width : depth;
      // Numbers that tell where they come from.
      std::vector<uint16_t> bank(experts * width * depth);
      std::iota(bank.begin(), bank.end(), 1);
      auto source = DenseElementsAttr::getFromRawBuffer(
          RankedTensorType::get({experts, rows, cols},
                                BFloat16Type::get(&context)),
          ArrayRef(reinterpret_cast<const char *>(bank.data()),
                   2 * bank.size()));
      int64_t words = (depth + 1) / 2;
      auto panel = rt::PanelsAttr::get(
          &context,
          RankedTensorType::get({experts, panels, words, columns},
                                IntegerType::get(&context, 32)),
          ArrayAttr::get(&context, Attribute(source)), rows, cols, transposed,
          rt::PanelOrder::Plain, width, /*bits=*/0);
      std::vector<uint16_t> got = bytesOf<uint16_t>(panel);
      ASSERT_EQ(static_cast<int64_t>(got.size()),
                experts * panels * words * columns * 2);
      for (int64_t e = 0; e < experts; ++e)
        for (int64_t column = 0; column < panels * columns; ++column)
          for (int64_t k = 0; k < 2 * words; ++k) {
            uint16_t want = 0;
            if (column < width && k < depth)
              want = bank[e * rows * cols +
                          (transposed ? k * cols + column : column * cols + k)];
            int64_t first = (e * panels + column / columns) * words * columns;
            int64_t word = first + k / 2 * columns + column % columns;
            ASSERT_EQ(got[2 * word + k % 2], want)
                << "depth " << depth << ", expert " << e << ", column "
                << column << ", k " << k;
          }
    }
}

TEST_F(PanelsTest, WordsOfGatesAndUpsShareAPanel) {
  int64_t experts = 3, width = 6, columns = 8, panels = 2, bits = 4, cols = 32;
  Bank bank(experts, 2 * width, cols, bits);
  auto type = RankedTensorType::get({experts, panels, bits, columns},
                                    IntegerType::get(&context, 32));
  for (auto order : {rt::PanelOrder::Concat, rt::PanelOrder::Interleave}) {
    std::vector<uint32_t> got =
        words(type, {bank.attribute(context)}, bank, order, width);
    ASSERT_EQ(static_cast<int64_t>(got.size()), type.getNumElements());
    for (int64_t e = 0; e < experts; ++e)
      for (int64_t unit = 0; unit < width; ++unit)
        for (int64_t part = 0; part < 2; ++part)
          for (int64_t k = 0; k < cols; ++k) {
            int64_t row = order == rt::PanelOrder::Concat ? part * width + unit
                                                          : 2 * unit + part;
            int64_t first = (e * panels + unit / 4) * bits * columns;
            ASSERT_EQ(unpack(got, first, columns, part * 4 + unit % 4, k, bits),
                      bank.code(e, row, k));
          }
  }
}

} // namespace
