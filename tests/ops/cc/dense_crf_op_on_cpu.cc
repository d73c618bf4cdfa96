// The same as crf_op_on_cpu.cc, which has the driver.
#define FCAM_CPU "GPU"
#define FCAM_GPU "CPU"
#include "dense_crf_op.cc"
