// A few threads that wait for work. The first share is done by the caller.
#pragma once
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

class Threads {
  public:
    // Runs work(0) .. work(count - 1) at once and returns when all are done; calls from several threads take turns.
    void run(int count, const std::function<void(int)>& work) {
        std::lock_guard<std::mutex> turn(turns);
        {
            std::lock_guard<std::mutex> guard(mutex);
            for (; alive < count; alive++) std::thread(&Threads::serve, this, alive).detach();
            current = &work, wanted = count, pending = count - 1, round++;
        }
        started.notify_all();
        work(0);
        std::unique_lock<std::mutex> guard(mutex);
        finished.wait(guard, [&] { return pending == 0; });
    }

  private:
    void serve(int number) {
        uint64_t done = 0;
        for (;;) {
            const std::function<void(int)>* work;
            {
                std::unique_lock<std::mutex> guard(mutex);
                started.wait(guard, [&] { return round != done; });
                done = round;
                if (number >= wanted) continue;
                work = current;
            }
            (*work)(number);
            std::lock_guard<std::mutex> guard(mutex);
            if (--pending == 0) finished.notify_one();
        }
    }
    std::mutex turns, mutex;
    std::condition_variable started, finished;
    const std::function<void(int)>* current = nullptr;
    int alive = 1, wanted = 0, pending = 0;
    uint64_t round = 0;
};
