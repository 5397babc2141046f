// Whether what computes is to end: everything in this process, or on one device.
#pragma once

#include <atomic>

namespace ltx {

// Set while what one device computes is to end.
using StopRequest = std::atomic<bool>;

// Set while the process is about to end: computations under way throw Cancelled within a fraction of a second, and none
// begins. Any thread may ask and set.
void set_stopping(bool stop);

// Whether the process is about to end, or the device for which this thread works is to stop.
bool stopping();

// From here on this thread works for a device, until it ends or is told otherwise; nullptr: for none.
void work_for(const StopRequest * request);

// This thread works for a device as long as this lives.
class WorkingFor {
public:
    explicit WorkingFor(const StopRequest & request);
    ~WorkingFor();
    WorkingFor(const WorkingFor &) = delete;
    WorkingFor & operator=(const WorkingFor &) = delete;

private:
    const StopRequest * before_;
};

// Throws Cancelled while stopping.
void check_stopping();

}  // namespace ltx
