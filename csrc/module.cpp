// The only file that knows Python: addresses and sizes in, which scan/native.py has checked.
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <cstdlib>
#include <stdexcept>
#include <string>
#include <vector>

#include "contract.h"

namespace nb = nanobind;

namespace unrolled {

const Core* core_baseline();
#ifdef UNROLLED_X86
const Core* core_avx2();
const Core* core_avx512();
#endif

namespace {

using Address = std::uintptr_t;

// What this machine can run, the best last.
std::vector<const Core*> cores() {
    std::vector<const Core*> found = {core_baseline()};
#ifdef UNROLLED_X86
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        found.push_back(core_avx2());
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
        found.push_back(core_avx512());
#endif
    return found;
}

const Core& core(int isa) {
    static const std::vector<const Core*> found = cores();
    return *found.at(static_cast<std::size_t>(isa));
}

template <class T>
const Table<T>& table(int isa) {
    if constexpr (sizeof(T) == 4) return core(isa).f32;
    else return core(isa).f64;
}

template <class T>
T* at(Address address) {
    return reinterpret_cast<T*>(address);
}

// One kind of pass: a cell's shape with the instruction set that runs it.
template <class T>
struct Pass {
    int isa;
    Shape shape;

    Pass(int isa, int cell, Index inputs, Index hidden, Index projection)
        : isa(isa), shape{static_cast<Cell>(cell), inputs, hidden, projection} {
        if (cell < 0 || cell > 3 || inputs < 0 || hidden < 1 || projection < 0)
            throw std::invalid_argument("no such cell or size");
        table<T>(isa);  // throws where there is none
    }

    Index forward_size() const { return table<T>(isa).packed_forward_size(shape); }
    Index backward_size() const { return table<T>(isa).packed_backward_size(shape); }

    void pack(Address ih, Address hh, Address bias_ih, Address bias_hh, Address hr,
              Address for_forward, Address for_backward) const {
        const Weights<T> w = {at<T>(ih), at<T>(hh), at<T>(bias_ih), at<T>(bias_hh), at<T>(hr)};
        nb::gil_scoped_release free;
        if (for_forward) table<T>(isa).pack_forward(shape, w, at<T>(for_forward));
        if (for_backward) table<T>(isa).pack_backward(shape, w, at<T>(for_backward));
    }

    void forward(const Layout& layout, Address packed, Address input, Address h0, Address c0,
                 Address output, Index ld_output, Address h_n, Address c_n, Address gates,
                 Address cells, Address raw, int threads) const {
        const Forward<T> f = {at<T>(packed), at<T>(input), at<T>(h0),    at<T>(c0),
                              at<T>(output), ld_output,    at<T>(h_n),   at<T>(c_n),
                              at<T>(gates),  at<T>(cells), at<T>(raw)};
        bool done;
        {
            nb::gil_scoped_release free;
            done = table<T>(isa).forward(shape, layout, f, threads);
        }
        if (!done) throw std::bad_alloc();
    }

    void backward(const Layout& layout, Address packed, Address h0, Address c0, Address output,
                  Index ld_output, Address gates, Address cells, Address d_output,
                  Index ld_d_output, Address d_h_n, Address d_c_n, Address d_gates, Address d_h0,
                  Address d_c0, Address d_projected, Address h_before, int threads) const {
        const Backward<T> g = {at<T>(packed), at<T>(h0),          at<T>(c0),    at<T>(output),
                               ld_output,     at<T>(gates),       at<T>(cells), at<T>(d_output),
                               ld_d_output,   at<T>(d_h_n),       at<T>(d_c_n), at<T>(d_gates),
                               at<T>(d_h0),   at<T>(d_c0),        at<T>(d_projected),
                               at<T>(h_before)};
        bool done;
        {
            nb::gil_scoped_release free;
            done = table<T>(isa).backward(shape, layout, g, threads);
        }
        if (!done) throw std::bad_alloc();
    }
};

template <class T>
void bind_pass(nb::module_& m, const char* name) {
    nb::class_<Pass<T>>(m, name)
        .def(nb::init<int, int, Index, Index, Index>())
        .def_prop_ro("forward_size", &Pass<T>::forward_size)
        .def_prop_ro("backward_size", &Pass<T>::backward_size)
        .def("pack", &Pass<T>::pack)
        .def("forward", &Pass<T>::forward)
        .def("backward", &Pass<T>::backward);
}

template <class T>
void activation(int isa, const std::string& name, Address x, Address y, Index count) {
    if (name == "sigmoid") table<T>(isa).sigmoid(at<T>(x), at<T>(y), count);
    else if (name == "tanh") table<T>(isa).tanh(at<T>(x), at<T>(y), count);
    else throw std::invalid_argument("no such activation");
}

// How many multiply-adds so many rounds were.
template <class T>
Index busy(int isa, Index rounds) {
    nb::gil_scoped_release free;
    volatile T sink = table<T>(isa).busy(rounds);
    (void)sink;
    return rounds * table<T>(isa).busy_width;
}

}  // namespace

NB_MODULE(_core, m) {
    // A graph that is alive when Python ends holds its passes; that is no leak of ours.
    nb::set_leak_warnings(false);
    m.def("isas", [] {
        std::vector<std::string> names;
        for (const Core* core : cores()) names.emplace_back(core->name);
        return names;
    });
    nb::class_<Layout>(m, "Layout")
        .def("__init__",
             [](Layout* self, Index steps, Index rows, Address offsets, Address sizes, Index step,
                Index stride, bool reverse) {
                 new (self) Layout{steps,  rows,   at<const Index>(offsets), at<const Index>(sizes),
                                   step,   stride, reverse};
             });
    bind_pass<float>(m, "PassF32");
    bind_pass<double>(m, "PassF64");
    m.def("activation_f32", &activation<float>);
    m.def("activation_f64", &activation<double>);
    m.def("busy_f32", &busy<float>);
    m.def("busy_f64", &busy<double>);
}

}  // namespace unrolled
