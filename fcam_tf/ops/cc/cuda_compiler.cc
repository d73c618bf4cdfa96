#include "cuda_compiler.h"

#include <dlfcn.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <fstream>
#include <sstream>
#include <type_traits>

namespace fcam {
namespace cuda {
namespace {

// The build makes string literals of these files.
const char kKernels[] =
#include "permutohedral.cu.inc"
    ;
const char kVertices[] =
#include "cuda_vertices.h.inc"
    ;
const char kPixels[] =
#include "cuda_pixels.h.inc"
    ;
const char kJob[] =
#include "cuda_job.h.inc"
    ;

typedef struct _nvrtcProgram* Program;

struct Compiler {
  int (*Version)(int* major, int* minor);
  int (*GetNumSupportedArchs)(int*);
  int (*GetSupportedArchs)(int*);
  int (*CreateProgram)(Program*, const char* source, const char* name, int headers, const char* const* texts,
                       const char* const* names);
  int (*CompileProgram)(Program, int options, const char* const*);
  int (*GetProgramLogSize)(Program, size_t*);
  int (*GetProgramLog)(Program, char*);
  int (*GetCUBINSize)(Program, size_t*);
  int (*GetCUBIN)(Program, char*);
  int (*GetPTXSize)(Program, size_t*);
  int (*GetPTX)(Program, char*);
  int (*DestroyProgram)(Program*);
  int major = 0;
  int minor = 0;
  std::vector<int> archs;
};

bool Open(const std::string& place, Compiler* compiler) {
  void* library = dlopen(place.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return false;
  bool complete = true;
  auto find = [&](const char* name, auto* function) {
    *function = reinterpret_cast<std::remove_reference_t<decltype(*function)>>(dlsym(library, name));
    complete &= *function != nullptr;
  };
  find("nvrtcVersion", &compiler->Version);
  find("nvrtcGetNumSupportedArchs", &compiler->GetNumSupportedArchs);
  find("nvrtcGetSupportedArchs", &compiler->GetSupportedArchs);
  find("nvrtcCreateProgram", &compiler->CreateProgram);
  find("nvrtcCompileProgram", &compiler->CompileProgram);
  find("nvrtcGetProgramLogSize", &compiler->GetProgramLogSize);
  find("nvrtcGetProgramLog", &compiler->GetProgramLog);
  find("nvrtcGetCUBINSize", &compiler->GetCUBINSize);
  find("nvrtcGetCUBIN", &compiler->GetCUBIN);
  find("nvrtcGetPTXSize", &compiler->GetPTXSize);
  find("nvrtcGetPTX", &compiler->GetPTX);
  find("nvrtcDestroyProgram", &compiler->DestroyProgram);
  if (!complete || compiler->Version(&compiler->major, &compiler->minor) != 0) return false;
  int count = 0;
  if (compiler->GetNumSupportedArchs(&count) != 0) return false;
  compiler->archs.resize(count);
  if (compiler->GetSupportedArchs(compiler->archs.data()) != 0) return false;
  // What the compiler opens by name itself, when it compiles. That of the 13.0 packages does not look beside itself.
  const std::string builtins =
      "libnvrtc-builtins.so." + std::to_string(compiler->major) + "." + std::to_string(compiler->minor);
  dlopen((place.substr(0, place.rfind('/') + 1) + builtins).c_str(), RTLD_NOW | RTLD_LOCAL);
  return true;
}

// The newest architecture up to `arch` that a compiler knows, 0 where it knows none.
int Nearest(const Compiler& compiler, int arch) {
  int newest = 0;
  for (int known : compiler.archs) {
    if (known <= arch && known > newest) newest = known;
  }
  return newest;
}

// The first compiler that makes what both the driver and the GPU can load.
bool Find(int arch, int driver_version, const std::vector<std::string>& places, Compiler* compiler,
          std::string* problem) {
  std::vector<std::string> all = places;
  for (const char* name : {"libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"}) all.push_back(name);
  *problem = "NVIDIA's run-time compiler (libnvrtc) is missing";
  for (const std::string& place : all) {
    if (!Open(place, compiler)) continue;
    const bool fits_driver = compiler->major <= driver_version / 1000;
    if (fits_driver && Nearest(*compiler, arch) > 0) return true;
    *problem = "the run-time compiler " + place +
               (fits_driver ? " knows no GPU as old as compute capability " + std::to_string(arch / 10) + "." +
                                  std::to_string(arch % 10)
                            : " is newer than the NVIDIA driver");
  }
  // CUDA 13 dropped the GPUs before 7.5.
  const std::string generation = driver_version >= 13000 && arch >= 75 ? "" : "-cu12";
  *problem += "; `pip install nvidia-cuda-nvrtc" + generation + "` brings one that fits";
  return false;
}

std::string Option(const Compiler& compiler, int arch, bool* binary) {
  const int nearest = Nearest(compiler, arch);
  *binary = nearest == arch;
  // A GPU that is newer than the compiler takes the code of an older one through the driver.
  return (*binary ? "--gpu-architecture=sm_" : "--gpu-architecture=compute_") + std::to_string(nearest);
}

std::string Run(const Compiler& compiler, const std::string& architecture, bool binary, std::string* problem) {
  Program program = nullptr;
  const char* texts[] = {kVertices, kPixels, kJob};
  const char* names[] = {"cuda_vertices.h", "cuda_pixels.h", "cuda_job.h"};
  const char* options[] = {architecture.c_str(), "--std=c++17"};
  std::string code;
  bool done = compiler.CreateProgram(&program, kKernels, "permutohedral.cu", 3, texts, names) == 0 &&
              compiler.CompileProgram(program, 2, options) == 0;
  size_t size = 0;
  if (done) {
    done = (binary ? compiler.GetCUBINSize : compiler.GetPTXSize)(program, &size) == 0;
    code.resize(size);
    done = done && size > 0 && (binary ? compiler.GetCUBIN : compiler.GetPTX)(program, &code[0]) == 0;
  }
  if (!done) {
    std::string log;
    if (program != nullptr && compiler.GetProgramLogSize(program, &size) == 0) {
      log.resize(size);
      compiler.GetProgramLog(program, &log[0]);
    }
    *problem = "the kernels do not compile with " + architecture + " (NVRTC " + std::to_string(compiler.major) + "." +
               std::to_string(compiler.minor) + "): " + log.c_str();
    code.clear();
  }
  if (program != nullptr) compiler.DestroyProgram(&program);
  return code;
}

std::string CachePath(const std::string& folder, const std::string& key) {
  if (folder.empty()) return "";
  uint64_t hash = 0xcbf29ce484222325u;  // FNV-1a
  for (unsigned char c : key) hash = (hash ^ c) * 0x100000001b3u;
  char name[32];
  std::snprintf(name, sizeof name, "/%016llx.cubin", static_cast<unsigned long long>(hash));
  return folder + name;
}

// Files begin with what they are made of, so that no other can be taken for them.
std::string ReadCached(const std::string& path, const std::string& key) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  const std::string all = text.str();
  const size_t begin = key.size() + sizeof(uint64_t);
  uint64_t size = 0;
  if (all.size() < begin || all.compare(0, key.size(), key) != 0) return "";
  all.copy(reinterpret_cast<char*>(&size), sizeof size, key.size());
  return all.size() - begin == size ? all.substr(begin) : "";
}

void WriteCached(const std::string& path, const std::string& key, const std::string& code) {
  for (size_t at = path.find('/', 1); at != std::string::npos; at = path.find('/', at + 1)) {
    mkdir(path.substr(0, at).c_str(), 0700);
  }
  const std::string partial = path + "." + std::to_string(getpid());
  const uint64_t size = code.size();
  std::ofstream file(partial, std::ios::binary);
  file << key;
  file.write(reinterpret_cast<const char*>(&size), sizeof size);
  file << code;
  file.close();
  // Processes that start together each write a file of their own; the last one to be renamed stays.
  if (!file || std::rename(partial.c_str(), path.c_str()) != 0) std::remove(partial.c_str());
}

}  // namespace

std::string Compile(int arch, int driver_version, const std::vector<std::string>& places,
                    const std::string& cache, std::string* problem) {
  Compiler compiler;
  if (!Find(arch, driver_version, places, &compiler, problem)) return "";
  problem->clear();
  bool binary = false;
  const std::string option = Option(compiler, arch, &binary);
  const std::string version = std::to_string(compiler.major) + "." + std::to_string(compiler.minor);
  const std::string key = std::string(kJob) + kVertices + kPixels + kKernels + option + " NVRTC " + version + "\n";
  const std::string path = CachePath(cache, key);
  std::string code = path.empty() ? "" : ReadCached(path, key);
  if (!code.empty()) return code;
  code = Run(compiler, option, binary, problem);
  if (!code.empty() && !path.empty()) WriteCached(path, key, code);
  return code;
}

}  // namespace cuda
}  // namespace fcam
