// The filter and the loss as TensorFlow operations.

#include <cmath>
#include <memory>
#include <string>

#include "batch.h"
#include "cuda_lattice.h"
#include "gpu_op.h"
#include "tf_op.h"

namespace fcam {
namespace {

struct Attributes {
  float sigma_rgb;
  float sigma_xy;
  unsigned char flag;  // `transpose` of the filter, `symmetric` of the loss
};

void* Create(TF_OpKernelConstruction* construction, const char* flag) {
  auto attributes = std::make_unique<Attributes>();
  OpStatus status(TF_NewStatus());
  TF_OpKernelConstruction_GetAttrFloat(construction, "sigma_rgb", &attributes->sigma_rgb, status.get());
  if (TF_GetCode(status.get()) == TF_OK) {
    TF_OpKernelConstruction_GetAttrFloat(construction, "sigma_xy", &attributes->sigma_xy, status.get());
  }
  if (TF_GetCode(status.get()) == TF_OK) {
    TF_OpKernelConstruction_GetAttrBool(construction, flag, &attributes->flag, status.get());
  }
  const bool positive = attributes->sigma_rgb > 0 && attributes->sigma_xy > 0 && std::isfinite(attributes->sigma_rgb) &&
                        std::isfinite(attributes->sigma_xy);
  if (TF_GetCode(status.get()) == TF_OK && !positive) {
    const std::string message = "sigma_rgb and sigma_xy must be positive and finite. Received: sigma_rgb=" +
                                std::to_string(attributes->sigma_rgb) +
                                ", sigma_xy=" + std::to_string(attributes->sigma_xy);
    TF_SetStatus(status.get(), TF_INVALID_ARGUMENT, message.c_str());
  }
  if (TF_GetCode(status.get()) != TF_OK) {
    TF_OpKernelConstruction_Failure(construction, status.get());
    return nullptr;
  }
  return attributes.release();
}

void Destroy(void* attributes) { delete static_cast<Attributes*>(attributes); }

// The two inputs of both operations, checked.
struct Inputs {
  Tensor images;
  Tensor values;
  Images batch;
  int count;
};

bool Read(TF_OpKernelContext* context, const Attributes& attributes, const char* name, TF_Status* status,
          Inputs* inputs) {
  Tensor* tensors[] = {&inputs->images, &inputs->values};
  for (int i = 0; i < 2; ++i) {
    TF_Tensor* tensor = nullptr;
    TF_GetInput(context, i, &tensor, status);
    if (TF_GetCode(status) != TF_OK) {
      TF_OpKernelContext_Failure(context, status);
      return false;
    }
    tensors[i]->reset(tensor);
  }
  const TF_Tensor* images = inputs->images.get();
  const TF_Tensor* values = inputs->values.get();
  bool fits = TF_NumDims(images) == 4 && TF_NumDims(values) == 4;
  for (int i = 0; fits && i < 3; ++i) fits = TF_Dim(images, i) == TF_Dim(values, i);
  if (!fits) {
    return Fail(context, status, TF_INVALID_ARGUMENT,
                std::string("images must be (B, H, W, channels) and ") + name +
                    " (B, H, W, C) of the same batch and size. Received: images " + ShapeOf(images) + ", " + name +
                    " " + ShapeOf(values));
  }
  if (TF_Dim(images, 3) != 1 && TF_Dim(images, 3) != 3) {
    return Fail(context, status, TF_INVALID_ARGUMENT,
                "images must have 1 or 3 channels. Received: images " + ShapeOf(images));
  }
  inputs->count = static_cast<int>(TF_Dim(values, 3));
  inputs->batch = {TF_TensorData(images),
                   TF_TensorType(images) == TF_UINT8,
                   TF_Dim(images, 0),
                   TF_Dim(images, 1),
                   TF_Dim(images, 2),
                   static_cast<int>(TF_Dim(images, 3)),
                   attributes.sigma_rgb,
                   attributes.sigma_xy};
  return true;
}

template <bool on_gpu>
void ComputeFilter(void* kernel, TF_OpKernelContext* context) {
  const Attributes& attributes = *static_cast<Attributes*>(kernel);
  OpStatus status(TF_NewStatus());
  Inputs inputs;
  if (!Read(context, attributes, "values", status.get(), &inputs)) return;
  Tensor filtered = Allocate(context, 0, inputs.values.get(), 4, status.get());
  if (TF_GetCode(status.get()) != TF_OK) return;
  const Direction direction = attributes.flag ? Direction::kTransposed : Direction::kForward;
  const BatchStatus result =
      on_gpu ? RunOnGpu(context, status.get(), filtered,
                        [&](const cuda::Device& device, const cuda::Allocate& allocate) {
                          return cuda::Filter(device, allocate, inputs.batch, Floats(inputs.values), inputs.count,
                                              direction, Floats(filtered));
                        })
             : FilterBatch(inputs.batch, Floats(inputs.values), inputs.count, direction, Floats(filtered));
  Report(context, status.get(), result);
}

template <bool on_gpu>
void ComputeLoss(void* kernel, TF_OpKernelContext* context) {
  const Attributes& attributes = *static_cast<Attributes*>(kernel);
  OpStatus status(TF_NewStatus());
  Inputs inputs;
  if (!Read(context, attributes, "probabilities", status.get(), &inputs)) return;
  Tensor losses = Allocate(context, 0, inputs.values.get(), 1, status.get());
  if (TF_GetCode(status.get()) != TF_OK) return;
  Tensor gradients = Allocate(context, 1, inputs.values.get(), 4, status.get());
  if (TF_GetCode(status.get()) != TF_OK) return;
  const bool symmetric = attributes.flag != 0;
  const BatchStatus result =
      on_gpu ? RunOnGpu(context, status.get(), losses,
                        [&](const cuda::Device& device, const cuda::Allocate& allocate) {
                          return cuda::CrfLoss(device, allocate, inputs.batch, Floats(inputs.values), inputs.count,
                                               symmetric, Floats(losses), Floats(gradients));
                        })
             : CrfLossBatch(inputs.batch, Floats(inputs.values), inputs.count, symmetric, Floats(losses),
                            Floats(gradients));
  Report(context, status.get(), result);
}

void InferFilter(TF_ShapeInferenceContext* context, TF_Status* status) { SetShape(context, 0, false, status); }

void InferLoss(TF_ShapeInferenceContext* context, TF_Status* status) {
  SetShape(context, 0, true, status);
  if (TF_GetCode(status) == TF_OK) SetShape(context, 1, false, status);
}

void Register(const char* name, const char* values, const char* flag, std::initializer_list<const char*> outputs,
              void (*infer)(TF_ShapeInferenceContext*, TF_Status*), void* (*create)(TF_OpKernelConstruction*),
              void (*compute)(void*, TF_OpKernelContext*), void (*compute_on_gpu)(void*, TF_OpKernelContext*)) {
  OpStatus status(TF_NewStatus());
  TF_OpDefinitionBuilder* definition = TF_NewOpDefinitionBuilder(name);
  TF_OpDefinitionBuilderAddAttr(definition, "T: {uint8, float}");
  TF_OpDefinitionBuilderAddAttr(definition, "sigma_rgb: float");
  TF_OpDefinitionBuilderAddAttr(definition, "sigma_xy: float");
  TF_OpDefinitionBuilderAddAttr(definition, flag);
  TF_OpDefinitionBuilderAddInput(definition, "images: T");
  TF_OpDefinitionBuilderAddInput(definition, values);
  for (const char* output : outputs) TF_OpDefinitionBuilderAddOutput(definition, output);
  TF_OpDefinitionBuilderSetShapeInferenceFunction(definition, infer);
  TF_RegisterOpDefinition(definition, status.get());
  if (TF_GetCode(status.get()) != TF_OK) return;
  TF_RegisterKernelBuilder(name, TF_NewKernelBuilder(name, FCAM_CPU, create, compute, Destroy), status.get());
  const std::string on_gpu = std::string(name) + "OnGpu";
  TF_RegisterKernelBuilder(on_gpu.c_str(), TF_NewKernelBuilder(name, FCAM_GPU, create, compute_on_gpu, Destroy),
                           status.get());
}

const bool kRegistered = [] {
  Register("FcamBilateralFilter", "values: float", "transpose: bool = false", {"filtered: float"}, InferFilter,
           [](TF_OpKernelConstruction* construction) { return Create(construction, "transpose"); },
           ComputeFilter<false>, ComputeFilter<true>);
  Register("FcamCrfLoss", "probabilities: float", "symmetric: bool = true", {"loss: float", "gradient: float"},
           InferLoss, [](TF_OpKernelConstruction* construction) { return Create(construction, "symmetric"); },
           ComputeLoss<false>, ComputeLoss<true>);
  return true;
}();

}  // namespace
}  // namespace fcam
