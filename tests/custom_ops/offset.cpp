// A custom operator, shop.Offset: y = x + by. It needs no header of ONNX Runtime: the few entries of its C interface that
// are used stand here, with their places in the table OrtApi, which new versions only add to.
#include <cstddef>
#include <cstdint>

struct OrtApiBase {
  const void* const* (*GetApi)(uint32_t version);
  const char* (*GetVersionString)();
};

enum Place {
  CreateCustomOpDomain = 26,
  CustomOpDomain_Add = 27,
  AddCustomOpDomain = 28,
  GetTensorMutableData = 51,
  GetDimensionsCount = 61,
  GetDimensions = 62,
  GetTensorShapeElementCount = 64,
  GetTensorTypeAndShape = 65,
  KernelInfoGetAttribute_float = 85,
  KernelContext_GetInput = 90,
  KernelContext_GetOutput = 91,
  ReleaseTensorTypeAndShapeInfo = 99,
};

using Table = const void* const*;

template <class... Arguments>
static void* call(Table api, Place place, Arguments... arguments) {
  return reinterpret_cast<void* (*)(Arguments...)>(const_cast<void*>(api[place]))(arguments...);
}

struct OrtCustomOp {  // version 8 of it
  uint32_t version;
  void* (*CreateKernel)(const OrtCustomOp*, Table api, const void* info);
  const char* (*GetName)(const OrtCustomOp*);
  const char* (*GetExecutionProviderType)(const OrtCustomOp*);
  int (*GetInputType)(const OrtCustomOp*, size_t);
  size_t (*GetInputTypeCount)(const OrtCustomOp*);
  int (*GetOutputType)(const OrtCustomOp*, size_t);
  size_t (*GetOutputTypeCount)(const OrtCustomOp*);
  void (*KernelCompute)(void* kernel, void* context);
  void (*KernelDestroy)(void* kernel);
  int (*GetInputCharacteristic)(const OrtCustomOp*, size_t);
  int (*GetOutputCharacteristic)(const OrtCustomOp*, size_t);
};

struct Kernel {
  Table api;
  float by;
};

static void compute(void* kernel, void* context) {
  Table api = static_cast<Kernel*>(kernel)->api;
  const void* input = nullptr;
  void* info = nullptr;
  size_t rank = 0, count = 0;
  int64_t dims[8];
  call(api, KernelContext_GetInput, context, size_t{0}, &input);
  call(api, GetTensorTypeAndShape, input, &info);
  call(api, GetDimensionsCount, info, &rank);
  call(api, GetDimensions, info, &dims[0], rank);
  call(api, GetTensorShapeElementCount, info, &count);
  call(api, ReleaseTensorTypeAndShapeInfo, info);
  void* output = nullptr;
  float *from = nullptr, *to = nullptr;
  call(api, KernelContext_GetOutput, context, size_t{0}, &dims[0], rank, &output);
  call(api, GetTensorMutableData, input, &from);
  call(api, GetTensorMutableData, output, &to);
  for (size_t at = 0; at < count; ++at) to[at] = from[at] + static_cast<Kernel*>(kernel)->by;
}

static const OrtCustomOp offset = {
    8,
    [](const OrtCustomOp*, Table api, const void* info) -> void* {
      Kernel* kernel = new Kernel{api, 0};
      call(api, KernelInfoGetAttribute_float, info, "by", &kernel->by);
      return kernel;
    },
    [](const OrtCustomOp*) { return "Offset"; },
    [](const OrtCustomOp*) -> const char* { return nullptr; },
    [](const OrtCustomOp*, size_t) { return 1; },
    [](const OrtCustomOp*) { return size_t{1}; },
    [](const OrtCustomOp*, size_t) { return 1; },
    [](const OrtCustomOp*) { return size_t{1}; },
    compute,
    [](void* kernel) { delete static_cast<Kernel*>(kernel); },
    [](const OrtCustomOp*, size_t) { return 0; },
    [](const OrtCustomOp*, size_t) { return 0; },
};

extern "C" void* RegisterCustomOps(void* options, const OrtApiBase* base) {
  Table api = base->GetApi(8);
  void* domain = nullptr;
  void* status = call(api, CreateCustomOpDomain, "shop", &domain);
  if (status == nullptr) status = call(api, CustomOpDomain_Add, domain, &offset);
  return status == nullptr ? call(api, AddCustomOpDomain, options, domain) : status;
}
