// Runs what `graphkit resize` made in ONNX Runtime's C++ API: an image and a factor in, a larger image out.
//
//   cpp_runner MODEL IMAGE.f32 N,C,H,W OUT.f32 FACTOR[,FACTOR]
//
// IMAGE.f32 and OUT.f32 are the numbers alone, float32 in C order, as numpy's tofile writes them. A failure of the runtime is
// an Ort::Exception; its text is what Python shows too, and `graphkit doctor --explain TEXT` reads it.
#include <onnxruntime_cxx_api.h>

#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <iostream>
#include <numeric>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

template <class Number>
std::vector<Number> numbers(const std::string& text) {
  std::vector<Number> found;
  std::istringstream words(text);
  for (std::string word; std::getline(words, word, ',');) found.push_back(static_cast<Number>(std::stod(word)));
  return found;
}

int64_t count(const std::vector<int64_t>& shape) {
  return std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<int64_t>());
}

std::vector<float> read(const std::string& path, int64_t length) {
  std::vector<float> values(static_cast<size_t>(length));
  std::ifstream file(path, std::ios::binary);
  const auto bytes = static_cast<std::streamsize>(values.size() * sizeof(float));
  if (!file.read(reinterpret_cast<char*>(values.data()), bytes) || file.peek() != EOF)
    throw std::runtime_error(path + " does not hold " + std::to_string(length) + " floats");
  return values;
}

int main(int argc, char** argv) try {
  if (argc != 6) {
    std::cerr << "usage: cpp_runner MODEL IMAGE.f32 N,C,H,W OUT.f32 FACTOR[,FACTOR]\n";
    return 2;
  }
  const auto shape = numbers<int64_t>(argv[3]);
  auto image = read(argv[2], count(shape));
  auto factor = numbers<float>(argv[5]);
  const std::vector<int64_t> factors{static_cast<int64_t>(factor.size())};

  Ort::Env environment(ORT_LOGGING_LEVEL_WARNING, "cpp_runner");
  Ort::Session session(environment, argv[1], Ort::SessionOptions{});
  const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
  const char* inputs[] = {"image", "factor"};
  Ort::Value feeds[] = {
      Ort::Value::CreateTensor<float>(memory, image.data(), image.size(), shape.data(), shape.size()),
      Ort::Value::CreateTensor<float>(memory, factor.data(), factor.size(), factors.data(), factors.size()),
  };
  Ort::AllocatorWithDefaultOptions allocator;
  const auto name = session.GetOutputNameAllocated(0, allocator);
  const char* outputs[] = {name.get()};
  const auto made = session.Run(Ort::RunOptions{nullptr}, inputs, feeds, 2, outputs, 1);

  const auto larger = made[0].GetTensorTypeAndShapeInfo().GetShape();
  std::ofstream out(argv[4], std::ios::binary);
  out.write(reinterpret_cast<const char*>(made[0].GetTensorData<float>()),
            static_cast<std::streamsize>(count(larger) * static_cast<int64_t>(sizeof(float))));
  if (!out.flush()) throw std::runtime_error(std::string("cannot write ") + argv[4]);
  std::cout << name.get();
  for (size_t at = 0; at < larger.size(); ++at) std::cout << (at ? "," : " ") << larger[at];
  std::cout << '\n';
} catch (const std::exception& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
