#define FCAM_ISA avx512
#include "lattice.inc"
#include "mean_field.inc"
