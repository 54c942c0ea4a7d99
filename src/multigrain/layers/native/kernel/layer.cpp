// The two functions that Python calls, and one for tests.
#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <numeric>

#include "threads.hpp"
#include "utterance.hpp"

static Threads* threads = new Threads;  // never deleted: its threads outlive the interpreter's last call

__attribute__((constructor)) static void watch_forks() {
    pthread_atfork(nullptr, nullptr, [] { threads = new Threads; });  // a child has none of its parent's threads
}

// Roughly what an utterance costs in one layer, in multiplications: products with weights, and attention.
static double cost(const Layer& layer, int number) {
    const double targets = layer.asking ? layer.asking[number] : layer.targets;
    int sources = 0;
    if (!layer.present || layer.present[number])
        for (int step = 0; step < layer.sources; step++) sources += !layer.allowed || layer.allowed[long(number) * layer.sources + step];
    const double by_target = (2.0 * layer.scales + 2.0 * layer.hidden / layer.dim + (layer.aggregation == ATTENTION ? 3.0 * layer.scales + 1.0 : 0.0)) * layer.dim;
    return layer.dim * (targets * by_target + 2.0 * sources * layer.scales * layer.dim + 6.0 * layer.scales * targets * sources);
}

// Which utterances each thread computes, in all layers: the costliest first, each to the thread that has least to do so far. Equal lengths are dealt
// equally at each call, so that sums over utterances have one order.
static std::vector<std::vector<int>> deal(const Layer* layers, int count) {
    const int batch = layers[0].batch, threads = layers[0].threads < batch ? layers[0].threads : batch;
    std::vector<double> costs(batch, 0.0), loads(threads, 0.0);
    for (int number = 0; number < batch && threads > 1; number++)
        for (int index = 0; index < count; index++) costs[number] += cost(layers[index], number);
    std::vector<int> order(batch);
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int left, int right) { return costs[left] > costs[right]; });
    std::vector<std::vector<int>> shares(threads);
    for (int number : order) {
        const size_t thread = std::min_element(loads.begin(), loads.end()) - loads.begin();
        shares[thread].push_back(number), loads[thread] += costs[number];
    }
    return shares;
}

// Runs `work(thread, utterances, arena)` for all threads at once: an utterance stays on its thread through all layers, so that nobody waits between them.
template <class Work>
static void for_threads(const std::vector<std::vector<int>>& shares, Work work) {
    const std::function<void(int)> share = [&](int thread) {
        static thread_local Arena arena;
        SPENT_ON(ALL);
        work(thread, shares[thread], arena);
    };
    if (shares.size() <= 1)
        share(0);
    else
        threads->run(int(shares.size()), share);
}

extern "C" {

// Layers that follow each other: a later one may read what an earlier one gives.
void multigrain_layers_forward(const Layer* layers, int32_t count) {
    for_threads(deal(layers, count), [&](int, const std::vector<int>& utterances, Arena& arena) {
        for (int index = 0; index < count; index++)
            for (int number : utterances) {
                const Arena::Place place = arena.place();
                Utterance(layers[index], number, arena).forward();
                arena.back_to(place);
            }
    });
}

// The same layers in the same order; the last one's gradients come first.
void multigrain_layers_backward(const Layer* layers, int32_t count) {
    const std::vector<std::vector<int>> shares = deal(layers, count);
    const size_t threads = shares.size();
    std::vector<Gradients> gradients(threads * count);
    std::vector<std::atomic<size_t>> done(count);
    for_threads(shares, [&](int thread, const std::vector<int>& utterances, Arena& arena) {
        for (int index = count - 1; index >= 0; index--) {
            Gradients* of_layer = &gradients[threads * index];
            of_layer[thread].reset(layers[index]);
            for (int number : utterances) {
                const Arena::Place place = arena.place();
                Utterance(layers[index], number, arena).backward(of_layer[thread]);
                arena.back_to(place);
            }
            if (++done[index] < threads) continue;
            for (size_t other = 0; other < threads; other++) of_layer[other].give(layers[index].parameter_gradients, other == 0);  // whoever is last, in one order
        }
    });
}

// The mask of one use, (rows, columns): 0 or 1 / (1 - rate); `by_columns` as lanes along columns compute it.
void multigrain_mask(uint64_t seed, uint64_t use, uint32_t dropped, int32_t rows, int32_t columns, int32_t by_columns, float* output) {
    const Mask mask(seed, use, dropped);
    for (int row = 0; row < rows; row++)
        for (int column = 0; column < columns; column++) {
            const Bits bits = by_columns ? mask.columns_from(column / LANES * LANES) ^ mask.row(row) : mask.rows_from(row / LANES * LANES) ^ mask.column(column);
            output[long(row) * columns + column] = keep(all(mask.scale), mask.kept(bits))[by_columns ? column % LANES : row % LANES];
        }
}

int32_t multigrain_layer_size() { return sizeof(Layer); }

int32_t multigrain_lanes() { return LANES; }
}
