// The software device's memory and libraries.
#include "software/software_device.h"

#include <chrono>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <tuple>
#include <utility>

#include "software/pipeline.h"

namespace metalgen {
namespace {

// Memory of the caller's, or (with `owned`) of the device's own.
class HostBuffer final : public Buffer {
 public:
  explicit HostBuffer(std::span<std::byte> bytes) : bytes_(bytes) {}
  explicit HostBuffer(std::size_t size)
      : owned_(std::make_unique<std::byte[]>(size)), bytes_(owned_.get(), size) {}

  std::uintptr_t handle() const override {
    return reinterpret_cast<std::uintptr_t>(bytes_.data());
  }
  std::span<std::byte> bytes() const override { return bytes_; }

 private:
  std::unique_ptr<std::byte[]> owned_;
  std::span<std::byte> bytes_;
};

using PipelineKey = std::pair<
    std::string, std::vector<std::pair<std::uint32_t, decltype(FunctionConstant::components)>>>;

PipelineKey key_of(std::string_view kernel, const std::vector<FunctionConstant>& constants) {
  PipelineKey key{std::string(kernel), {}};
  for (const FunctionConstant& constant : constants)
    key.second.emplace_back(constant.index, constant.components);
  return key;
}

class SoftwareLibrary final : public Library {
 public:
  SoftwareLibrary(Translator translator, std::shared_ptr<ThreadPool> pool)
      : translator_(std::make_shared<const Translator>(std::move(translator))),
        pool_(std::move(pool)) {}

  std::shared_ptr<Pipeline> pipeline(std::string_view kernel,
                                     std::vector<FunctionConstant> constants) override {
    const std::lock_guard lock(mutex_);
    std::shared_ptr<Pipeline>& pipeline = pipelines_[key_of(kernel, constants)];
    if (!pipeline)
      pipeline = std::make_shared<SoftwarePipeline>(std::string(kernel), std::move(constants),
                                                    translator_, pool_);
    return pipeline;
  }

 private:
  const std::shared_ptr<const Translator> translator_;
  const std::shared_ptr<ThreadPool> pool_;
  std::mutex mutex_;
  std::map<PipelineKey, std::shared_ptr<Pipeline>> pipelines_;
};

double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

class SoftwareDevice final : public Device {
 public:
  explicit SoftwareDevice(unsigned threads) : pool_(std::make_shared<ThreadPool>(threads)) {}

  std::string name() const override {
    return "software (" + std::to_string(pool_->threads()) + " threads)";
  }

  std::string family() const override { return "none: kernels run on the CPU"; }

  std::unique_ptr<Buffer> wrap(std::span<std::byte> bytes) override {
    return std::make_unique<HostBuffer>(bytes);
  }

  std::unique_ptr<Buffer> allocate(std::size_t bytes) override {
    return std::make_unique<HostBuffer>(bytes);
  }

  std::shared_ptr<Library> load(std::span<const std::byte>, Translator translator) override {
    return std::make_shared<SoftwareLibrary>(std::move(translator), pool_);
  }

  void run(std::span<const Launch> launches) override {
    for (const Launch& launch : launches) launch.pipeline->dispatch(launch.dispatch);
  }

  void synchronize() override {}  // a dispatch has finished when it returns

  Interval time(const std::function<void()>& work) override {
    const double start = seconds();
    work();
    return {start, seconds()};
  }

 private:
  const std::shared_ptr<ThreadPool> pool_;
};

}  // namespace

std::unique_ptr<Device> make_software_device(unsigned threads) {
  return std::make_unique<SoftwareDevice>(threads);
}

}  // namespace metalgen
