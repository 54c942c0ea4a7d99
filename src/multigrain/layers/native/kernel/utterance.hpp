// One utterance through one layer, forward and backward.
#pragma once
#include "scales.hpp"
#include "sparse_attention.hpp"
#include "state.hpp"

// What a dropout mask is for; every mask of a layer has a number of its own.
enum Use : uint64_t { USE_ATTENTION = 0, USE_AGGREGATION = 1, USE_RESIDUAL = 2, USE_HIDDEN = 3, USE_UPDATE = 4 };

class Utterance {
  public:
    Utterance(const Layer& layer, int number, Arena& arena)
        : layer(layer), number(number), arena(arena), dim(layer.dim), width(dim / layer.heads), time(layer.asking ? layer.asking[number] : layer.targets),
          stride(padded(time)) {
        const bool is_there = !layer.present || layer.present[number];
        for (int step = 0; is_there && step < (layer.is_self ? time : layer.sources); step++)
            if (!layer.allowed || layer.allowed[long(number) * layer.sources + step]) steps.push_back(step);
        source_stride = padded(int(steps.size()));
        for (int scale = 0; scale < layer.scales; scale++)
            if (!layer.kept || layer.kept[long(scale) * layer.batch + number]) scales.push_back(scale);
    }

    // From states that are there to its own; see `State`.
    void forward(const State* states_of, float* output) {
        read_target(states_of[layer.target_number], false);
        float *attended = layer.attended, *normalisers = layer.normalisers;
        attended = attended ? attended + place_of_attended() : arena.take(size_t(layer.scales) * dim * stride);
        normalisers = normalisers ? normalisers + place_of_normalisers() : nullptr;
        for (int scale : scales) {
            const Arena::Place place = arena.place();
            float* answers = attended + long(scale) * dim * stride;
            if (steps.empty()) {
                std::memset(answers, 0, sizeof(float) * dim * stride);
            } else {
                const Source source = project(scale, layer.is_self ? State{} : states_of[layer.source_numbers[scale]], false);
                for (int head = 0; head < layer.heads; head++) {
                    const Arena::Place inner = arena.place();
                    attend_with(head_of(source, head), attention_mask(scale, head), answers + long(head) * width * stride,
                                normalisers ? normalisers + (long(scale) * layer.heads + head) * stride : nullptr);
                    arena.back_to(inner);
                }
            }
            arena.back_to(place);
        }
        for (int first = 0; first < stride; first += STEPS_OF_BLOCK) {
            const Arena::Place place = arena.place();
            Block block(*this, first, attended);
            block.forward(true);
            block.give(output);
            arena.back_to(place);
        }
        if (!layer.result) return;
        write_steps<Into::replace>(output, stride, time, dim, target_steps(layer.result));
        clear_rest(layer.result);
    }

    // How many floats its state has, target steps that are computed, and how far the source steps reach that it reads.
    size_t size() const { return size_t(dim) * stride; }
    int targets() const { return time; }
    int furthest() const { return steps.empty() ? 0 : steps.back() + 1; }

    void backward(Gradients& gradients) {
        read_target(turned(layer.target, layer.targets, time), true);
        const float* attended = layer.attended + place_of_attended();
        const float* normalisers = layer.normalisers + place_of_normalisers();
        float* attended_gradient = arena.zeros(size_t(layer.scales) * dim * stride);
        float* normalised_gradient = arena.zeros(size_t(dim) * stride);
        float* target_gradient = arena.zeros(size_t(dim) * stride);
        for (int first = 0; first < stride; first += STEPS_OF_BLOCK) {
            const Arena::Place place = arena.place();
            Block block(*this, first, attended);
            block.forward(false);
            block.backward(gradients, attended_gradient, (layer.adds_to_normalised ? normalised_gradient : target_gradient));
            arena.back_to(place);
        }
        for (int scale : scales)
            if (!steps.empty()) attention_backward(scale, attended, normalisers, attended_gradient, normalised_gradient, gradients);
        normalise_backward(layer.target_norm, normalised_gradient, unit, inverse, stride, dim, stride, gradients.row(Gradients::TARGET_NORM_SCALE),
                           gradients.row(Gradients::TARGET_NORM_SHIFT));
        for (int place = 0; place < dim * stride; place += LANES)
            store(target_gradient + place, load(target_gradient + place) + load(normalised_gradient + place));
        write_steps<Into::add>(target_gradient, stride, time, dim, target_steps(layer.target_gradient));
    }

  private:
    // Queries, keys and values of one scale, as (dim, step).
    struct Source {
        const float* states;  // normalised source steps
        float *unit, *inverse;  // null where no gradient follows
        float *query, *key, *value;
    };

    // A block of target steps after attention: output projection, aggregation, residual and feed-forward.
    struct Block {
        Block(Utterance& owner, int first, const float* attended)
            : owner(owner), layer(owner.layer), arena(owner.arena), first(first), dim(owner.dim), stride(owner.stride), attended(attended),
              steps(owner.stride - first < STEPS_OF_BLOCK ? owner.stride - first : STEPS_OF_BLOCK),
              real(owner.time < first ? 0 : owner.time - first < steps ? owner.time - first : steps),
              scale_mask(layer.seed, owner.use(USE_AGGREGATION), layer.aggregation_dropped),
              residual_mask(layer.seed, owner.use(USE_RESIDUAL), layer.residual_dropped),
              hidden_mask(layer.seed, owner.use(USE_HIDDEN), layer.hidden_dropped), update_mask(layer.seed, owner.use(USE_UPDATE), layer.residual_dropped),
              scale_attention(layer, owner.scales, scale_mask, first, steps, arena) {
            const size_t size = size_t(dim) * STEPS_OF_BLOCK;
            candidates = arena.take(size * owner.scales.size()), sum = arena.take(size), unit = arena.take(size), normalised = arena.take(size);
            inverse = arena.take(STEPS_OF_BLOCK), hidden = arena.take(size_t(layer.hidden) * STEPS_OF_BLOCK), result = arena.take(size);
        }

        // `with_result` is false where only what the backward pass needs is wanted.
        void forward(bool with_result) {
            const std::vector<int>& scales = owner.scales;
            for (size_t index = 0; index < scales.size(); index++)
                product(layer.output_weight + long(scales[index]) * dim * dim, dim, 1, dim, dim, attended + long(scales[index]) * dim * stride + first, stride,
                        candidates + index * dim * STEPS_OF_BLOCK, STEPS_OF_BLOCK, steps, layer.output_bias + long(scales[index]) * dim);
            float* aggregated = candidates;
            if (layer.aggregation == ATTENTION) {
                scale_attention.forward(candidates, aggregated = sum);
            } else if (scales.size() > 1) {
                aggregated = sum;
                for (int place = 0; place < dim * STEPS_OF_BLOCK; place += LANES) {
                    Floats total = {};
                    for (size_t index = 0; index < scales.size(); index++) total += load(candidates + index * dim * STEPS_OF_BLOCK + place);
                    store(sum + place, total * (1.0f / float(scales.size())));
                }
            }
            const float* base = layer.adds_to_normalised ? owner.normalised : owner.states;
            for_all(dim, [&](int row, int step, int place) {
                store(sum + place, load(base + row * stride + first + step) + dropped(residual_mask, row, step, load(aggregated + place)));
            });
            normalise(layer.feed_forward_norm, sum, STEPS_OF_BLOCK, dim, steps, normalised, unit, inverse);
            product(layer.expand_weight, dim, 1, layer.hidden, dim, normalised, STEPS_OF_BLOCK, hidden, STEPS_OF_BLOCK, steps, layer.expand_bias);
            for_all(layer.hidden, [&](int row, int step, int place) {
                store(hidden + place, dropped(hidden_mask, row, step, larger(load(hidden + place), Floats{})));
            });
            if (!with_result) return;
            product(layer.contract_weight, layer.hidden, 1, dim, layer.hidden, hidden, STEPS_OF_BLOCK, result, STEPS_OF_BLOCK, steps, layer.contract_bias);
            for_all(dim, [&](int row, int step, int place) {
                store(result + place, load(sum + place) + dropped(update_mask, row, step, load(result + place)));
            });
        }

        // The result's place in the whole, with zeros in lanes that stand for no step.
        void give(float* output) const {
            SPENT_ON(LAYOUT);
            for (int row = 0; row < dim; row++)
                for (int step = 0; step < steps; step += LANES)
                    store(output + long(row) * stride + first + step, keep(load(result + row * STEPS_OF_BLOCK + step), (Ints)lane_numbers() < real - step));
        }

        // Adds to the gradients of the attended values and of what the residual adds to.
        void backward(Gradients& gradients, float* attended_gradient, float* base_gradient) {
            const int columns = padded(dim);
            const size_t size = size_t(dim) * STEPS_OF_BLOCK;
            const std::vector<int>& scales = owner.scales;
            float *above = arena.zeros(size), *update = arena.take(size), *turned = arena.take(size_t(STEPS_OF_BLOCK) * columns);
            float *inner = arena.take(size_t(layer.hidden) * STEPS_OF_BLOCK), *below = arena.take(size);
            read_steps(real, dim, owner.target_steps(layer.gradient, first), above, STEPS_OF_BLOCK);
            for_all(dim, [&](int row, int step, int place) { store(update + place, dropped(update_mask, row, step, load(above + place))); });
            transpose(update, STEPS_OF_BLOCK, dim, real, turned, columns);
            add_outer(hidden, STEPS_OF_BLOCK, layer.hidden, turned, columns, columns, real, gradients[Gradients::CONTRACT].values, columns);
            add_row_sums(update, STEPS_OF_BLOCK, dim, steps, gradients.row(Gradients::CONTRACT_BIAS));
            product(layer.contract_weight, 1, layer.hidden, layer.hidden, dim, update, STEPS_OF_BLOCK, inner, STEPS_OF_BLOCK, steps);
            const float scale = hidden_mask.scale;  // hidden is above 0 where the ReLU was open and the value was kept
            for_all(layer.hidden, [&](int, int, int place) { store(inner + place, keep(load(inner + place) * scale, (Ints)(load(hidden + place) > 0.0f))); });
            transpose(normalised, STEPS_OF_BLOCK, dim, real, turned, columns);
            add_outer(inner, STEPS_OF_BLOCK, layer.hidden, turned, columns, columns, real, gradients[Gradients::EXPAND].values, columns);
            add_row_sums(inner, STEPS_OF_BLOCK, layer.hidden, steps, gradients.row(Gradients::EXPAND_BIAS));
            product(layer.expand_weight, 1, dim, dim, layer.hidden, inner, STEPS_OF_BLOCK, below, STEPS_OF_BLOCK, steps);
            normalise_backward(layer.feed_forward_norm, below, unit, inverse, STEPS_OF_BLOCK, dim, steps, gradients.row(Gradients::FEED_FORWARD_NORM_SCALE),
                               gradients.row(Gradients::FEED_FORWARD_NORM_SHIFT));
            for_all(dim, [&](int row, int step, int place) {
                const Floats value = load(above + place) + load(below + place);
                float* base = base_gradient + row * stride + first + step;
                store(base, load(base) + value);
                store(update + place, dropped(residual_mask, row, step, value));
            });
            float* candidates_gradient = update;
            if (layer.aggregation == ATTENTION) {
                candidates_gradient = arena.take(size * scales.size());
                scale_attention.backward(update, real, candidates_gradient, gradients, arena);
            } else if (scales.size() > 1) {
                for_all(dim, [&](int, int, int place) { store(update + place, load(update + place) * (1.0f / float(scales.size()))); });
            }
            for (size_t index = 0; index < scales.size(); index++) {
                const int scale = scales[index];
                const float* of_candidate = layer.aggregation == ATTENTION ? candidates_gradient + index * size : update;
                const long offset = long(scale) * dim * stride + first;
                transpose(attended + offset, stride, dim, real, turned, columns);
                add_outer(of_candidate, STEPS_OF_BLOCK, dim, turned, columns, columns, real, gradients.matrix(Gradients::OUTPUT, scale, dim), columns);
                add_row_sums(of_candidate, STEPS_OF_BLOCK, dim, steps, gradients.row(Gradients::OUTPUT_BIAS, scale));
                product(layer.output_weight + long(scale) * dim * dim, 1, dim, dim, dim, of_candidate, STEPS_OF_BLOCK, attended_gradient + offset, stride, steps);
            }
        }

        template <class Body>
        INLINE_MEMBER void for_all(int rows, Body body) const {
            SPENT_ON(ELEMENT_WISE);
            for (int row = 0; row < rows; row++)
                for (int step = 0; step < steps; step += LANES) body(row, step, row * STEPS_OF_BLOCK + step);
        }
        INLINE_MEMBER Floats dropped(const Mask& mask, int row, int step, Floats values) const {
            return mask.is_on() ? keep(values * mask.scale, mask.kept(mask.columns_from(first + step) ^ mask.row(row))) : values;
        }

        Utterance& owner;
        const Layer& layer;
        Arena& arena;
        const int first, dim, stride;
        const float* attended;
        const int steps, real;
        const Mask scale_mask, residual_mask, hidden_mask, update_mask;
        ScaleAttention scale_attention;
        float *candidates, *sum, *unit, *normalised, *inverse, *hidden, *result;
    };

    uint64_t use(Use use, int part = 0) const { return (uint64_t(use) << 56) + uint64_t(number) * layer.scales * layer.heads + part; }
    Mask attention_mask(int scale, int head) const { return Mask(layer.seed, use(USE_ATTENTION, scale * layer.heads + head), layer.attention_dropped); }

    const uint32_t* hashes(const Mask& mask, size_t count) {
        uint32_t* values = reinterpret_cast<uint32_t*>(arena.take(count));
        for (size_t index = 0; index < count; index++) values[index] = mask.column(index);
        return values;
    }

    // Steps of this utterance between (batch, targets, dim) and (dim, step).
    template <class Pointer>
    Steps<Pointer> target_steps(Pointer of_targets, int first = 0) const { return {of_targets + (long(number) * layer.targets + first) * dim, dim}; }
    // The real source steps of one scale.
    template <class Pointer>
    PickedSteps<Pointer> source_steps(Pointer of_scale) const { return {of_scale + long(number) * layer.sources * dim, dim, steps.data()}; }

    void clear_rest(float* of_targets) const {
        std::memset(of_targets + (long(number) * layer.targets + time) * dim, 0, sizeof(float) * (layer.targets - time) * dim);
    }
    // Where this utterance's part begins; each has room for the longest.
    size_t place_of_attended() const { return size_t(number) * layer.scales * dim * padded(layer.targets); }
    size_t place_of_normalisers() const { return size_t(number) * layer.scales * layer.heads * padded(layer.targets); }

    // The first `count` steps of this utterance, of `most` in Python's memory.
    State turned(const float* tensor, int most, int count) const { return turned_state(tensor + long(number) * most * dim, count, dim, arena); }

    void read_target(const State& target, bool with_gradient) {
        unit = with_gradient ? arena.take(size_t(dim) * stride) : nullptr, inverse = with_gradient ? arena.take(stride) : nullptr;
        states = target.time == time ? target.values : target.picked(nullptr, time, stride, dim, arena), normalised = arena.take(size_t(dim) * stride);
        normalise(layer.target_norm, states, stride, dim, stride, normalised, unit, inverse);
    }

    // Whether source steps are simply the first so many.
    bool is_prefix() const { return steps.empty() || steps.back() == int(steps.size()) - 1; }

    // In self-attention the source's steps are the target's own that are real.
    Source project(int scale, const State& given, bool with_gradient) {
        Source source{};
        const size_t size = size_t(dim) * source_stride;
        const int count = int(steps.size());
        const State asked = layer.is_self ? State{normalised, time, stride} : given;
        source.states = asked.time == count && is_prefix() ? asked.values : asked.picked(steps.data(), count, source_stride, dim, arena);
        if (!layer.is_self && layer.is_normed_source) {
            if (with_gradient) source.unit = arena.take(size), source.inverse = arena.take(source_stride);
            float* normed = arena.take(size);
            normalise(layer.source_norm, source.states, source_stride, dim, source_stride, normed, source.unit, source.inverse);
            source.states = normed;
        }
        source.query = arena.take(size_t(dim) * stride), source.key = arena.take(size), source.value = arena.take(size);
        product(layer.query_weight + long(scale) * dim * dim, dim, 1, dim, dim, normalised, stride, source.query, stride, stride, layer.query_bias + long(scale) * dim);
        product(layer.key_value_weight + long(scale) * 2 * dim * dim, dim, 1, dim, dim, source.states, source_stride, source.key, source_stride, source_stride, layer.key_value_bias + long(scale) * 2 * dim);
        product(layer.key_value_weight + (long(scale) * 2 + 1) * dim * dim, dim, 1, dim, dim, source.states, source_stride, source.value, source_stride, source_stride,
                layer.key_value_bias + (long(scale) * 2 + 1) * dim);
        const float factor = unit_of_scores() / std::sqrt(float(width));
        for (long place = 0; place < long(dim) * stride; place += LANES) store(source.query + place, load(source.query + place) * factor);
        return source;
    }

    // Softmax takes powers of 2.
    float unit_of_scores() const { return layer.is_sparse ? 1.0f : LOG2_OF_E; }

    Head head_of(const Source& source, int head) const {
        const long row = long(head) * width;
        return {source.query + row * stride, source.key + row * source_stride, source.value + row * source_stride, time, int(steps.size()), stride, source_stride};
    }

    // One head's attention, forward and backward, in the form that the layer has.
    void attend_with(const Head& head, const Mask& mask, float* output, float* normalisers) {
        const uint32_t* columns = mask.is_on() ? hashes(mask, steps.size()) : nullptr;
        const auto run = layer.is_sparse ? (mask.is_on() ? attend_sparsely<true> : attend_sparsely<false>) : (mask.is_on() ? attend<true> : attend<false>);
        run(width, head, mask, columns, output, normalisers, arena.take(layer.is_sparse ? room_of_rows(head.sources) + head.sources : ROOM_OF_ATTENTION));
    }
    void attend_backward_with(const Head& head, const Mask& mask, const HeadGradients& gradients) {
        const uint32_t* columns = mask.is_on() ? hashes(mask, steps.size()) : nullptr;
        const auto run = layer.is_sparse ? (mask.is_on() ? attend_sparsely_backward<true> : attend_sparsely_backward<false>)
                                         : (mask.is_on() ? attend_backward<true> : attend_backward<false>);
        run(width, head, mask, columns, gradients, arena.take(layer.is_sparse ? room_of_sparse_backward(width, head) : room_of_backward(width, head)));
    }

    void attention_backward(int scale, const float* attended, const float* normalisers, const float* attended_gradient, float* normalised_gradient,
                            Gradients& gradients) {
        const Arena::Place place = arena.place();
        const Source source = project(scale, layer.is_self ? State{} : turned(layer.source_states[scale], layer.sources, furthest()), true);
        const int count = int(steps.size()), columns = padded(dim);
        const size_t size = size_t(dim) * stride, source_size = size_t(dim) * source_stride;
        float *query = arena.take(size), *key = arena.take(source_size), *value = arena.take(source_size), *totals = arena.take(stride);
        for (int head = 0; head < layer.heads; head++) {
            const Arena::Place inner = arena.place();
            const long offset = (long(scale) * dim + head * width) * stride, row = long(head) * width;
            const float* above = attended_gradient + offset;
            for (int step = 0; step < stride; step += LANES) {
                Floats total = {};
                for (int index = 0; index < width; index++) total += load(above + long(index) * stride + step) * load(attended + offset + long(index) * stride + step);
                store(totals + step, total);
            }
            const float* sums = normalisers + (long(scale) * layer.heads + head) * stride;
            const Mask mask = attention_mask(scale, head);
            const HeadGradients of_head{sums, totals, above, query + row * stride, key + row * source_stride, value + row * source_stride};
            attend_backward_with(head_of(source, head), mask, of_head);
            arena.back_to(inner);
        }
        const float factor = 1.0f / std::sqrt(float(width));
        for (size_t at = 0; at < size; at += LANES) store(query + at, load(query + at) * factor);
        for (size_t at = 0; at < source_size; at += LANES) store(key + at, load(key + at) * (1.0f / unit_of_scores()));
        float* turned = arena.take(size_t(stride > source_stride ? stride : source_stride) * columns);
        transpose(normalised, stride, dim, time, turned, columns);
        add_outer(query, stride, dim, turned, columns, columns, time, gradients.matrix(Gradients::QUERY, scale, dim), columns);
        add_row_sums(query, stride, dim, stride, gradients.row(Gradients::QUERY_BIAS, scale));
        product(layer.query_weight + long(scale) * dim * dim, 1, dim, dim, dim, query, stride, normalised_gradient, stride, stride, nullptr, Into::add);
        transpose(source.states, source_stride, dim, count, turned, columns);
        add_outer(key, source_stride, dim, turned, columns, columns, count, gradients.matrix(Gradients::KEY_VALUE, 2 * scale, dim), columns);
        add_outer(value, source_stride, dim, turned, columns, columns, count, gradients.matrix(Gradients::KEY_VALUE, 2 * scale + 1, dim), columns);
        add_row_sums(key, source_stride, dim, source_stride, gradients.row(Gradients::KEY_VALUE_BIAS, 2 * scale));
        add_row_sums(value, source_stride, dim, source_stride, gradients.row(Gradients::KEY_VALUE_BIAS, 2 * scale + 1));
        float* below = arena.take(source_size);
        product(layer.key_value_weight + long(scale) * 2 * dim * dim, 1, dim, dim, dim, key, source_stride, below, source_stride, source_stride);
        product(layer.key_value_weight + (long(scale) * 2 + 1) * dim * dim, 1, dim, dim, dim, value, source_stride, below, source_stride, source_stride, nullptr, Into::add);
        if (layer.is_self) {
            SPENT_ON(LAYOUT);
            for (int row = 0; row < dim; row++)
                for (int index = 0; index < count; index++) normalised_gradient[long(row) * stride + steps[index]] += below[long(row) * source_stride + index];
        } else {
            if (layer.is_normed_source)
                normalise_backward(layer.source_norm, below, source.unit, source.inverse, source_stride, dim, source_stride,
                                   gradients.row(Gradients::SOURCE_NORM_SCALE), gradients.row(Gradients::SOURCE_NORM_SHIFT));
            write_steps<Into::add>(below, source_stride, count, dim, source_steps(layer.source_gradients[scale]));
        }
        arena.back_to(place);
    }

    const Layer& layer;
    const int number;
    Arena& arena;
    const int dim, width, time, stride;  // time: target steps that are computed
    int source_stride;
    std::vector<int> steps, scales;  // real source steps; scales that are kept
    const float* states;
    float *normalised, *unit, *inverse;
};
