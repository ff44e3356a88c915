import Foundation
import PasswordReset

/// A server that this program started, with the port from its log.
struct ServerProcess {
  let port: Int
  private let process: Process
  private let log: FileHandle
  private let logPath: String
  private let directory: TemporaryDirectory

  /// - Parameter name: the name of a program in the same folder as this one.
  static func start(
    _ name: String, _ arguments: [String], environment: [String: String], in directory: TemporaryDirectory
  ) async throws -> ServerProcess {
    let logPath = "\(directory.path)/log"
    try Data().write(to: URL(fileURLWithPath: logPath))
    let log = try FileHandle(forWritingTo: URL(fileURLWithPath: logPath))
    let process = Process()
    process.executableURL = URL(fileURLWithPath: CommandLine.arguments[0]).deletingLastPathComponent().appendingPathComponent(name)
    process.arguments = arguments
    process.environment = environment
    process.standardOutput = log
    process.standardError = log
    try process.run()
    directory.adopt(process.processIdentifier)
    let deadline = ContinuousClock.now + .seconds(10)
    while ContinuousClock.now < deadline, process.isRunning {
      if let match = try String(contentsOfFile: logPath, encoding: .utf8).firstMatch(of: /listening on 127\.0\.0\.1:(\d+)/), let port = Int(match.1) {
        return ServerProcess(port: port, process: process, log: log, logPath: logPath, directory: directory)
      }
      try await Task.sleep(for: .milliseconds(20))
    }
    process.terminate()
    throw TimingError(description: "\(name) does not listen. Its log: \(try String(contentsOfFile: logPath, encoding: .utf8))")
  }

  /// Starts the service on `database`, without rate limits for its only client.
  ///
  /// - Parameter pausesWorker: whether the worker claims no new jobs. With one email per hour allowed, the first emails wait for the rate limit, and
  ///   the worker claims no more while half of its batch waits. A running worker commits and writes emails on the same cores, at random times
  ///   after the response. With two cores this makes ten times the noise, and would need a hundred times the pairs.
  static func startService(on database: TestDatabase, secretKey: String, pausesWorker: Bool, in directory: TemporaryDirectory) async throws
    -> ServerProcess
  {
    try await start(
      "password-reset", ["serve"],
      environment: [
        // A different address, so that the admin listener's log line does not match the pattern above.
        "ADMIN_HOST": "127.0.0.2", "ADMIN_PORT": "0",
        "HTTP_PORT": "0", "SECRET_KEY": secretKey, "DATABASE_URL": database.url, "EMAIL_BACKEND": "dummy", "LOG_FORMAT": "json",
        "EMAIL_RATE_LIMIT": pausesWorker ? "1/h" : "off", "RATE_LIMIT_MAILS": "1/h", "RATE_LIMIT_REQUESTS": "off", "RATE_LIMIT_LINKS": "off",
      ], in: directory)
  }

  /// Returns how often the log contains the audit event. The log must not have been emptied.
  func count(of event: AuditEvent) throws -> Int {
    try String(contentsOfFile: logPath, encoding: .utf8).components(separatedBy: #""event":"\#(event.rawValue)""#).count - 1
  }

  /// Empties the log, which may be in memory. The server continues at its beginning, because it shares this handle's file offset.
  func emptyLog() throws { try log.truncate(atOffset: 0) }

  func stop() {
    process.terminate()
    process.waitUntilExit()
    directory.release(process.processIdentifier)
  }
}
