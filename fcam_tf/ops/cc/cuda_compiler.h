// Compiles the kernels for a GPU's own architecture with NVIDIA's run-time compiler, and keeps the result on disk.
#ifndef FCAM_CUDA_COMPILER_H_
#define FCAM_CUDA_COMPILER_H_

#include <string>
#include <vector>

namespace fcam {
namespace cuda {

// A module for compute capability `arch` (90 is 9.0), to be loaded by a driver of CUDA `driver_version` (12040 is
// 12.4); or an empty string and what is missing. `places` are files that may be the compiler (libnvrtc); the loader's
// own search comes after them.
//
// The module is kept in the folder `cache`, under a name that is made of the source, the architecture and the
// compiler's version. A folder that cannot be written is no error; with an empty name nothing is kept.
std::string Compile(int arch, int driver_version, const std::vector<std::string>& places, const std::string& cache,
                    std::string* problem);

}  // namespace cuda
}  // namespace fcam

#endif  // FCAM_CUDA_COMPILER_H_
