// Mean field as a TensorFlow operation.

#include <cmath>
#include <memory>
#include <string>

#include "batch.h"
#include "cuda_lattice.h"
#include "gpu_op.h"
#include "tf_op.h"

namespace fcam {
namespace {

constexpr const char* kName = "FcamDenseCrf";
constexpr const char* kFloats[] = {"bilateral_weight", "sigma_xy", "sigma_rgb", "spatial_weight", "spatial_sigma"};

struct Attributes {
  float floats[5];
  int32_t iterations;
};

void* Create(TF_OpKernelConstruction* construction) {
  auto attributes = std::make_unique<Attributes>();
  OpStatus status(TF_NewStatus());
  bool good = true;
  for (int i = 0; good && i < 5; ++i) {
    TF_OpKernelConstruction_GetAttrFloat(construction, kFloats[i], &attributes->floats[i], status.get());
    good = TF_GetCode(status.get()) == TF_OK;
    const bool weight = i == 0 || i == 3;
    if (good && !(attributes->floats[i] < INFINITY && (weight ? attributes->floats[i] >= 0 : attributes->floats[i] > 0))) {
      const std::string message = std::string(kFloats[i]) + (weight ? " must be 0 or more" : " must be positive") +
                                  ", and finite. Received: " + std::to_string(attributes->floats[i]);
      TF_SetStatus(status.get(), TF_INVALID_ARGUMENT, message.c_str());
      good = false;
    }
  }
  if (good) {
    TF_OpKernelConstruction_GetAttrInt32(construction, "iterations", &attributes->iterations, status.get());
    good = TF_GetCode(status.get()) == TF_OK;
  }
  if (!good) {
    TF_OpKernelConstruction_Failure(construction, status.get());
    return nullptr;
  }
  return attributes.release();
}

void Destroy(void* attributes) { delete static_cast<Attributes*>(attributes); }

template <bool on_gpu>
void Compute(void* kernel, TF_OpKernelContext* context) {
  const Attributes& attributes = *static_cast<Attributes*>(kernel);
  const float* floats = attributes.floats;
  OpStatus status(TF_NewStatus());
  Tensor tensors[3];
  for (int i = 0; i < 3; ++i) {
    TF_Tensor* tensor = nullptr;
    TF_GetInput(context, i, &tensor, status.get());
    if (TF_GetCode(status.get()) != TF_OK) return TF_OpKernelContext_Failure(context, status.get());
    tensors[i].reset(tensor);
  }
  const TF_Tensor* images = tensors[0].get();
  const TF_Tensor* unaries = tensors[1].get();
  const TF_Tensor* compatibility = tensors[2].get();
  bool fits = TF_NumDims(images) == 4 && TF_NumDims(unaries) == 4 && (TF_Dim(images, 3) == 1 || TF_Dim(images, 3) == 3);
  for (int i = 0; fits && i < 3; ++i) fits = TF_Dim(images, i) == TF_Dim(unaries, i);
  if (!fits) {
    Fail(context, status.get(), TF_INVALID_ARGUMENT,
         "images must be (B, H, W, 1 or 3) and unaries (B, H, W, K) of the same batch and size. Received: images " +
             ShapeOf(images) + ", unaries " + ShapeOf(unaries));
    return;
  }
  const int64_t classes = TF_Dim(unaries, 3);
  fits = TF_NumDims(compatibility) == 2;
  for (int i = 0; fits && i < 2; ++i) fits = TF_Dim(compatibility, i) == TF_Dim(compatibility, 0);
  if (!fits || (TF_Dim(compatibility, 0) != 0 && TF_Dim(compatibility, 0) != classes)) {
    Fail(context, status.get(), TF_INVALID_ARGUMENT,
         "compatibility must be (K, K), or (0, 0) for Potts. Received: " + ShapeOf(compatibility) + ", and unaries " +
             ShapeOf(unaries));
    return;
  }
  Tensor marginals = Allocate(context, 0, unaries, 4, status.get());
  if (TF_GetCode(status.get()) != TF_OK) return;
  const Images batch = {TF_TensorData(images), TF_TensorType(images) == TF_UINT8,
                        TF_Dim(images, 0),     TF_Dim(images, 1),
                        TF_Dim(images, 2),     static_cast<int>(TF_Dim(images, 3)),
                        floats[2],             floats[1]};
  const bool potts = TF_Dim(compatibility, 0) == 0;
  const Crf crf = {floats[0], floats[3], floats[4], potts ? nullptr : Floats(tensors[2]), attributes.iterations};
  const int count = static_cast<int>(classes);
  const BatchStatus result =
      on_gpu ? RunOnGpu(context, status.get(), marginals,
                        [&](const cuda::Device& device, const cuda::Allocate& allocate) {
                          return cuda::DenseCrf(device, allocate, batch, Floats(tensors[1]), count, crf,
                                                Floats(marginals));
                        })
             : DenseCrfBatch(batch, Floats(tensors[1]), count, crf, Floats(marginals));
  if (result.status == Status::kValuesNotFinite) {
    Fail(context, status.get(), TF_INVALID_ARGUMENT,
         "image " + std::to_string(result.image) + " of the batch: `unaries` contain NaN or infinity");
    return;
  }
  Report(context, status.get(), result);
}

const bool kRegistered = [] {
  OpStatus status(TF_NewStatus());
  TF_OpDefinitionBuilder* definition = TF_NewOpDefinitionBuilder(kName);
  TF_OpDefinitionBuilderAddAttr(definition, "T: {uint8, float}");
  for (const char* name : kFloats) TF_OpDefinitionBuilderAddAttr(definition, (std::string(name) + ": float").c_str());
  TF_OpDefinitionBuilderAddAttr(definition, "iterations: int >= 0");
  TF_OpDefinitionBuilderAddInput(definition, "images: T");
  TF_OpDefinitionBuilderAddInput(definition, "unaries: float");
  TF_OpDefinitionBuilderAddInput(definition, "compatibility: float");
  TF_OpDefinitionBuilderAddOutput(definition, "marginals: float");
  TF_OpDefinitionBuilderSetShapeInferenceFunction(
      definition, [](TF_ShapeInferenceContext* shapes, TF_Status* problem) { SetShape(shapes, 0, false, problem); });
  TF_RegisterOpDefinition(definition, status.get());
  if (TF_GetCode(status.get()) != TF_OK) return false;
  TF_RegisterKernelBuilder(kName, TF_NewKernelBuilder(kName, FCAM_CPU, Create, Compute<false>, Destroy), status.get());
  TF_RegisterKernelBuilder("FcamDenseCrfOnGpu", TF_NewKernelBuilder(kName, FCAM_GPU, Create, Compute<true>, Destroy),
                           status.get());
  return true;
}();

}  // namespace
}  // namespace fcam
