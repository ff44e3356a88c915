import Foundation

/// Makes the calling thread, and the threads that it starts, yield to the threads that answer requests.
///
/// It sets the nice value (nice(2)) to 10, which on Linux belongs to the thread and not to the process.
package func lowerThreadPriority() { setpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0, 10) }
