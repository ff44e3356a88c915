import Foundation
import Prometheus

/// Metrics of the process, under the names that Prometheus' client libraries use.
enum ProcessMetrics {
  /// - Parameter start: the time at which the process started.
  static func add(to registry: Registry, start: Date) {
    registry.gauge("password_reset_build_info", "The running release, in the label version.", labels: ["version"]) { [([BuildInfo.version], 1)] }
    registry.gauge("process_start_time_seconds", "Start time of the process, in seconds since 1970.") { start.timeIntervalSince1970 }
    registry.gauge("process_cpu_seconds_total", "Seconds of processor time used.", labels: [], kind: .counter) { [([], processorTime())] }
    registry.gauge("process_resident_memory_bytes", "Resident memory in bytes.") { residentMemory() }
    registry.gauge("process_open_fds", "Open files and connections.") { openDescriptors() }
    registry.gauge("process_max_fds", "The highest possible number of open files and connections.") { Double(DescriptorLimit.current) }
  }

  private static func processorTime() -> Double {
    var usage = rusage()
    getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
    return [usage.ru_utime, usage.ru_stime].reduce(0) { $0 + Double($1.tv_sec) + Double($1.tv_usec) / 1e6 }
  }

  private static func residentMemory() -> Double? {
    // Without /proc, the metric is left out.
    guard let text = try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8), let pages = text.split(separator: " ").dropFirst().first else {
      return nil
    }
    return Double(pages).map { $0 * Double(getpagesize()) }
  }

  private static func openDescriptors() -> Double? {
    // Listing the folder opens one of them itself. Without /proc, or without a free descriptor, the metric is left out.
    (try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd")).map { Double($0.count - 1) }
  }
}
