// A cell's equations as data, which the core runs: src/unrolled/cells/program.py writes them, and
// linked.h checks them.
//
// A step is a number of stages. A stage computes, for blocks of units of a few rows at a time, sums
// of products of weights with whole vectors, and then instruction by instruction what stands unit
// by unit. What a later stage reads as a whole, or sums over units, has a place of its own.
#pragma once
#include "contract.h"

namespace unrolled {

// What an instruction does: y of a, b, c, d. Comparisons give 1 or 0, and `where` takes all but 0
// for true. The second half is fused of those of the first, for fewer passes over the numbers.
// clang-format off
#define UNROLLED_INSTRUCTIONS(X)                                                                   \
    X(copy, 1) X(negative, 1) X(absolute, 1) X(sign, 1) X(exp, 1) X(log, 1) X(sqrt, 1)             \
    X(sigmoid, 1) X(tanh, 1) X(relu, 1) X(softplus, 1)                                             \
    X(add, 2) X(subtract, 2) X(multiply, 2) X(divide, 2) X(power, 2) X(minimum, 2) X(maximum, 2)   \
    X(less, 2) X(less_equal, 2) X(equal, 2) X(where, 3)                                            \
    X(multiply_add, 3)             /* a b + c, rounded once */                                     \
    X(subtract_product, 3)         /* c - a b, rounded once */                                     \
    X(multiply_add_product, 4)     /* a b + (c d), the sum rounded once */                         \
    X(multiply_tanh, 2)            /* a tanh(b) */                                                 \
    X(multiply_add_sigmoid, 3)     /* sigmoid(a b + c) */                                          \
    X(multiply_add_tanh, 3)        /* tanh(a b + c) */                                             \
    X(blend, 3)                    /* c + a (b - c), the sum rounded once */                       \
    X(sigmoid_back, 2)             /* a b (1 - b) */                                               \
    X(sigmoid_back_product, 3)     /* a c b (1 - b) */                                             \
    X(sigmoid_back_difference, 4)  /* a (c - d) b (1 - b) */                                       \
    X(tanh_back, 2)                /* a (1 - b^2) */                                               \
    X(tanh_back_product, 3)        /* a c (1 - b^2) */                                             \
    X(tanh_back_difference, 3)     /* (a - b) (1 - c^2) */                                         \
    X(tanh_back_add, 3)            /* a (1 - b^2) + c */
// clang-format on

enum class Code : int {
#define UNROLLED_NAME(name, arity) name,
    UNROLLED_INSTRUCTIONS(UNROLLED_NAME)
#undef UNROLLED_NAME
};

// Where the numbers of an operand are. `index` says which; of kept numbers and derivatives, at
// which place of a slot's row they begin.
enum class Kind : int {
    number,      // one for all
    weight,      // for each unit, the same in all rows
    input,       // [N], the cell's input is the first
    constant,    // [B]
    before,      // a state before the step, [B]
    after,       // and after it
    kept,        // [K], for the backward pass
    buffer,      // [B], from stage to stage
    scratch,     // of a block of units of a few rows
    derivative,  // [slots]: what the loss says of sums, and of weights that stand in equations
    d_state,     // [B]: what the loss says of a state after the step, and then before it
    d_input,     // [N]; is added to
    d_constant,  // [B]; is added to
};
constexpr int kinds = 13;

struct Operand {
    Kind kind;
    Index index;
    Index units;  // so many numbers; 1 is one that all units of a row share
};

struct Instruction {
    Code code;
    int to;
    int from[4];
};

// Rows `row` ... of a matrix of weights, as many as the sum has units, times an operand.
struct Term {
    int weight;
    Index row;
    int of;
};

struct Bias {
    int weight;
    Index row;
};

// to = the biases + the terms, in their order.
struct Total {
    int to;
    int first_term, terms;
    int first_bias, biases;
};

// Totals of a stage that stand one after the other and multiply the same operands, which have so
// many numbers together.
struct Alike {
    int first, count;
    Index length;
};

// to = the sum over a row's units of an operand, or its mean.
struct Reduction {
    int to, of;
    bool is_mean;
};

// Rows of a matrix of weights.
struct Piece {
    int weight;
    Index row, rows;
};

// to (+)= the pieces, one below the other, transposed, times a slot's derivatives from `begin` on.
struct BackTotal {
    int to;
    Index begin;
    int first_piece, pieces;
    bool adds;
};

// What is summed over all slots: what an operand had (-1: ones), times `width` derivatives from
// `begin` on. Goes to the pieces of weights, one below the other; each has the columns that the
// operand has units.
struct WeightGradient {
    int of;
    Index begin, width;
    int first_piece, pieces;
};

template <class X>
struct List {
    const X* data;
    int count;
};

struct Stage {
    Index units;
    List<Total> totals;
    List<Alike> alike;  // all totals, in groups
    Index length;       // numbers that all totals multiply, and one for the biases of each
    List<Instruction> instructions;
    List<Reduction> reductions;   // once all units are computed
    List<BackTotal> back_totals;  // after them
    List<int> loads, stores;      // operands in memory that instructions read, and what is written
    List<int> spreads;            // operands of one number that more units read
    List<int> multiplied;         // operands that totals multiply, each once
};

// The equations of one direction of a step, in stages.
struct Equations {
    List<Operand> operands;
    List<Stage> stages;
    int scratch;          // places of a block
    List<Index> buffers;  // units of each
    // Where each operand stands that totals multiply, if these are copied one behind the other; -1
    // for others. Then how many numbers they are.
    List<Index> copies;
    Index copied;
};

// A layer in one direction. Of what is kept it has one list: of each slot `kept` numbers.
struct Program {
    List<Index> inputs, constants, states;    // units
    List<Index> weight_rows, weight_columns;  // 0 columns: for each unit, or a bias
    List<double> numbers;
    Equations infer, train, back;
    Index kept, derivatives;   // numbers of a slot
    List<Index> state_places;  // of each state among what is kept; -1: the output, which is not
    List<Term> terms;
    List<Bias> biases;
    List<Piece> pieces;
    List<BackTotal> to_input;  // what the input's gradient is, once a block of slots is scanned
    List<WeightGradient> weight_gradients;
};

// The weights of a program: a bit of Wanted each.
constexpr int most_weights = 64;

}  // namespace unrolled
