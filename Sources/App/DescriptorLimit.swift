import Foundation

/// The number of files and connections that the process may have open at the same time.
enum DescriptorLimit {
  static var current: Int {
    var limit = rlimit()
    getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    return Int(clamping: limit.rlim_cur)
  }

  /// What is wrong if the limit is too low.
  static var message: String {
    "The process may open only \(current) files, which is too few. Raise the limit (ulimit -n, or LimitNOFILE= in systemd) to 1024."
  }

  /// Raises the soft limit to the hard limit, because each connection takes a descriptor.
  static func raise() {
    var limit = rlimit()
    getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    limit.rlim_cur = limit.rlim_max
    setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
  }
}
