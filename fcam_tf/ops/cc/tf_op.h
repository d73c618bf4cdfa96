// What the TensorFlow operations share: they use the C API, so that one library serves all versions.
#ifndef FCAM_TF_OP_H_
#define FCAM_TF_OP_H_

#include <cstdint>
#include <memory>
#include <string>

#include "batch.h"
#include "tf_c_api.h"

namespace fcam {

struct DeleteTensor {
  void operator()(TF_Tensor* tensor) const { TF_DeleteTensor(tensor); }
};
struct DeleteStatus {
  void operator()(TF_Status* status) const { TF_DeleteStatus(status); }
};
struct DeleteShape {
  void operator()(TF_ShapeHandle* shape) const { TF_DeleteShapeHandle(shape); }
};
using Tensor = std::unique_ptr<TF_Tensor, DeleteTensor>;
using OpStatus = std::unique_ptr<TF_Status, DeleteStatus>;
using Shape = std::unique_ptr<TF_ShapeHandle, DeleteShape>;

inline std::string ShapeOf(const TF_Tensor* tensor) {
  std::string text = "(";
  for (int i = 0; i < TF_NumDims(tensor); ++i) text += (i > 0 ? ", " : "") + std::to_string(TF_Dim(tensor, i));
  return text + ")";
}

inline bool Fail(TF_OpKernelContext* context, TF_Status* status, TF_Code code, const std::string& message) {
  TF_SetStatus(status, code, message.c_str());
  TF_OpKernelContext_Failure(context, status);
  return false;
}

inline Tensor Allocate(TF_OpKernelContext* context, int output, const TF_Tensor* like, int dimensions, TF_Status* status) {
  int64_t shape[4];
  size_t bytes = sizeof(float);
  for (int i = 0; i < dimensions; ++i) {
    shape[i] = TF_Dim(like, i);
    bytes *= shape[i];
  }
  Tensor tensor(TF_AllocateOutput(context, output, TF_FLOAT, shape, dimensions, bytes, status));
  if (TF_GetCode(status) != TF_OK) TF_OpKernelContext_Failure(context, status);
  return tensor;
}

inline void Report(TF_OpKernelContext* context, TF_Status* status, const BatchStatus& result) {
  if (result.status == Status::kOk) return;
  const TF_Code code = result.status == Status::kOutOfMemory ? TF_RESOURCE_EXHAUSTED : TF_INVALID_ARGUMENT;
  Fail(context, status, code, "image " + std::to_string(result.image) + " of the batch: " + Describe(result.status));
}

inline float* Floats(const Tensor& tensor) { return static_cast<float*>(TF_TensorData(tensor.get())); }

// Sets an output's shape to that of the second input, or to its batch dimension.
inline void SetShape(TF_ShapeInferenceContext* context, int output, bool batch_only, TF_Status* status) {
  Shape input(TF_NewShapeHandle()), ranked(TF_NewShapeHandle()), batch(TF_NewShapeHandle());
  TF_ShapeInferenceContextGetInput(context, 1, input.get(), status);
  if (TF_GetCode(status) != TF_OK) return;
  TF_ShapeInferenceContextWithRank(context, input.get(), 4, ranked.get(), status);
  if (TF_GetCode(status) != TF_OK) return;
  if (batch_only) {
    TF_ShapeInferenceContextSubshape(context, ranked.get(), 0, 1, batch.get(), status);
    if (TF_GetCode(status) != TF_OK) return;
  }
  TF_ShapeInferenceContextSetOutput(context, output, batch_only ? batch.get() : ranked.get(), status);
}

}  // namespace fcam

#endif  // FCAM_TF_OP_H_
