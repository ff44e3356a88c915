import Foundation
import Prometheus

/// What Prometheus' own clients tell of their process, under the same names.
enum ProcessMetrics {
  /// - Parameter start: when the process began.
  static func add(to registry: Registry, start: Date) {
    registry.gauge("password_reset_build_info", "Which release this is.", labels: ["version"]) { [([BuildInfo.version], 1)] }
    registry.gauge("process_start_time_seconds", "When the process began, in seconds since 1970.") { start.timeIntervalSince1970 }
    registry.gauge("process_cpu_seconds_total", "Seconds of processor time used.", labels: [], kind: .counter) { [([], processorTime())] }
    registry.gauge("process_resident_memory_bytes", "Memory in use.") { residentMemory() }
    registry.gauge("process_open_fds", "Files and connections that are open.") { openDescriptors() }
    registry.gauge("process_max_fds", "How many may be open at once.") { Double(descriptorLimit()) }
  }

  private static func processorTime() -> Double {
    var usage = rusage()
    getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
    return [usage.ru_utime, usage.ru_stime].reduce(0) { $0 + Double($1.tv_sec) + Double($1.tv_usec) / 1e6 }
  }

  private static func residentMemory() -> Double? {
    // Left out where there is no /proc.
    guard let text = try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8), let pages = text.split(separator: " ").dropFirst().first else {
      return nil
    }
    return Double(pages).map { $0 * Double(getpagesize()) }
  }

  private static func openDescriptors() -> Double? {
    // One of them is open to list them. Left out where there is no /proc, or no descriptor to look there with.
    (try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd")).map { Double($0.count - 1) }
  }

  static func descriptorLimit() -> Int {
    var limit = rlimit()
    getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    return Int(clamping: limit.rlim_cur)
  }
}

/// What this release is called.
enum BuildInfo {
  static let version = "0.1.0"
}
