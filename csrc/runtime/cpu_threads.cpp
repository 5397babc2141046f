#include "runtime/cpu_threads.h"

#ifdef _WIN32
#include <process.h>
#else
#include <unistd.h>
#endif

#include <latch>
#include <system_error>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/room.h"
#include "base/stopping.h"
#include "graph/context.h"

namespace ltx {

namespace {

// More than ggml keeps for a thread and the memory that each thread has of the variables of this library.
constexpr size_t kThreadBytes = size_t{1} << 19;

// Throws unless the system starts so many threads at the same time.
void check_starting(int count) {
    std::latch end(1);
    std::vector<std::jthread> threads;
    try {
        for (int i = 0; i < count; ++i) {
            threads.emplace_back([&] { end.wait(); });
        }
    } catch (const std::system_error & error) {
        end.count_down();
        throw DeviceMemoryError("the system started ", threads.size(), " of ", count, " threads (",
                                error.code().message(), "); take fewer, or allow this process more");
    } catch (...) {
        end.count_down();
        throw;
    }
    end.count_down();
}

// What a thread has to know.
struct Employer {
    KernelFailure * failure;
    const StopRequest * stop;
};

// Tells a thread where to report and for whom it works. On its way the thread takes its memory of this library's
// variables, while there is room: the dynamic linker ends the process otherwise.
void greet_thread(ggml_tensor * /*node*/, int /*thread*/, int /*num_threads*/, void * employer) {
    GemmScratch::of_thread();
    const Employer & told = *static_cast<const Employer *>(employer);
    report_failures_to(told.failure);
    work_for(told.stop);
}

}  // namespace

CpuThreads::CpuThreads(int count, const StopRequest & stop) : count_(count), stop_(stop), process_(::getpid()) {
    check_starting(count - 1);
    require_room(static_cast<size_t>(count) * kThreadBytes);
    ggml_threadpool_params params = ggml_threadpool_params_default(count);
    // Whoever waits for the next graph leaves the processor to the samplers and encoders in between.
    params.poll = 0;
    pool_ = ggml_threadpool_new(&params);
    greet();
}

CpuThreads::~CpuThreads() {
    if (are_here()) {
        ggml_threadpool_free(pool_);
    }
}

bool CpuThreads::are_here() const {
    return process_ == ::getpid();
}

void CpuThreads::greet() {
    // This thread takes part, and goes back to what it works for.
    const WorkingFor working(stop_);
    Employer employer{&failure_, &stop_};
    const Context context(ggml_tensor_overhead() + ggml_graph_overhead_custom(1, /*grads=*/false));
    ggml_cgraph * graph = ggml_new_graph_custom(context.get(), 1, /*grads=*/false);
    ggml_build_forward_expand(graph, ggml_custom_4d(context.get(), GGML_TYPE_F32, 1, 1, 1, 1, nullptr, 0, &greet_thread,
                                                    GGML_N_TASKS_MAX, &employer));
    run(graph);
}

ggml_status CpuThreads::run(ggml_cgraph * graph) {
    ggml_cplan plan = ggml_graph_plan(graph, count_, pool_);
    plan.work_data = work_.get<uint8_t>(static_cast<int64_t>(plan.work_size));
    plan.abort_callback_data = &failure_;
    plan.abort_callback = [](void * failure) {
        return stopping() || static_cast<const KernelFailure *>(failure)->is_set();
    };
    return ggml_graph_compute(graph, &plan);
}

void CpuThreads::compute(ggml_cgraph * graph) {
    const WorkingFor working(stop_);
    check_stopping();
    // This thread computes along with the others, and may be another one in each call.
    report_failures_to(&failure_);
    const ggml_status status = run(graph);
    failure_.rethrow();
    if (status == GGML_STATUS_ABORTED) {
        throw Cancelled("interrupted");
    }
    if (status != GGML_STATUS_SUCCESS) {
        throw BackendError("the CPU failed: ", ggml_status_to_string(status));
    }
}

}  // namespace ltx
