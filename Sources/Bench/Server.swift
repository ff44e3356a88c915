import Foundation

/// A server process of ours, and the port that it says it listens on.
struct Server {
  struct NotListening: Error {}

  let port: Int
  private let process: Process

  static func start(_ name: String, _ arguments: [String], environment: [String: String] = [:], folder: String) async throws -> Server {
    let log = "\(folder)/\(name).log"
    try Data().write(to: URL(fileURLWithPath: log))
    let process = Process()
    process.executableURL = URL(fileURLWithPath: CommandLine.arguments[0]).deletingLastPathComponent().appendingPathComponent(name)
    process.arguments = arguments
    process.environment = environment
    let output = try FileHandle(forWritingTo: URL(fileURLWithPath: log))
    try output.seekToEnd()
    process.standardOutput = output
    process.standardError = output
    try process.run()
    let deadline = ContinuousClock.now + .seconds(10)
    while ContinuousClock.now < deadline, process.isRunning {
      if let match = try String(contentsOfFile: log, encoding: .utf8).firstMatch(of: /listening on 127\.0\.0\.1:(\d+)/), let port = Int(match.1) {
        return Server(port: port, process: process)
      }
      try await Task.sleep(for: .milliseconds(20))
    }
    process.terminate()
    throw NotListening()
  }

  /// Waits, a minute at most, until the process has nothing left to do: a load leaves mails and hashes that would slow the next one down.
  func settle() async throws {
    let deadline = ContinuousClock.now + .seconds(60)
    var before = try cpuTicks()
    while ContinuousClock.now < deadline {
      try await Task.sleep(for: .milliseconds(500))
      let now = try cpuTicks()
      if now - before <= 1 { return }
      before = now
    }
  }

  /// User and system time of the process, in hundredths of a second (proc_pid_stat(5), fields 14 and 15).
  private func cpuTicks() throws -> Int {
    let fields = try String(contentsOfFile: "/proc/\(process.processIdentifier)/stat", encoding: .utf8).split(separator: " ")
    return fields.dropFirst(13).prefix(2).compactMap { Int($0) }.reduce(0, +)
  }

  func stop() {
    process.terminate()
    process.waitUntilExit()
  }
}
