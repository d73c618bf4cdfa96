#define FCAM_ISA avx512
#include "lattice.inc"
