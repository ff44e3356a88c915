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

  func stop() {
    process.terminate()
    process.waitUntilExit()
  }
}
