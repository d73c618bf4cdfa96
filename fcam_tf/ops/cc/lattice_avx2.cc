#define FCAM_ISA avx2
#include "lattice.inc"
#include "lattice_rows.inc"
#include "gaussian.inc"
#include "softmax.inc"
#include "mean_field.inc"
