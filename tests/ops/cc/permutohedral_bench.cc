// Times loss and gradient of a synthetic photo, without Python: permutohedral_bench [size] [classes] [rounds]

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "permutohedral.h"

namespace {

template <typename Run>
double MedianMilliseconds(int rounds, const Run& run) {
  std::vector<double> times;
  for (int i = 0; i < rounds; ++i) {
    const auto start = std::chrono::steady_clock::now();
    run();
    times.push_back(std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count());
  }
  std::nth_element(times.begin(), times.begin() + rounds / 2, times.end());
  return times[rounds / 2];
}

}  // namespace

int main(int argc, char** argv) {
  const int size = argc > 1 ? std::atoi(argv[1]) : 224;
  const int classes = argc > 2 ? std::atoi(argv[2]) : 2;
  const int rounds = argc > 3 ? std::atoi(argv[3]) : 101;
  std::vector<uint8_t> pixels;
  std::vector<float> probabilities, gradient(static_cast<size_t>(size) * size * classes), copy(gradient.size());
  for (int y = 0; y < size; ++y) {
    for (int x = 0; x < size; ++x) {
      for (int c = 0; c < 3; ++c) {
        const double wave = std::sin(0.05 * x + c) + std::cos(0.031 * y * (c + 1)) + 0.2 * std::sin(1.7 * x + 2.3 * y);
        pixels.push_back(static_cast<uint8_t>(127 + 55 * wave));
      }
      for (int k = 0; k < classes; ++k) probabilities.push_back((1 + 0.5f * std::sin(0.02f * (x + k * y))) / classes);
    }
  }
  const fcam::Image image = {pixels.data(), true, size, size, 3, 15, 100.0f * size / 224};
  fcam::Workspace workspace;
  double loss = 0;
  auto run = [&] { fcam::CrfLoss(workspace, image, probabilities.data(), classes, true, &loss, gradient.data()); };
  run();
  const double time = MedianMilliseconds(rounds, run);
  const double floor = MedianMilliseconds(
      rounds, [&] { std::memcpy(copy.data(), probabilities.data(), copy.size() * sizeof(float)); });
  std::printf("%s %dx%d K=%d: %.3f ms, %.0f vertices, %.1f times a copy of the probabilities, loss %g\n",
              fcam::InstructionSet(), size, size, classes, time, static_cast<double>(workspace.vertices()),
              time / floor, loss);
  return 0;
}
