// The only file of the core that knows Python: addresses and sizes in, checked by handed.h.
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <vector>

#include "instruction_sets.h"
#include "linked.h"

namespace nb = nanobind;

namespace unrolled {

UNROLLED_DECLARE(Core, core_)

namespace {

const Builds<Core>& builds() {
    static const Builds<Core> all(UNROLLED_BUILDS(core_));
    return all;
}

template <class T>
const Table<T>& table(int isa) {
    if constexpr (sizeof(T) == 4) return builds().at(isa).f32;
    else return builds().at(isa).f64;
}

// Whether a signal's handler has raised, as it does for Ctrl-C. Only Python's main thread runs
// handlers.
bool is_interrupted() {
    nb::gil_scoped_acquire held;
    return PyErr_CheckSignals() != 0;
}

int checked_threads(int threads) {
    require(threads >= 1, "at least one thread was expected");
    return threads;
}

// Runs it without Python's lock, and raises what it comes to.
template <class Work>
void run(Work work) {
    Outcome outcome;
    {
        nb::gil_scoped_release free;
        outcome = work(Interrupt{is_interrupted});
    }
    if (outcome == Outcome::no_memory) throw std::bad_alloc();
    if (outcome == Outcome::interrupted) throw nb::python_error();
}

// One kind of pass: a cell's shape with the instruction set that runs it.
template <class T>
struct Pass {
    int isa;
    Shape shape;

    Pass(int isa, const std::string& cell, Index inputs, Index hidden, Index projection)
        : isa(isa), shape(checked(Shape{cell_named(cell), inputs, hidden, projection})) {
        table<T>(isa);  // throws where there is none
    }

    void forward(const Layout& layout, const Five& weights, const Place& input, const Memory& h0,
                 const Memory& c0, const Place& output, const Memory& h_n, const Memory& c_n,
                 const Memory& gates, const Memory& cells, const Memory& raw, int threads) const {
        const Counts count(shape, layout);
        const Forward<T> f = {
            unrolled::weights<T>(shape, weights),
            reached<const T>("input", input, layout, shape.inputs),
            optional<const T>("h0", h0, count.hidden),
            optional<const T>("c0", c0, count.cell),
            reached<T>("output", output, layout, shape.state()),
            needed_if_any<T>("h_n", h_n, count.hidden),
            needed_if_any<T>("c_n", c_n, count.cell),
            optional<T>("gates", gates, count.kept_gates),
            optional<T>("cells", cells, count.kept_cells),
            optional<T>("raw", raw, count.kept_raw),
        };
        run([&](Interrupt interrupt) {
            return table<T>(isa).forward(shape, layout, f, checked_threads(threads), interrupt);
        });
    }

    void backward(const Layout& layout, const Five& weights, const Place& input, const Memory& h0,
                  const Memory& c0, const Place& output, const Memory& gates, const Memory& cells,
                  const Memory& raw, const Place& d_output, const Memory& d_h_n,
                  const Memory& d_c_n, const Memory& d_h0, const Memory& d_c0, const Three& carried,
                  const Place& d_input, bool adds_to_input, Wanted wanted, const Memory& sums,
                  const Five& gradients, int threads) const {
        const Counts count(shape, layout);
        const auto& [carried_h, carried_c, total_h] = carried;
        const Backward<T> g = {
            unrolled::weights<T>(shape, weights),
            reached<const T>("input", input, layout, shape.inputs),
            optional<const T>("h0", h0, count.hidden),
            optional<const T>("c0", c0, count.cell),
            reached<const T>("output", output, layout, shape.state()),
            needed_if_any<const T>("gates", gates, count.kept_gates),
            needed_if_any<const T>("cells", cells, count.kept_cells),
            needed_if_any<const T>("raw", raw, count.kept_raw),
            reached_if_given<const T>("d_output", d_output, layout, shape.state()),
            optional<const T>("d_h_n", d_h_n, count.hidden),
            optional<const T>("d_c_n", d_c_n, count.cell),
            optional<T>("d_h0", d_h0, count.hidden),
            optional<T>("d_c0", d_c0, count.cell),
            optional<T>("carried_h", carried_h, count.slots * shape.state()),
            optional<T>("carried_c", carried_c, count.kept_cells),
            optional<T>("total_h", total_h, count.slots * shape.state()),
            reached_if_given<T>("d_input", d_input, layout, shape.inputs),
            adds_to_input,
            wanted,
            optional<T>("sums", sums, sums_size(layout, wanted)),
            unrolled::gradients<T>(shape, gradients),
        };
        run([&](Interrupt interrupt) {
            return table<T>(isa).backward(shape, layout, g, checked_threads(threads), interrupt);
        });
    }

    Index sums_size(const Layout& layout, Wanted wanted) const {
        return table<T>(isa).sums_size(shape, layout, wanted);
    }

   private:
    // How many numbers there are of each kind in a call.
    struct Counts {
        Index slots, hidden, cell, kept_gates, kept_cells, kept_raw;

        Counts(const Shape& s, const Layout& layout)
            : slots(layout.slots()), hidden(times(layout.rows, s.state())),
              cell(kind_of(s.cell).has_cell ? times(layout.rows, s.hidden) : 0),
              kept_gates(times(slots, times(kind_of(s.cell).kept, s.hidden))),
              kept_cells(kind_of(s.cell).has_cell ? times(slots, s.hidden) : 0),
              kept_raw(s.projection ? times(slots, s.hidden) : 0) {}
    };
};

// The same of a cell that is given as a program.
template <class T>
struct ProgramPass {
    int isa;
    const LinkedProgram& linked;

    ProgramPass(int isa, const LinkedProgram& linked) : isa(isa), linked(linked) {
        table<T>(isa);  // throws where there is none
    }

    void forward(const Layout& layout, const std::vector<Memory>& weights,
                 const std::vector<Place>& inputs, const std::vector<Memory>& constants,
                 const std::vector<Memory>& before, const Place& output,
                 const std::vector<Memory>& after, const Memory& kept, int threads) const {
        const Program& p = linked.program();
        const Index rows = layout.rows;
        check_buffers(p, rows);
        const auto w = pointers<const T>("a weight", weights, weight_counts(), given);
        const auto x = places(inputs, layout);
        const auto c =
            pointers<const T>("a constant", constants, counts(p.constants, rows), if_any);
        const auto s = pointers<const T>("a state", before, counts(p.states, rows), optionally);
        const auto n = pointers<T>("a last state", after, counts(p.states, rows), if_any);
        const ProgramForward<T> f = {
            w.data(),
            x.data(),
            c.data(),
            s.data(),
            reached<T>("output", output, layout, p.states.data[0]),
            n.data(),
            optional<T>("kept", kept, times(layout.slots(), p.kept)),
        };
        run([&](Interrupt interrupt) {
            return table<T>(isa).program_forward(p, layout, f, checked_threads(threads), interrupt);
        });
    }

    void backward(const Layout& layout, const std::vector<Memory>& weights,
                  const std::vector<Place>& inputs, const std::vector<Memory>& constants,
                  const std::vector<Memory>& before, const Place& output, const Memory& kept,
                  const Place& d_output, const std::vector<Memory>& d_after,
                  const std::vector<Memory>& d_before, const std::vector<Memory>& carried,
                  const Memory& total, const Place& d_input, bool adds_to_input,
                  const std::vector<Memory>& d_constants, WantedWeights wanted, const Memory& sums,
                  const std::vector<Memory>& gradients, int threads) const {
        const Program& p = linked.program();
        const Index rows = layout.rows, slots = layout.slots();
        check_buffers(p, rows);
        times(slots, p.derivatives);
        const auto of_rows = counts(p.states, rows), of_slots = counts(p.states, slots);
        const auto of_constants = counts(p.constants, rows);
        const auto w = pointers<const T>("a weight", weights, weight_counts(), given);
        const auto x = places(inputs, layout);
        const auto c = pointers<const T>("a constant", constants, of_constants, if_any);
        const auto s = pointers<const T>("a state", before, of_rows, optionally);
        const auto d_n = pointers<const T>("d_after", d_after, of_rows, optionally);
        const auto d_s = pointers<T>("d_before", d_before, of_rows, optionally);
        const auto each = pointers<T>("carried", carried, of_slots, optionally);
        const auto d_c = pointers<T>("d_constants", d_constants, of_constants, optionally);
        const auto d_w = pointers<T>("a gradient", gradients, weight_counts(), optionally);
        const bool ends = std::any_of(d_w.begin(), d_w.end(), [](T* d) { return d != nullptr; });
        const ProgramBackward<T> g = {
            w.data(),
            x.data(),
            c.data(),
            s.data(),
            reached<const T>("output", output, layout, p.states.data[0]),
            needed_if_any<const T>("kept", kept, times(slots, p.kept)),
            reached_if_given<const T>("d_output", d_output, layout, p.states.data[0]),
            d_n.data(),
            d_s.data(),
            each.data(),
            optional<T>("total", total, times(slots, p.states.data[0])),
            reached_if_given<T>("d_input", d_input, layout, p.inputs.data[0]),
            adds_to_input,
            d_c.data(),
            wanted,
            optional<T>("sums", sums, sums_size(layout, wanted)),
            ends ? d_w.data() : nullptr,
        };
        run([&](Interrupt interrupt) {
            return table<T>(isa).program_backward(p, layout, g, checked_threads(threads),
                                                  interrupt);
        });
    }

    Index sums_size(const Layout& layout, WantedWeights wanted) const {
        return table<T>(isa).program_sums_size(linked.program(), layout, wanted);
    }

   private:
    enum Presence { given, if_any, optionally };

    template <class Pointer>
    static std::vector<Pointer*> pointers(const char* name, const std::vector<Memory>& memory,
                                          const std::vector<Index>& counts, Presence presence) {
        require(memory.size() == counts.size(),
                std::string(name) + ": more or fewer than expected");
        std::vector<Pointer*> found;
        for (std::size_t i = 0; i < memory.size(); ++i)
            found.push_back(presence == given ? needed<Pointer>(name, memory[i], counts[i])
                            : presence == if_any
                                ? needed_if_any<Pointer>(name, memory[i], counts[i])
                                : optional<Pointer>(name, memory[i], counts[i]));
        return found;
    }

    std::vector<Matrix<const T>> places(const std::vector<Place>& places,
                                        const Layout& layout) const {
        const List<Index>& inputs = linked.program().inputs;
        require(places.size() == static_cast<std::size_t>(inputs.count), "other inputs");
        std::vector<Matrix<const T>> found;
        for (int i = 0; i < inputs.count; ++i)
            found.push_back(reached<const T>("input", places[static_cast<std::size_t>(i)], layout,
                                             inputs.data[i]));
        return found;
    }

    // What the stages hand to each other, of all rows.
    static void check_buffers(const Program& p, Index rows) {
        for (const Equations* e : {&p.infer, &p.train, &p.back}) counts(e->buffers, rows);
    }

    static std::vector<Index> counts(const List<Index>& units, Index rows) {
        std::vector<Index> all;
        for (int i = 0; i < units.count; ++i) all.push_back(times(rows, units.data[i]));
        return all;
    }

    std::vector<Index> weight_counts() const {
        const Program& p = linked.program();
        std::vector<Index> all;
        for (int i = 0; i < p.weight_rows.count; ++i) {
            const Index columns = p.weight_columns.data[i];
            all.push_back(times(p.weight_rows.data[i], columns < 1 ? 1 : columns));
        }
        return all;
    }
};

template <class T>
void bind_pass(nb::module_& m, const char* name) {
    nb::class_<Pass<T>>(m, name)
        .def(nb::init<int, const std::string&, Index, Index, Index>())
        .def("forward", &Pass<T>::forward)
        .def("backward", &Pass<T>::backward)
        .def("sums_size", &Pass<T>::sums_size);
}

template <class T>
void bind_program(nb::module_& m, const char* name) {
    nb::class_<ProgramPass<T>>(m, name)
        .def(nb::init<int, const LinkedProgram&>(), nb::keep_alive<1, 3>())
        .def("forward", &ProgramPass<T>::forward)
        .def("backward", &ProgramPass<T>::backward)
        .def("sums_size", &ProgramPass<T>::sums_size);
}

// One instruction by itself.
template <class T>
void instruct(int isa, const std::string& name, const std::vector<Memory>& x, const Memory& y) {
    const int number = instruction_number(name);
    const Index count = std::get<1>(y);
    require(static_cast<int>(x.size()) == instruction_names[number].arity, "other operands");
    const T* from[4] = {};
    for (std::size_t i = 0; i < x.size(); ++i) from[i] = needed<const T>("x", x[i], count);
    table<T>(isa).instruct(static_cast<Code>(number), from, needed<T>("y", y, count), count);
}

// How many multiply-adds so many rounds were.
template <class T>
Index busy(int isa, Index rounds) {
    require(0 <= rounds && rounds <= Index(1) << 32, "at most 2^32 rounds were expected");
    const Table<T>& here = table<T>(isa);
    nb::gil_scoped_release free;
    volatile T sink = here.busy(rounds);
    (void)sink;
    return rounds * here.busy_width;
}

}  // namespace

NB_MODULE(_core, m) {
    // A graph that is alive when Python ends holds its passes; that is no leak of ours.
    nb::set_leak_warnings(false);
    m.def("isas", [] { return builds().names(); });
    m.def("cells", [] {
        std::vector<std::tuple<std::string, Index, Index>> all;
        for (const CellKind& kind : cell_kinds) all.emplace_back(kind.name, kind.gates, kind.kept);
        return all;
    });
    nb::class_<Sizes>(m, "Sizes")
        .def(nb::init<Index, std::vector<Index>>())
        .def("offset", &Sizes::offset);
    nb::class_<Layout>(m, "Layout")
        .def("__init__",
             [](Layout* self, Index steps, Index rows, bool reverse, Index begin, Index end) {
                 new (self) Layout(checked({steps, rows, nullptr, nullptr, reverse, begin, end}));
             })
        .def(
            "__init__",
            [](Layout* self, const Sizes& sizes, bool reverse, Index begin, Index end) {
                new (self) Layout(checked(sizes.layout(reverse, begin, end)));
            },
            nb::keep_alive<1, 2>());
    bind_pass<float>(m, "PassF32");
    bind_pass<double>(m, "PassF64");
    nb::class_<LinkedProgram>(m, "Program")
        .def(nb::init<std::vector<Index>, std::vector<Index>, std::vector<Index>,
                      const std::vector<std::tuple<Index, Index>>&, std::vector<double>,
                      const HandedEquations&, const HandedEquations&, const HandedEquations&, Index,
                      Index, std::vector<Index>, const std::vector<HandedBackTotal>&,
                      const std::vector<HandedGradient>&>());
    bind_program<float>(m, "ProgramF32");
    bind_program<double>(m, "ProgramF64");
    m.def("instruct_f32", &instruct<float>);
    m.def("instruct_f64", &instruct<double>);
    m.def("instructions", [] {
        std::vector<std::tuple<std::string, int>> all;
        for (const InstructionName& i : instruction_names) all.emplace_back(i.name, i.arity);
        return all;
    });
    m.def("busy_f32", &busy<float>);
    m.def("busy_f64", &busy<double>);
}

}  // namespace unrolled
