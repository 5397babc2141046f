// Whether everything that computes in this process is to end.
#pragma once

namespace ltx {

// Set while the process is about to end: computations under way throw Cancelled within a fraction of a second, and none
// begins. Any thread may ask and set.
bool stopping();
void set_stopping(bool stop);

// Throws Cancelled while stopping.
void check_stopping();

}  // namespace ltx
