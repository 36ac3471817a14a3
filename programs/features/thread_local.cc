// thread_local objects: built at first use in each thread, destroyed at its end, with wrappers across functions.
#include <condition_variable>
#include <cstdio>
#include <mutex>
#include <string>
#include <thread>
#include <vector>
static std::mutex lock;
static std::string events;
static void note(const std::string &text) {
  std::lock_guard hold(lock);
  events += text + " ";
}
struct Counted {
  int value = 0;
  std::string name;
  Counted() : name("object") { note("+"); }
  ~Counted() { note("-" + std::to_string(value)); }
};
thread_local Counted counted;
static thread_local int dynamic = [] { note("init"); return 5; }();
static thread_local std::vector<int> list{1, 2, 3};
struct Member { static thread_local int inner; };
thread_local int Member::inner = 8;
int main() {
  for (int t = 1; t <= 3; t++) {
    std::thread([t] {
      counted.value += t;
      dynamic += t;
      list.push_back(dynamic);
      Member::inner += int(list.size());
      note(std::to_string(list.back()) + "/" + std::to_string(Member::inner));
    }).join();
  }
  std::printf("%s\n", events.c_str());
  events.clear();
  std::printf("%d %zu %d\n", dynamic, list.size(), Member::inner);
  std::printf("%s\n", events.c_str());
}
