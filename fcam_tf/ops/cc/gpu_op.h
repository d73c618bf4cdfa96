// What the TensorFlow operations share where a GPU computes.
#ifndef FCAM_GPU_OP_H_
#define FCAM_GPU_OP_H_

#include <cstdint>
#include <memory>
#include <string>

#include "cuda_device.h"
#include "cuda_lattice.h"
#include "tf_op.h"

// Tests of the GPU's kernels without one swap these.
#ifndef FCAM_CPU
#define FCAM_CPU "CPU"
#define FCAM_GPU "GPU"
#endif

namespace fcam {

// GPU memory from TensorFlow, which may have taken all that there is.
class Temporary : public cuda::Scratch {
 public:
  Temporary(TF_OpKernelContext* context, size_t bytes) {
    OpStatus status(TF_NewStatus());
    const int64_t size = static_cast<int64_t>(bytes);
    TF_AllocatorAttributes on_device = {sizeof(TF_AllocatorAttributes), 0};
    tensor_.reset(TF_AllocateTemp(context, TF_UINT8, &size, 1, &on_device, status.get()));
    if (TF_GetCode(status.get()) == TF_OK) data = TF_TensorData(tensor_.get());
  }

 private:
  Tensor tensor_;
};

// Runs the kernels on the GPU that holds the output. What fails on the GPU is told here, the rest is returned.
template <typename Compute>
BatchStatus RunOnGpu(TF_OpKernelContext* context, TF_Status* status, const Tensor& output, const Compute& compute) {
  if (TF_TensorData(output.get()) == nullptr) return {};  // empty
  cuda::Outcome outcome;
  const cuda::Device* device = cuda::DeviceOf(TF_TensorData(output.get()), &outcome.error);
  if (device != nullptr) {
    outcome = compute(*device, [context](size_t bytes) { return std::make_unique<Temporary>(context, bytes); });
  }
  if (outcome.error.empty()) return outcome.batch;
  const TF_Code code = outcome.batch.status == Status::kOutOfMemory ? TF_RESOURCE_EXHAUSTED : TF_INTERNAL;
  Fail(context, status, code,
       "the CRF failed on the GPU: " + outcome.error +
           ". FCAM_OPS=native computes it on the CPU, `with tf.device(\"CPU\")` a single call");
  return {};
}

}  // namespace fcam

#endif  // FCAM_GPU_OP_H_
