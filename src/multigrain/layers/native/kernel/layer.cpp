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

static int threads_of(const Layer& layer) { return layer.threads < layer.batch ? layer.threads : layer.batch; }

// What each utterance costs in all layers; nothing where one thread has all of them anyway.
static std::vector<double> costs_of(const Layer* layers, int count) {
    std::vector<double> costs(layers[0].batch, 0.0);
    for (size_t number = 0; number < costs.size() && threads_of(layers[0]) > 1; number++)
        for (int index = 0; index < count; index++) costs[number] += cost(layers[index], int(number));
    return costs;
}

static std::vector<int> in_order(const std::vector<double>& costs) {
    std::vector<int> order(costs.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int left, int right) { return costs[left] > costs[right]; });
    return order;
}

// Utterances in the order in which threads take them: what is left for the end is short, so that all end at nearly the same time, whatever else the
// machine does. Only the forward pass may, whose results do not depend on who computes them.
static std::vector<int> costliest_first(const Layer* layers, int count) { return in_order(costs_of(layers, count)); }

// Which utterances each thread computes, in all layers: the costliest first, each to the thread that has least to do so far. Equal lengths are dealt
// equally at each call, so that sums over utterances have one order.
static std::vector<std::vector<int>> deal(const Layer* layers, int count) {
    const std::vector<double> costs = costs_of(layers, count);
    std::vector<double> loads(threads_of(layers[0]), 0.0);
    std::vector<std::vector<int>> shares(loads.size());
    for (int number : in_order(costs)) {
        const size_t thread = std::min_element(loads.begin(), loads.end()) - loads.begin();
        shares[thread].push_back(number), loads[thread] += costs[number];
    }
    return shares;
}

// Runs `work(thread, arena)` for all threads at once: an utterance stays on its thread through all layers, so that nobody waits between them.
template <class Work>
static void for_threads(int count, Work work) {
    const std::function<void(int)> share = [&](int thread) {
        static thread_local Arena arena;
        SPENT_ON(ALL);
        work(thread, arena);
    };
    if (count <= 1)
        share(0);
    else
        threads->run(count, share);
}

// One utterance through all layers. What one layer gives stays where the next one wants it; Python's memory sees what it asked for alone.
static void forward(const Layer* layers, int count, int inputs, int number, Arena& arena) {
    const Arena::Place start = arena.place();
    std::vector<Utterance> steps;
    steps.reserve(count);
    std::vector<int> reach(inputs + count, 0);  // how far each state is read
    const auto read = [&](int state, int time) { reach[state] = time > reach[state] ? time : reach[state]; };
    for (int index = 0; index < count; index++) {
        const Layer& layer = layers[index];
        steps.emplace_back(layer, number, arena);
        read(layer.target_number, steps[index].targets());
        for (int scale = 0; scale < layer.scales && !layer.is_self; scale++) read(layer.source_numbers[scale], steps[index].furthest());
    }
    std::vector<State> states(inputs + count, State{});
    const auto take = [&](int state, const float* tensor, int most, int dim) {
        if (state < inputs && !states[state].values) states[state] = turned_state(tensor + long(number) * most * dim, reach[state], dim, arena);
    };
    for (int index = 0; index < count; index++) {
        const Layer& layer = layers[index];
        take(layer.target_number, layer.target, layer.targets, layer.dim);
        for (int scale = 0; scale < layer.scales && !layer.is_self; scale++)
            take(layer.source_numbers[scale], layer.source_states[scale], layer.sources, layer.dim);
        float* output = arena.take(steps[index].size());
        const Arena::Place place = arena.place();
        steps[index].forward(states.data(), output);
        arena.back_to(place);
        states[inputs + index] = State{output, steps[index].targets(), padded(steps[index].targets())};
    }
    arena.back_to(start);
}

extern "C" {

// Layers that follow each other: a later one may read what an earlier one gives. `inputs` is how many states there are before the first.
void multigrain_layers_forward(const Layer* layers, int32_t count, int32_t inputs) {
    const std::vector<int> order = costliest_first(layers, count);
    std::atomic<size_t> next{0};
    for_threads(threads_of(layers[0]), [&](int, Arena& arena) {
        for (size_t place = next++; place < order.size(); place = next++) forward(layers, count, inputs, order[place], arena);
    });
}

// The same layers in the same order; the last one's gradients come first.
void multigrain_layers_backward(const Layer* layers, int32_t count, int32_t) {
    const std::vector<std::vector<int>> shares = deal(layers, count);
    const size_t threads = shares.size();
    std::vector<Gradients> gradients(threads * count);
    std::vector<std::atomic<size_t>> done(count);
    for_threads(int(threads), [&](int thread, Arena& arena) {
        for (int index = count - 1; index >= 0; index--) {
            Gradients* of_layer = &gradients[threads * index];
            of_layer[thread].reset(layers[index]);
            for (int number : shares[thread]) {
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
