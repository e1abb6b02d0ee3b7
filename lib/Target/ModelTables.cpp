//===- ModelTables.cpp - the constant tables of a model -------------------===//
//
// Emits the structs of include/moe-c/ModelABI.h as LLVM constants. The field
// lists below must match that header; a static_assert ties each size.
//
//===----------------------------------------------------------------------===//
#include "lib/Target/ModelTables.h"

#include "moe-c/ModelABI.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/IR/Constants.h"
#include "llvm/IR/IRBuilder.h"
#include "llvm/IR/Module.h"

using namespace llvm;
using namespace moe;

static_assert(MOE_ABI_VERSION == 3 && sizeof(moe_dim) == 16 &&
                  sizeof(moe_value) == 24 && sizeof(moe_op) == 16 &&
                  sizeof(moe_function) == 56 &&
                  sizeof(moe_weights) == 40 && sizeof(moe_entry) == 16 &&
                  sizeof(moe_model) == 96,
              "ModelTables.cpp must follow ModelABI.h");

namespace {

class TableBuilder {
public:
  TableBuilder(Module &module)
      : module(module), context(module.getContext()),
        pointer(PointerType::getUnqual(context)),
        i32(Type::getInt32Ty(context)), i64(Type::getInt64Ty(context)) {}

  Constant *getInt(int32_t value) { return ConstantInt::getSigned(i32, value); }
  Constant *getLong(int64_t value) {
    return ConstantInt::getSigned(i64, value);
  }
  Constant *getNull() { return ConstantPointerNull::get(pointer); }

  /// A null-ended string.
  Constant *getString(StringRef text) {
    Constant *&global = strings[text];
    if (!global)
      global = addGlobal(ConstantDataArray::getString(context, text),
                         "moe.string", /*relocated=*/false);
    return global;
  }
  Constant *getStringOrNull(StringRef text) {
    return text.empty() ? getNull() : getString(text);
  }

  Constant *getStruct(ArrayRef<Constant *> fields) {
    return ConstantStruct::getAnon(context, fields);
  }

  /// A constant array; null if it is empty.
  Constant *getArray(ArrayRef<Constant *> elements, const Twine &name) {
    if (elements.empty())
      return getNull();
    auto *type = ArrayType::get(elements.front()->getType(), elements.size());
    return addGlobal(ConstantArray::get(type, elements), name, true);
  }

  Constant *addGlobal(Constant *value, const Twine &name, bool relocated) {
    auto *global =
        new GlobalVariable(module, value->getType(), /*isConstant=*/true,
                           GlobalValue::PrivateLinkage, value, name);
    if (relocated)
      global->setAlignment(Align(8));
    else
      global->setUnnamedAddr(GlobalValue::UnnamedAddr::Global);
    return global;
  }

  Constant *getValues(mlir::ArrayAttr values) {
    SmallVector<Constant *> elements;
    for (mlir::Attribute attribute : values) {
      auto value = cast<mlir::DictionaryAttr>(attribute);
      auto extents = value.getAs<mlir::DenseI64ArrayAttr>("extents");
      auto symbols = value.getAs<mlir::ArrayAttr>("symbols");
      SmallVector<Constant *> dims;
      for (auto [extent, symbol] : llvm::zip(extents.asArrayRef(), symbols))
        dims.push_back(getStruct(
            {getLong(extent),
             getStringOrNull(cast<mlir::StringAttr>(symbol).getValue())}));
      elements.push_back(getStruct(
          {getString(value.getAs<mlir::StringAttr>("name").getValue()),
           getInt(value.getAs<mlir::IntegerAttr>("dtype").getInt()),
           getInt(dims.size()), getArray(dims, "moe.dims")}));
    }
    return getArray(elements, "moe.values");
  }

  Module &module;
  LLVMContext &context;
  PointerType *pointer;
  IntegerType *i32, *i64;

private:
  StringMap<Constant *> strings;
};

} // namespace

std::string moe::getWeightSymbol(size_t number) {
  return number ? "moe.weights." + std::to_string(number) : "moe.weights";
}

/// A constant of another object of the artifact.
static Constant *declareHidden(Module &module, const Twine &name) {
  auto *global = new GlobalVariable(
      module, ArrayType::get(Type::getInt8Ty(module.getContext()), 0),
      /*isConstant=*/true, GlobalValue::ExternalLinkage, nullptr, name);
  global->setVisibility(GlobalValue::HiddenVisibility);
  return global;
}

void moe::emitModelTables(Module &module, const ModelDescription &model,
                          const HostCpu &cpu, size_t number, size_t count) {
  for (GlobalValue &value : module.global_values())
    if (!value.isDeclaration())
      value.setLinkage(GlobalValue::InternalLinkage);

  TableBuilder tables(module);
  SmallVector<Constant *> ops;
  for (const ModelDescription::Op &op : model.ops)
    ops.push_back(tables.getStruct(
        {tables.getString(op.name), tables.getString(op.kind)}));
  Constant *opTable = tables.getArray(ops, "moe.ops");
  SmallVector<Constant *> functions;
  for (const ModelDescription::Entry &entry : model.entries) {
    auto inputs = entry.signature.getAs<mlir::ArrayAttr>("inputs");
    auto outputs = entry.signature.getAs<mlir::ArrayAttr>("outputs");
    functions.push_back(tables.getStruct(
        {tables.getString(entry.name), tables.getInt(inputs.size()),
         tables.getInt(outputs.size()), tables.getValues(inputs),
         tables.getValues(outputs), tables.getInt(ops.size()),
         tables.getInt(0), opTable, module.getFunction(entry.function)}));
  }

  SmallVector<Constant *> weights;
  for (const ModelDescription::Weights &section : model.weights)
    weights.push_back(tables.getStruct(
        {tables.getString(section.name),
         section.symbol.empty() ? tables.getNull()
                                : declareHidden(module, section.symbol),
         tables.getLong(section.size), tables.getLong(section.alignment),
         tables.getStringOrNull(section.file)}));

  SmallVector<Constant *> metadata, features;
  for (const auto &[key, value] : model.metadata)
    metadata.push_back(
        tables.getStruct({tables.getString(key), tables.getString(value)}));
  for (const std::string &feature : cpu.required)
    features.push_back(tables.getString(feature));
  features.push_back(tables.getNull());

  auto nameOf = [](size_t number) {
    return "moe.model." + std::to_string(number);
  };
  Constant *next = number + 1 < count
                       ? declareHidden(module, nameOf(number + 1))
                       : tables.getNull();
  auto *table = cast<GlobalVariable>(tables.addGlobal(
      tables.getStruct(
          {tables.getInt(MOE_ABI_VERSION), tables.getInt(sizeof(moe_model)),
           tables.getString(model.name),
           tables.getString("moe-opt " MOE_VERSION), tables.getString("host"),
           tables.getString(cpu.name),
           tables.getArray(features, "moe.features"),
           tables.getInt(functions.size()), tables.getInt(weights.size()),
           tables.getInt(metadata.size()), tables.getInt(0),
           tables.getArray(functions, "moe.functions"),
           tables.getArray(weights, "moe.sections"),
           tables.getArray(metadata, "moe.metadata"), next}),
      nameOf(number), /*relocated=*/true));
  if (number) {
    table->setLinkage(GlobalValue::ExternalLinkage);
    table->setVisibility(GlobalValue::HiddenVisibility);
    return;
  }
  auto *query = Function::Create(
      FunctionType::get(tables.pointer, {tables.i32}, false),
      GlobalValue::ExternalLinkage, MOE_MODEL_QUERY_NAME, module);
  IRBuilder<> builder(BasicBlock::Create(module.getContext(), "", query));
  Value *known =
      builder.CreateICmpEQ(query->getArg(0), tables.getInt(MOE_ABI_VERSION));
  builder.CreateRet(builder.CreateSelect(known, table, tables.getNull()));
}
