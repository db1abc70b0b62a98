// The only file that knows Python: addresses and sizes in, which scan/native.py has checked.
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <cstdlib>
#include <stdexcept>
#include <string>
#include <tuple>
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

// An address and the numbers from a step to the next and from a row to the next.
using Place = std::tuple<Address, Index, Index>;

template <class T>
Matrix<T> matrix(const Place& place) {
    return {at<T>(std::get<0>(place)), std::get<1>(place), std::get<2>(place)};
}

// Those of carried_h, carried_c and total_h.
using Three = std::tuple<Address, Address, Address>;

// Those of ih, hh, bias_ih, bias_hh and hr, as Weights and Gradients have them.
using Five = std::tuple<Address, Address, Address, Address, Address>;

template <class To, class T>
To of(const Five& five) {
    return std::apply([](auto... address) { return To{at<T>(address)...}; }, five);
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

    void forward(const Layout& layout, const Five& weights, Place input, Address h0, Address c0,
                 Place output, Address h_n, Address c_n, Address gates, Address cells, Address raw,
                 int threads) const {
        const Forward<T> f = {of<Weights<T>, const T>(weights),
                              matrix<const T>(input),
                              at<T>(h0),
                              at<T>(c0),
                              matrix<T>(output),
                              at<T>(h_n),
                              at<T>(c_n),
                              at<T>(gates),
                              at<T>(cells),
                              at<T>(raw)};
        run([&] { return table<T>(isa).forward(shape, layout, f, threads); });
    }

    void backward(const Layout& layout, const Five& weights, Place input, Address h0, Address c0,
                  Place output, Address gates, Address cells, Address raw, Place d_output,
                  Address d_h_n, Address d_c_n, Address d_h0, Address d_c0, const Three& carried,
                  Place d_input, bool adds_to_input, Address sums, const Five& gradients,
                  int threads) const {
        const Backward<T> g = {of<Weights<T>, const T>(weights),
                               matrix<const T>(input),
                               at<T>(h0),
                               at<T>(c0),
                               matrix<const T>(output),
                               at<T>(gates),
                               at<T>(cells),
                               at<T>(raw),
                               matrix<const T>(d_output),
                               at<T>(d_h_n),
                               at<T>(d_c_n),
                               at<T>(d_h0),
                               at<T>(d_c0),
                               at<T>(std::get<0>(carried)),
                               at<T>(std::get<1>(carried)),
                               at<T>(std::get<2>(carried)),
                               matrix<T>(d_input),
                               adds_to_input,
                               at<T>(sums),
                               of<Gradients<T>, T>(gradients)};
        run([&] { return table<T>(isa).backward(shape, layout, g, threads); });
    }

    Index sums_size(const Layout& layout) const { return table<T>(isa).sums_size(shape, layout); }

   private:
    template <class Work>
    static void run(Work work) {
        bool done;
        {
            nb::gil_scoped_release free;
            done = work();
        }
        if (!done) throw std::bad_alloc();
    }
};

template <class T>
void bind_pass(nb::module_& m, const char* name) {
    nb::class_<Pass<T>>(m, name)
        .def(nb::init<int, int, Index, Index, Index>())
        .def("forward", &Pass<T>::forward)
        .def("backward", &Pass<T>::backward)
        .def("sums_size", &Pass<T>::sums_size);
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
        .def("__init__", [](Layout* self, Index steps, Index rows, Address offsets, Address sizes,
                            bool reverse, Index begin, Index end) {
            new (self) Layout{
                steps, rows, at<const Index>(offsets), at<const Index>(sizes), reverse, begin, end};
        });
    bind_pass<float>(m, "PassF32");
    bind_pass<double>(m, "PassF64");
    m.def("activation_f32", &activation<float>);
    m.def("activation_f64", &activation<double>);
    m.def("busy_f32", &busy<float>);
    m.def("busy_f64", &busy<double>);
}

}  // namespace unrolled
