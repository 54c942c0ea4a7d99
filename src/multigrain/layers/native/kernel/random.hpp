// Dropout masks that are nowhere kept: whether an element is dropped follows from a seed and its place alone.
//
// An element at (row, column) of a matrix is dropped where mix(hash(row) ^ hash'(column)) falls below rate * 2^32, so that forward
// and backward pass, and lanes along rows or along columns, see one mask. The finaliser is of the multiply and shift kind.
#pragma once
#include "vector.hpp"

INLINE uint64_t mix_seed(uint64_t seed) {
    seed += 0x9e3779b97f4a7c15ull;
    seed = (seed ^ (seed >> 30)) * 0xbf58476d1ce4e5b9ull;
    seed = (seed ^ (seed >> 27)) * 0x94d049bb133111ebull;
    return seed ^ (seed >> 31);
}

template <class Number>
INLINE Number hash(Number number) {
    number = (number ^ (number >> 16)) * 0x7feb352du;
    number = (number ^ (number >> 15)) * 0x846ca68bu;
    return number ^ (number >> 16);
}

// One dropout mask over a matrix.
struct Mask {
    uint32_t of_rows, of_columns, dropped;
    float scale;  // of what is kept

    // `dropped` is the rate in units of 2^-32; equal (seed, use) give equal masks.
    Mask(uint64_t seed, uint64_t use, uint32_t dropped) : dropped(dropped) {
        const uint64_t mixed = mix_seed(seed ^ mix_seed(use));
        of_rows = uint32_t(mixed), of_columns = uint32_t(mixed >> 32);
        scale = float(1.0 / (1.0 - dropped * 0x1p-32));
    }
    bool is_on() const { return dropped != 0; }
    uint32_t row(uint32_t number) const { return hash(number * 0x9e3779b1u ^ of_rows); }
    uint32_t column(uint32_t number) const { return hash(number * 0x85ebca6bu ^ of_columns); }
    Bits rows_from(uint32_t first) const { return hash((lane_numbers() + first) * 0x9e3779b1u ^ of_rows); }
    Bits columns_from(uint32_t first) const { return hash((lane_numbers() + first) * 0x85ebca6bu ^ of_columns); }
    // All bits set in lanes that are kept.
    Ints kept(Bits row_and_column) const {
        Bits bits = row_and_column * 0x9e3779b1u;
        bits = (bits ^ (bits >> 15)) * 0x2c1b3c6du;
        return (Ints)(bits >= dropped);
    }
};

INLINE Floats keep(Floats values, Ints kept) { return (Floats)((Ints)values & kept); }
