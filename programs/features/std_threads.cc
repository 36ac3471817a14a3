#include <atomic>
#include <condition_variable>
#include <cstdio>
#include <future>
#include <mutex>
#include <queue>
#include <shared_mutex>
#include <stdexcept>
#include <thread>
#include <vector>
static std::once_flag flag;
static int once_count;
static std::atomic<long> total;
int main() {
  std::vector<std::thread> threads;
  for (int i = 0; i < 6; i++) threads.emplace_back([i] {
      std::call_once(flag, [] { once_count++; });
      for (int k = 0; k < 1000; k++) total.fetch_add(i, std::memory_order_relaxed);
    });
  for (auto &thread : threads) thread.join();
  std::printf("%d %ld\n", once_count, total.load());

  std::mutex lock;
  std::condition_variable changed;
  std::queue<int> queue;
  bool done = false;
  long sum = 0;
  std::thread consumer([&] {
    std::unique_lock hold(lock);
    while (changed.wait(hold, [&] { return done || !queue.empty(); }), !queue.empty()) sum += queue.front(), queue.pop();
  });
  for (int i = 1; i <= 100; i++) {
    { std::lock_guard hold(lock); queue.push(i); }
    changed.notify_one();
  }
  { std::lock_guard hold(lock); done = true; }
  changed.notify_one();
  consumer.join();
  std::printf("%ld\n", sum);

  auto answer = std::async(std::launch::async, [] { return 6 * 7; });
  auto failure = std::async(std::launch::async, []() -> int { throw std::runtime_error("from a task"); });
  std::promise<std::string> promise;
  auto future = promise.get_future();
  std::thread([&promise] { promise.set_value("promised"); }).join();
  std::printf("%d %s\n", answer.get(), future.get().c_str());
  try {
    failure.get();
  } catch (const std::runtime_error &e) {
    std::puts(e.what());
  }
  std::shared_mutex shared;
  { std::shared_lock one(shared); std::printf("%d\n", shared.try_lock_shared()); shared.unlock_shared(); }
}
