// The operations with the GPU's kernels registered for the CPU, and a driver that runs them there: for crf_op_test.py.
#define FCAM_CPU "GPU"
#define FCAM_GPU "CPU"
#include "crf_op.cc"
#include "cuda_shim.h"
