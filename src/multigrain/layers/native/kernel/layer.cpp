// The two functions that Python calls, and one for tests.
#include <pthread.h>

#include "threads.hpp"
#include "utterance.hpp"

static Threads* threads = new Threads;  // never deleted: its threads outlive the interpreter's last call

__attribute__((constructor)) static void watch_forks() {
    pthread_atfork(nullptr, nullptr, [] { threads = new Threads; });  // a child has none of its parent's threads
}

// Deals utterances to threads in turn, the same ones at each call, so that sums over them are the same too.
template <class Work>
static void for_utterances(const Layer& layer, Work work) {
    const int count = layer.threads < layer.batch ? layer.threads : layer.batch;
    const std::function<void(int)> share = [&](int thread) {
        static thread_local Arena arena;
        for (int number = thread; number < layer.batch; number += count) {
            SPENT_ON(ALL);
            const Arena::Place place = arena.place();
            work(thread, number, arena);
            arena.back_to(place);
        }
    };
    if (count <= 1)
        share(0);
    else
        threads->run(count, share);
}

extern "C" {

void multigrain_layer_forward(const Layer* layer) {
    for_utterances(*layer, [&](int, int number, Arena& arena) { Utterance(*layer, number, arena).forward(); });
}

void multigrain_layer_backward(const Layer* layer) {
    std::vector<Gradients> gradients(layer->threads < layer->batch ? layer->threads : layer->batch);
    for (Gradients& sums : gradients) sums.reset(*layer);
    for_utterances(*layer, [&](int thread, int number, Arena& arena) { Utterance(*layer, number, arena).backward(gradients[thread]); });
    for (size_t thread = 0; thread < gradients.size(); thread++) gradients[thread].give(layer->parameter_gradients, thread == 0);
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
