#define FCAM_ISA avx512
#include "lattice.inc"
#include "lattice_rows.inc"
#include "gaussian.inc"
#include "softmax.inc"
#include "mean_field.inc"
